#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;

fn option(socket: &OwnedFd, level: libc::c_int, name: libc::c_int) -> libc::c_int {
    let (mut value, mut length) = (0, length_of::<libc::c_int>());
    // SAFETY: the kernel writes at most `length` bytes of the value.
    check(unsafe {
        let place = (&raw mut value).cast();
        libc::getsockopt(socket.as_raw_fd(), level, name, place, &raw mut length)
    })
    .unwrap();
    value
}

/// A connection that was accepted where these settings hold, and its client.
fn accepted(tcp: &Tcp) -> (OwnedFd, TcpStream) {
    let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tcp, true).unwrap();
    listen(&bound, 8).unwrap();
    let client = TcpStream::connect(local_address(&bound).unwrap().unwrap()).unwrap();
    let began = Instant::now();
    loop {
        match accept(bound.as_raw_fd()) {
            Ok((socket, peer)) => {
                assert_eq!(peer, Some(client.local_addr().unwrap()));
                return (socket, client);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nobody comes");
        std::thread::yield_now();
    }
}

#[test]
fn a_reset_is_told_at_once_though_the_descriptor_stays_open() {
    let (socket, mut client) = accepted(&Tcp::default());
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    reset(socket.as_raw_fd()).unwrap();
    let told = client.read(&mut [0]).unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
    let own = receive(socket.as_raw_fd(), &mut [0]).unwrap_err();
    assert_eq!(own.kind(), io::ErrorKind::ConnectionReset, "who reads it sees the end");
}

/// The kernel books as much again for itself.
const BOOKED: libc::c_int = 2;

#[test]
fn what_is_accepted_has_the_options_of_where_it_came_in() {
    let tcp = Tcp {
        nodelay: true,
        keepalive_ms: 122_500,
        user_timeout_ms: 45_678,
        send_buffer_bytes: 20_000,
        receive_buffer_bytes: 30_000,
        ..Tcp::default()
    };
    let (socket, _client) = accepted(&tcp);
    for (name, level, number, value) in [
        ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        ("TCP_KEEPIDLE", libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 123),
        ("TCP_KEEPINTVL", libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 30),
        ("TCP_USER_TIMEOUT", libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 45_678),
        ("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF, BOOKED * 20_000),
        ("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF, BOOKED * 30_000),
    ] {
        assert_eq!(option(&socket, level, number), value, "{name}");
    }
    // SAFETY: no memory is involved in either call.
    let (descriptor, file) = unsafe {
        let fd = socket.as_raw_fd();
        (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL))
    };
    assert_eq!(descriptor & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    assert_eq!(file & libc::O_NONBLOCK, libc::O_NONBLOCK);
}

#[test]
fn what_is_switched_off_is_left_to_the_kernel() {
    let tcp = Tcp { nodelay: false, keepalive_ms: 0, user_timeout_ms: 0, ..Tcp::default() };
    let (socket, _client) = accepted(&tcp);
    for (name, level, number) in [
        ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY),
        ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        ("TCP_USER_TIMEOUT", libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    ] {
        assert_eq!(option(&socket, level, number), 0, "{name}");
    }
}
