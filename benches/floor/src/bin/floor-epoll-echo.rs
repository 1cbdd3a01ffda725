//! Bare echo on level-triggered epoll: one thread, one `recv` and one `send` per readiness.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use clap::Parser;
use ringroom_floor::epoll::Epoll;
use ringroom_floor::{Listen, frame, handshake, socket};
use slab::Slab;

const LISTENER: u64 = u64::MAX;
const BUFFER_BYTES: usize = 64 * 1_024;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

struct Connection {
    socket: RawFd,
    upgraded: bool,
    /// Bytes of a frame (or head) that is not complete yet.
    partial: Vec<u8>,
    /// Answers the socket had no room for.
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listen = Command::parse().listen;
    socket::pin(listen.cpu);
    socket::raise_descriptor_limit()?;
    let listener = socket::listen(listen.port)?;
    listener.set_nonblocking(true)?;
    Server::new(listener)?.run()
}

struct Server {
    listener: TcpListener,
    epoll: Epoll,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), LISTENER, libc::EPOLLIN)?;
        Ok(Self { listener, epoll, connections: Slab::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            for index in 0..self.epoll.wait() {
                match self.epoll.event(index) {
                    (LISTENER, _) => self.accept()?,
                    (key, _) => self.turn(usize::try_from(key).expect("a slab key"))?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            let socket = stream.into_raw_fd();
            socket::set_nodelay(socket)?;
            let connection =
                Connection { socket, upgraded: false, partial: Vec::new(), unsent: Vec::new() };
            let key = self.connections.insert(connection) as u64;
            self.epoll.add(socket, key, libc::EPOLLIN)?;
        }
        Ok(())
    }

    /// One turn of one connection; its end is not the server's.
    fn turn(&mut self, key: usize) -> io::Result<()> {
        let connection = &mut self.connections[key];
        let waited = !connection.unsent.is_empty();
        match connection.advance(&mut self.buffer) {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                socket::close(self.connections.remove(key).socket);
                return Ok(());
            }
        }
        let (socket, waits) = (connection.socket, !connection.unsent.is_empty());
        if waited == waits {
            return Ok(());
        }
        // While answers wait nothing more is read: the peer's own window holds it back.
        let events = if waits { libc::EPOLLOUT } else { libc::EPOLLIN };
        self.epoll.modify(socket, key as u64, events)
    }
}

impl Connection {
    /// Sends what waits, or reads once and answers. `false`: the connection is over.
    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let sent = socket::send(self.socket, &self.unsent)?.unwrap_or(0);
            self.unsent.drain(..sent);
            return Ok(true);
        }
        let held = self.partial.len();
        buffer[..held].copy_from_slice(&self.partial);
        let Some(count) = socket::receive(self.socket, &mut buffer[held..])? else {
            return Ok(true);
        };
        if count == 0 {
            return Ok(false);
        }
        let bytes = &mut buffer[..held + count];
        if !self.upgraded {
            return self.upgrade(bytes);
        }
        let answered = frame::answer_in_place(bytes)?;
        self.partial.clear();
        self.partial.extend_from_slice(&bytes[answered.consumed..]);
        self.send(&bytes[..answered.produced])?;
        Ok(!answered.closing)
    }

    /// A client that sends frames before it has our answer is not served: none here does.
    fn upgrade(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.partial.clear();
        match handshake::answer(bytes)? {
            Some(upgrade) => {
                self.upgraded = true;
                self.partial.extend_from_slice(&bytes[upgrade.consumed..]);
                self.send(&upgrade.response)?;
            }
            None => self.partial.extend_from_slice(bytes),
        }
        Ok(true)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = socket::send(self.socket, bytes)?.unwrap_or(0);
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }
}
