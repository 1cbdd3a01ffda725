//! System calls on sockets that std and monoio do not have: each a line or two, all of them here.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::config::Tcp;

/// What a system call said, as a result.
pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there.
pub(super) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, exclusive slice.
    check_size(unsafe {
        libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
    })
}

/// Whether there is room for more to send, or an error.
pub(super) fn takes_more(fd: RawFd) -> bool {
    let mut asked = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one live, exclusive entry; it does not wait.
    unsafe { libc::poll(&raw mut asked, 1, 0) != 0 }
}

/// Sends as much of `slices` as the kernel takes now.
pub(super) fn send(fd: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let [only] = slices {
        // By number: the C library's send is a point where threads may be cancelled, and asks twice
        // whether this one is. Measured: 2 % of an echo.
        // SAFETY: pointer and length of a live slice; no address.
        let sent = unsafe {
            libc::syscall(libc::SYS_sendto, fd, only.as_ptr(), only.len(), flags, 0_usize, 0_usize)
        };
        return usize::try_from(sent).map_err(|_| io::Error::last_os_error());
    }
    // SAFETY: an all-zero msghdr is a valid one without address, control data or slices.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // IoSlice is guaranteed to be laid out as iovec; sendmsg does not write through it.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len();
    // SAFETY: the header points to live slices for the time of the call.
    check_size(unsafe { libc::sendmsg(fd, &raw const message, flags) })
}

/// Ends one side or both.
pub(super) fn shutdown(fd: RawFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no memory is involved.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// Whether both directions are shut down.
pub(super) fn has_hung_up(fd: RawFd) -> bool {
    let mut asked = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one structure, live and writable for the call.
    let found = unsafe { libc::poll(&raw mut asked, 1, 0) };
    found == 1 && asked.revents & libc::POLLHUP != 0
}

/// Closing this descriptor will send a reset and forget what is unsent.
pub(super) fn reset_on_close(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// Resets a TCP connection now, whatever is unsent; who waits for the socket sees the end. A UNIX
/// socket knows no reset.
pub(super) fn reset(fd: RawFd) -> io::Result<()> {
    let nobody = libc::sockaddr { sa_family: family(libc::AF_UNSPEC), sa_data: [0; 14] };
    // SAFETY: the address is live and of the length given.
    check(unsafe { libc::connect(fd, &raw const nobody, length_of::<libc::sockaddr>()) }).map(drop)
}

/// Accepts one connection, close-on-exec and non-blocking from the first moment. The address is
/// absent on UNIX sockets.
pub(super) fn accept(listener: RawFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = length_of::<libc::sockaddr_storage>();
    // SAFETY: the kernel writes at most `length` bytes of the storage.
    let fd = check(unsafe {
        libc::accept4(
            listener,
            storage.as_mut_ptr().cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    })?;
    // SAFETY: accept4 has just made it, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zeroed before, so initialised whatever the kernel wrote.
    Ok((socket, address(unsafe { storage.assume_init_ref() })))
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure the storage holds, and it is large enough.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(ip.to_canonical(), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

/// A bound TCP socket that does not listen yet. `shared`: others on the same port are welcome.
pub(super) fn bind(address: SocketAddr, tcp: &Tcp, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just made, known to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_flag(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if shared {
        share_port(&socket)?;
    }
    if address.is_ipv6() {
        // A wildcard IPv6 address would else take the IPv4 port as well, or fail because of it.
        set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    // What is accepted inherits these, so no connection pays for setting them.
    inherit(fd, tcp)?;
    bind_address(fd, address)?;
    Ok(socket)
}

/// From now on, others that share theirs are welcome on the port.
pub(super) fn share_port(socket: &OwnedFd) -> io::Result<()> {
    set_flag(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
}

fn inherit(fd: RawFd, tcp: &Tcp) -> io::Result<()> {
    if tcp.nodelay {
        set_flag(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    }
    if tcp.keepalive_ms > 0 {
        let seconds = clamp(tcp.keepalive_ms.div_ceil(1_000));
        set_flag(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        set_flag(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds)?;
        set_flag(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (seconds / 4).max(1))?;
    }
    if tcp.user_timeout_ms > 0 {
        set_flag(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, clamp(tcp.user_timeout_ms))?;
    }
    if tcp.send_buffer_bytes > 0 {
        set_flag(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(tcp.send_buffer_bytes.into()))?;
    }
    if tcp.receive_buffer_bytes > 0 {
        set_flag(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(tcp.receive_buffer_bytes.into()))?;
    }
    Ok(())
}

fn clamp(value: u64) -> libc::c_int {
    libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX)
}

fn bind_address(fd: RawFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            bind_raw(fd, &raw)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            bind_raw(fd, &raw)
        }
    }
}

/// A family, as addresses hold it.
fn family(family: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).expect("families are small")
}

/// How long a structure is, as system calls take it.
fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("it is no structure of four gigabytes")
}

fn bind_raw<T>(fd: RawFd, raw: &T) -> io::Result<()> {
    let length = length_of::<T>();
    // SAFETY: `raw` is a socket address of the given length.
    check(unsafe { libc::bind(fd, std::ptr::from_ref(raw).cast(), length) }).map(drop)
}

/// Begins to listen, non-blocking.
pub(super) fn listen(socket: impl AsFd, backlog: u32) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    set_nonblocking(fd)?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::listen(fd, clamp(backlog.into())) }).map(drop)
}

/// Reads and writes return at once.
pub(super) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is involved in either call.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// The address a socket is bound to.
pub(super) fn local_address(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = length_of::<libc::sockaddr_storage>();
    // SAFETY: the kernel writes at most `length` bytes of the storage.
    check(unsafe {
        libc::getsockname(socket.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut length)
    })?;
    // SAFETY: zeroed before, so initialised.
    Ok(address(unsafe { storage.assume_init_ref() }))
}

fn set_flag(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    set_option(fd, level, name, &value)
}

fn set_option<T>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = length_of::<T>();
    // SAFETY: `value` is live and of the given length.
    check(unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), length) })
        .map(drop)
}

#[cfg(test)]
mod tests;
