//! Sockets by plain system calls: connecting from a chosen address, sending without waiting.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Begins a connection without waiting for it. A receive buffer has to be set before: it bounds the
/// window that the other side is offered from the start.
pub fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<u32>,
) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers are passed.
    let descriptor = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor was made a line above, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    set_option(descriptor, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(bytes) = receive_buffer {
        let bytes = libc::c_int::try_from(bytes).map_err(io::Error::other)?;
        set_option(descriptor, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    if let Some(source) = source {
        // The port is chosen when the peer is known, so that every source has all ports for it.
        set_option(descriptor, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        with_address(SocketAddr::new(source, 0), |address, len| {
            // SAFETY: the address is valid for the length given, through the call.
            check(unsafe { libc::bind(descriptor, address, len) })
        })?;
    }
    with_address(address, |address, len| {
        // SAFETY: as above.
        match check(unsafe { libc::connect(descriptor, address, len) }) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(0),
            other => other,
        }
    })?;
    Ok(TcpStream::from(socket))
}

/// The error that ended a connection attempt, if any.
pub fn take_error(socket: RawFd) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut len = socklen::<libc::c_int>();
    let place = (&raw mut error).cast();
    // SAFETY: both places live through the call and have the length given.
    check(unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_ERROR, place, &raw mut len)
    })?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Lets operations on the socket wait: io_uring fails where a non-blocking socket has nothing.
pub fn set_blocking(stream: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    unsafe {
        let flags = check(libc::fcntl(stream.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(stream.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Sends what fits now.
pub fn send(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes.
    let count = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) };
    if let Ok(count) = usize::try_from(count) {
        return Ok(count);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

/// Ends both directions: a pending read completes, and the reader closes the socket.
pub fn shutdown(socket: RawFd) {
    // SAFETY: no pointers are passed; an error means it is over already.
    unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
}

/// Makes the coming close a reset: no port stays in TIME_WAIT, and unread data is forgotten.
pub fn reset_on_close(socket: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let place = (&raw const linger).cast();
    // SAFETY: the value lives through the call; failing, the close is an ordinary one.
    unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            place,
            socklen::<libc::linger>(),
        );
    }
}

/// Turns a C result below zero into the error in `errno`.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_option(
    socket: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let place = (&raw const value).cast();
    // SAFETY: the value lives through the call and has the length given.
    check(unsafe { libc::setsockopt(socket, level, name, place, socklen::<libc::c_int>()) })
        .map(|_| ())
}

fn with_address<T>(
    address: SocketAddr,
    call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> T,
) -> T {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::sa_family_t::try_from(libc::AF_INET).expect("2 fits"),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            call((&raw const raw).cast(), socklen::<libc::sockaddr_in>())
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::sa_family_t::try_from(libc::AF_INET6).expect("10 fits"),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            call((&raw const raw).cast(), socklen::<libc::sockaddr_in6>())
        }
    }
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("socket structs are small")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn a_receive_buffer_is_as_small_as_it_is_asked_to_be() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let size = |asked| {
            let stream = connect(listener.local_addr().unwrap(), None, asked).unwrap();
            let (mut bytes, mut len): (libc::c_int, _) = (0, socklen::<libc::c_int>());
            let (option, place) = (libc::SO_RCVBUF, (&raw mut bytes).cast());
            let socket = stream.as_raw_fd();
            // SAFETY: both places live through the call and have the length given.
            check(unsafe {
                libc::getsockopt(socket, libc::SOL_SOCKET, option, place, &raw mut len)
            })
            .unwrap();
            bytes
        };
        // The kernel doubles it, for what it keeps beside the bytes.
        assert_eq!(size(Some(4_096)), 8_192);
        assert!(size(None) > 60_000);
    }
}
