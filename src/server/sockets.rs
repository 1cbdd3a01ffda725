//! The files of UNIX sockets, which outlive whoever listens on them.
//!
//! Invariant: a file that this process made is removed on every way out but a kill; one of a process that
//! took the path over by a hot restart stays.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::ListenAddress;

/// The files of this process. Dropped, it removes those that are still what they were.
pub(super) struct Sockets(Vec<Socket>);

/// A socket's file, and which one it was.
struct Socket {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// The files of those addresses that have one.
pub(super) fn find(addresses: &[ListenAddress]) -> Sockets {
    let paths = addresses.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp(_) => None,
    });
    Sockets(paths.map(|path| Socket { identity: identity(&path), path }).collect())
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for socket in &self.0 {
            if socket.identity.is_some() && identity(&socket.path) == socket.identity {
                // If it cannot be removed, the next start will replace it.
                let _ = fs::remove_file(&socket.path);
            }
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
        drop(found);
        assert!(path.exists(), "another process's");
        drop(find(&addresses));
        assert!(!path.exists(), "its own");
    }
}
