//! UNIX sockets: one for all cores, and a file that outlives whoever listens on it.
//!
//! Invariants: from its first moment the file has its final permissions, and whoever finds it can
//! connect; a file that a running server listens on is only replaced on request; what is no socket
//! is never removed.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;

use crate::config::{ListenAddress, Tcp};

use super::socket;

/// Listens at `path`. A socket that a process left behind is replaced; one that a process listens on
/// only where addresses may be shared, and then without a moment at which there is none.
pub(super) fn listen(path: &Path, tcp: &Tcp) -> io::Result<UnixListener> {
    check_what_is_there(path, tcp.share_port).map_err(|error| named(path, &error))?;
    let name = beside(path);
    // Of an earlier process with our number, that ended in between.
    let _ = fs::remove_file(&name);
    let listener = bind(&name).map_err(|error| named(path, &error))?;
    let placed = fs::set_permissions(&name, Permissions::from_mode(tcp.unix_mode.bits()))
        .and_then(|()| socket::listen(listener.as_fd(), tcp.backlog))
        .and_then(|()| fs::rename(&name, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&name);
        return Err(named(path, &error));
    }
    Ok(listener)
}

fn check_what_is_there(path: &Path, may_replace: bool) -> io::Result<()> {
    let found = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.is_socket() {
        let what = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    if may_replace {
        return Ok(());
    }
    match UnixStream::connect(path) {
        // Nobody listens.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Somebody does, and their queue is full or they do not let us in.
        Ok(_) | Err(_) => {
            let what = "in use: another process listens there. To take over from a running server, \
                        start with --share-port";
            Err(io::Error::new(io::ErrorKind::AddrInUse, what))
        }
    }
}

/// The kernel takes no longer path than a setting may be, and this one may be longer: then it is reached by its
/// directory's descriptor.
fn bind(name: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(file)) = (name.parent(), name.file_name()) else {
        return UnixListener::bind(name);
    };
    if name.as_os_str().len() <= ListenAddress::UNIX_PATH_BYTES {
        return UnixListener::bind(name);
    }
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(folder)?;
    let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    UnixListener::bind(by_descriptor.join(file))
}

/// A name that becomes the socket's: in the same directory, so that renaming replaces the other at
/// once.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", process::id()))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ringroom-unix-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_socket_has_its_mode_and_leaves_nothing_beside_it() {
        let folder = folder("mode");
        let path = folder.join("s");
        for mode in [0o600, 0o666] {
            let tcp = Tcp { unix_mode: format!("{mode:04o}").parse().unwrap(), ..Tcp::default() };
            let _listener = listen(&path, &Tcp { share_port: true, ..tcp }).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_is_left_behind_is_replaced_and_what_is_used_is_not() {
        let path = folder("stale").join("s");
        drop(UnixListener::bind(&path).unwrap());
        let used = listen(&path, &Tcp::default()).unwrap();
        let error = listen(&path, &Tcp::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        assert!(error.to_string().contains("--share-port"), "{error}");
        drop(used);
        listen(&path, &Tcp::default()).unwrap();
    }

    #[test]
    fn the_longest_path_can_be_listened_at() {
        let folder = folder("long");
        let rest = ListenAddress::UNIX_PATH_BYTES - folder.as_os_str().len() - "//s".len();
        let folder = folder.join("f".repeat(rest));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        assert_eq!(path.as_os_str().len(), ListenAddress::UNIX_PATH_BYTES);
        let _listener = listen(&path, &Tcp::default()).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let path = folder("file").join("s");
        fs::write(&path, "dear").unwrap();
        let shared = Tcp { share_port: true, ..Tcp::default() };
        assert_eq!(listen(&path, &shared).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear");
    }

    /// Clients of the one before are served by it, and nobody is refused in between.
    #[test]
    fn a_takeover_leaves_no_moment_without_a_socket() {
        let path = folder("takeover").join("s");
        let shared = Tcp { share_port: true, ..Tcp::default() };
        let mut listeners = vec![listen(&path, &shared).unwrap()];
        let (address, stop) = (path.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let client = std::thread::spawn(move || {
            let mut refused = 0;
            while !stopped.load(Ordering::Relaxed) {
                refused += u32::from(UnixStream::connect(&address).is_err());
            }
            refused
        });
        for _ in 0..50 {
            listeners.push(listen(&path, &shared).unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(client.join().unwrap(), 0);
    }
}
