//! Sockets, pinning and the process's own CPU time, by plain system calls.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;

/// Pins the calling thread to one CPU; a refusal is fatal, since the figure would mean nothing.
pub fn pin(cpu: Option<usize>) {
    if let Some(id) = cpu {
        assert!(core_affinity::set_for_current(core_affinity::CoreId { id }), "cannot pin to {id}");
    }
}

/// A listener on loopback with the deepest backlog the kernel grants.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    use std::os::fd::AsRawFd;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    // SAFETY: listen(2) on our own listening socket only changes its backlog.
    check(unsafe { libc::listen(listener.as_raw_fd(), 65_535) })?;
    Ok(listener)
}

/// Lets this process open as many descriptors as its hard limit grants.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read and write the struct they are given.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(|_| ())
}

/// Switches Nagle's algorithm off.
pub fn set_nodelay(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four fits");
    // SAFETY: the option value lives through the call and has the size given.
    check(unsafe {
        libc::setsockopt(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const on).cast(), size)
    })
    .map(|_| ())
}

/// Closes a descriptor this program owns and forgets from now on.
pub fn close(socket: RawFd) {
    // SAFETY: the caller gives up the descriptor; nothing else refers to it.
    unsafe { libc::close(socket) };
}

/// Receives what is there, without waiting. `Ok(None)`: nothing is.
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into it.
    let count =
        unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    transferred(count)
}

/// Sends what fits, without waiting. `Ok(None)`: nothing does.
pub fn send(socket: RawFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes.
    let count = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) };
    transferred(count)
}

fn transferred(count: isize) -> io::Result<Option<usize>> {
    if let Ok(count) = usize::try_from(count) {
        return Ok(Some(count));
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}

/// User and system time of this process so far, in nanoseconds.
#[must_use]
pub fn cpu_ns() -> u64 {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec * 1_000_000_000 + time.tv_usec * 1_000;
    u64::try_from(ns(usage.ru_utime) + ns(usage.ru_stime)).unwrap_or(0)
}

/// Turns a C result below zero into the error in `errno`.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
