//! Bare echo on io_uring: multishot receives into provided buffers, answered in place, sends
//! batched by the loop.

#![allow(unsafe_code, reason = "bare ring operations are what this program is about")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use clap::Parser;
use ringroom_floor::ring::{Completion, Operation, Ring};
use ringroom_floor::{Listen, frame, handshake, socket};
use slab::Slab;

const BUFFER_COUNT: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

/// Bytes to send: answered in the very buffer they came in, or built by us.
enum Outgoing {
    Provided { buffer: u16, len: usize },
    Owned(Vec<u8>),
}

struct Connection {
    socket: RawFd,
    upgraded: bool,
    partial: Vec<u8>,
    /// The front one is in flight: the ring does not keep two sends of a socket in order.
    outgoing: VecDeque<Outgoing>,
    receiving: bool,
    closing: bool,
}

fn main() -> io::Result<()> {
    let listen = Command::parse().listen;
    socket::pin(listen.cpu);
    socket::raise_descriptor_limit()?;
    let listener = socket::listen(listen.port)?;
    let ring = Ring::new(BUFFER_COUNT, BUFFER_BYTES)?;
    Server { ring, connections: Slab::new(), starved: Vec::new() }.run(listener.as_raw_fd())
}

struct Server {
    ring: Ring,
    connections: Slab<Connection>,
    /// Connections whose receive ended because no buffer was left.
    starved: Vec<u32>,
}

impl Server {
    fn run(mut self, listener: RawFd) -> io::Result<()> {
        self.ring.accept(listener)?;
        let mut completions = Vec::new();
        loop {
            self.ring.wait(&mut completions)?;
            for completion in &completions {
                match completion.operation {
                    Operation::Accept => self.accepted(listener, completion)?,
                    Operation::Receive(key) => self.received(key, completion)?,
                    Operation::Send(key) => self.sent(key, completion)?,
                }
            }
            for key in std::mem::take(&mut self.starved) {
                self.receive(key)?;
            }
        }
    }

    fn accepted(&mut self, listener: RawFd, completion: &Completion) -> io::Result<()> {
        if completion.result >= 0 {
            let socket = completion.result;
            socket::set_nodelay(socket)?;
            let key = self.connections.insert(Connection {
                socket,
                upgraded: false,
                partial: Vec::new(),
                outgoing: VecDeque::new(),
                receiving: false,
                closing: false,
            });
            self.receive(u32::try_from(key).expect("fewer than 2^32 connections"))?;
        }
        if completion.more { Ok(()) } else { self.ring.accept(listener) }
    }

    fn receive(&mut self, key: u32) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        connection.receiving = true;
        self.ring.receive(connection.socket, key)
    }

    fn received(&mut self, key: u32, completion: &Completion) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        connection.receiving = completion.more;
        if completion.result == -libc::ENOBUFS {
            self.starved.push(key);
            return Ok(());
        }
        let Some(buffer) = completion.buffer else {
            connection.closing = true;
            self.reap(key);
            return Ok(());
        };
        let count = usize::try_from(completion.result).unwrap_or(0);
        let idle = connection.outgoing.is_empty();
        let bytes = &mut self.ring.buffer(buffer)[..count];
        let kept = match connection.answer(bytes, buffer) {
            Ok(kept) => kept,
            Err(_) => {
                connection.closing = true;
                false
            }
        };
        if !kept {
            self.ring.recycle(buffer);
        }
        if idle {
            self.send_front(key)?;
        }
        if !self.connections[key as usize].receiving && !self.connections[key as usize].closing {
            self.receive(key)?;
        }
        self.reap(key);
        Ok(())
    }

    fn send_front(&mut self, key: u32) -> io::Result<()> {
        let connection = &self.connections[key as usize];
        let (bytes, len) = match connection.outgoing.front() {
            None => return Ok(()),
            Some(Outgoing::Owned(bytes)) => (bytes.as_ptr(), bytes.len()),
            Some(&Outgoing::Provided { buffer, len }) => (self.ring.buffer(buffer).as_ptr(), len),
        };
        // SAFETY: the front stays in the queue, and its buffer is not recycled, until `sent`.
        unsafe { self.ring.send(connection.socket, key, bytes, len) }
    }

    fn sent(&mut self, key: u32, completion: &Completion) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        let expected = match connection.outgoing.pop_front() {
            Some(Outgoing::Provided { buffer, len }) => {
                self.ring.recycle(buffer);
                len
            }
            Some(Outgoing::Owned(bytes)) => bytes.len(),
            None => 0,
        };
        if usize::try_from(completion.result) != Ok(expected) {
            connection.closing = true;
            for outgoing in std::mem::take(&mut connection.outgoing) {
                if let Outgoing::Provided { buffer, .. } = outgoing {
                    self.ring.recycle(buffer);
                }
            }
        }
        self.send_front(key)?;
        self.reap(key);
        Ok(())
    }

    /// Ends a closing connection: first its receive, then, when nothing is in flight, itself.
    fn reap(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        if !connection.closing || !connection.outgoing.is_empty() {
            return;
        }
        if connection.receiving {
            // SAFETY: the descriptor is ours; the receive then completes with 0.
            unsafe { libc::shutdown(connection.socket, libc::SHUT_RDWR) };
        } else {
            socket::close(self.connections.remove(key as usize).socket);
        }
    }
}

impl Connection {
    /// Answers what was received; `true` if the answer sits in the buffer, which is then kept.
    fn answer(&mut self, bytes: &mut [u8], buffer: u16) -> io::Result<bool> {
        if !self.upgraded || !self.partial.is_empty() {
            self.answer_slowly(bytes)?;
            return Ok(false);
        }
        let answered = frame::answer_in_place(bytes)?;
        self.closing |= answered.closing;
        self.partial.extend_from_slice(&bytes[answered.consumed..]);
        if answered.produced == 0 {
            return Ok(false);
        }
        self.outgoing.push_back(Outgoing::Provided { buffer, len: answered.produced });
        Ok(true)
    }

    /// A head, or a frame that came in pieces: through memory of our own.
    fn answer_slowly(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        if !self.upgraded {
            match handshake::answer(&whole)? {
                Some(upgrade) => {
                    self.upgraded = true;
                    self.partial = whole.split_off(upgrade.consumed);
                    self.outgoing.push_back(Outgoing::Owned(upgrade.response));
                }
                None => self.partial = whole,
            }
            return Ok(());
        }
        let answered = frame::answer_in_place(&mut whole)?;
        self.closing |= answered.closing;
        self.partial = whole.split_off(answered.consumed);
        whole.truncate(answered.produced);
        if !whole.is_empty() {
            self.outgoing.push_back(Outgoing::Owned(whole));
        }
        Ok(())
    }
}
