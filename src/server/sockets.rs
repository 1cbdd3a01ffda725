//! The files of UNIX sockets, which outlive whoever listens on them.
//!
//! Invariant: only a file that this process made is removed; a process that took the path over by a
//! hot restart keeps its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::ListenAddress;

/// A socket's file, and which one it was.
pub(super) struct Socket {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// The files of those addresses that have one.
pub(super) fn find(addresses: &[ListenAddress]) -> Vec<Socket> {
    let paths = addresses.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp(_) => None,
    });
    paths.map(|path| Socket { identity: identity(&path), path }).collect()
}

/// Removes those that are still what they were.
pub(super) fn remove(sockets: &[Socket]) {
    for socket in sockets {
        if socket.identity.is_some() && identity(&socket.path) == socket.identity {
            // If it cannot be removed, the next start will replace it.
            let _ = fs::remove_file(&socket.path);
        }
    }
}

/// Device and inode; the kernel keeps a socket's inode as long as the socket lives.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.symlink_metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_successors_socket_stays() {
        let path = std::env::temp_dir().join(format!("ringroom-{}.sock", std::process::id()));
        let _ = fs::remove_file(&path);
        let addresses = [ListenAddress::Unix(path.clone())];
        let listen = || UnixListener::bind(&path).expect("the directory can be written");

        let _predecessor = listen();
        let found = find(&addresses);
        fs::remove_file(&path).expect("it was just made");
        let _successor = listen();
        remove(&found);
        assert!(path.exists(), "another process's");
        remove(&find(&addresses));
        assert!(!path.exists(), "its own");
    }
}
