//! Bare fan-out by system calls: what anyone says goes to everyone, one `send` per connection
//! and turn of the loop.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use clap::Parser;
use ringroom_floor::epoll::Epoll;
use ringroom_floor::{Listen, frame, handshake, socket};
use slab::Slab;

const LISTENER: u64 = u64::MAX;
const BUFFER_BYTES: usize = 64 * 1_024;
/// Bytes that may wait for one connection; past it, it is closed.
const UNSENT_MAX: usize = 4 << 20;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

struct Connection {
    socket: RawFd,
    upgraded: bool,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

struct Server {
    listener: TcpListener,
    epoll: Epoll,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
    /// What was said in this turn, framed for everyone.
    said: Vec<u8>,
    /// Connections that ended in this turn.
    ended: Vec<usize>,
}

fn main() -> io::Result<()> {
    let listen = Command::parse().listen;
    socket::pin(listen.cpu);
    socket::raise_descriptor_limit()?;
    let listener = socket::listen(listen.port)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), LISTENER, libc::EPOLLIN)?;
    let server = Server {
        listener,
        epoll,
        connections: Slab::new(),
        buffer: vec![0; BUFFER_BYTES],
        said: Vec::new(),
        ended: Vec::new(),
    };
    server.run()
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        loop {
            for index in 0..self.epoll.wait() {
                match self.epoll.event(index) {
                    (LISTENER, _) => self.accept()?,
                    (key, events) => self.turn(usize::try_from(key).expect("a slab key"), events),
                }
            }
            self.tell_everyone()?;
            for key in std::mem::take(&mut self.ended) {
                if let Some(connection) = self.connections.try_remove(key) {
                    socket::close(connection.socket);
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

    fn turn(&mut self, key: usize, events: i32) {
        let connection = &mut self.connections[key];
        let mut alive = true;
        if events & libc::EPOLLOUT != 0 {
            alive = connection.send_unsent(&self.epoll, key).is_ok();
        }
        if alive && events & !libc::EPOLLOUT != 0 {
            alive = connection.receive(&mut self.buffer, &mut self.said).unwrap_or(false);
        }
        if !alive {
            self.ended.push(key);
        }
    }

    fn tell_everyone(&mut self) -> io::Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        for (key, connection) in &mut self.connections {
            if !connection.upgraded {
                continue;
            }
            let waited = !connection.unsent.is_empty();
            let sent = if waited { Ok(None) } else { socket::send(connection.socket, &self.said) };
            let Ok(sent) = sent else {
                self.ended.push(key);
                continue;
            };
            let rest = &self.said[sent.unwrap_or(0)..];
            connection.unsent.extend_from_slice(rest);
            if connection.unsent.len() > UNSENT_MAX {
                self.ended.push(key);
            } else if !waited && !rest.is_empty() {
                let events = libc::EPOLLIN | libc::EPOLLOUT;
                self.epoll.modify(connection.socket, key as u64, events)?;
            }
        }
        self.said.clear();
        Ok(())
    }
}

impl Connection {
    fn send_unsent(&mut self, epoll: &Epoll, key: usize) -> io::Result<()> {
        let sent = socket::send(self.socket, &self.unsent)?.unwrap_or(0);
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            epoll.modify(self.socket, key as u64, libc::EPOLLIN)?;
        }
        Ok(())
    }

    /// Reads once and adds what is said to `said`. `false`: the connection is over.
    fn receive(&mut self, buffer: &mut [u8], said: &mut Vec<u8>) -> io::Result<bool> {
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
        let mut consumed = 0;
        while let Some(frame) = frame::take_frame(bytes, consumed)? {
            consumed = frame.payload.end;
            match frame.answer() {
                Some(first) if frame.is_data() => {
                    frame::append_server_frame(said, first, &bytes[frame.payload]);
                }
                Some(first) => {
                    let mut answer = Vec::new();
                    let closes = frame.is_close();
                    frame::append_server_frame(&mut answer, first, &bytes[frame.payload]);
                    // A control frame whose answer does not fit is answered by nothing.
                    socket::send(self.socket, &answer)?;
                    if closes {
                        return Ok(false);
                    }
                }
                None => {}
            }
        }
        self.partial.clear();
        self.partial.extend_from_slice(&bytes[consumed..]);
        Ok(true)
    }

    fn upgrade(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.partial.clear();
        match handshake::answer(bytes)? {
            Some(upgrade) => {
                self.upgraded = true;
                self.partial.extend_from_slice(&bytes[upgrade.consumed..]);
                socket::send(self.socket, &upgrade.response)?;
            }
            None => self.partial.extend_from_slice(bytes),
        }
        Ok(true)
    }
}
