//! Bare fan-out on io_uring: what anyone says goes to everyone, one send operation per connection
//! and turn of the loop, all submitted at once, all from the same bytes.

#![allow(unsafe_code, reason = "bare ring operations are what this program is about")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use clap::Parser;
use ringroom_floor::ring::{Completion, Operation, Ring};
use ringroom_floor::{Listen, frame, handshake, socket};
use slab::Slab;

const BUFFER_COUNT: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;
/// Turns that may wait for one connection; past it, it is closed.
const WAITING_MAX: usize = 4_096;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

struct Connection {
    socket: RawFd,
    upgraded: bool,
    partial: Vec<u8>,
    /// The front one is in flight: the ring does not keep two sends of a socket in order.
    outgoing: VecDeque<Rc<Vec<u8>>>,
    receiving: bool,
    closing: bool,
}

struct Server {
    ring: Ring,
    connections: Slab<Connection>,
    /// Connections whose receive ended because no buffer was left.
    starved: Vec<u32>,
    said: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listen = Command::parse().listen;
    socket::pin(listen.cpu);
    socket::raise_descriptor_limit()?;
    let listener = socket::listen(listen.port)?;
    let ring = Ring::new(BUFFER_COUNT, BUFFER_BYTES)?;
    let server = Server { ring, connections: Slab::new(), starved: Vec::new(), said: Vec::new() };
    server.run(listener.as_raw_fd())
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
            self.tell_everyone()?;
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
        let answer = connection.hear(&mut self.ring.buffer(buffer)[..count], &mut self.said);
        self.ring.recycle(buffer);
        match answer {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => self.queue(key, &Rc::new(answer))?,
            Err(_) => self.connections[key as usize].closing = true,
        }
        let connection = &self.connections[key as usize];
        if !connection.receiving && !connection.closing {
            self.receive(key)?;
        }
        self.reap(key);
        Ok(())
    }

    fn tell_everyone(&mut self) -> io::Result<()> {
        if self.said.is_empty() {
            return Ok(());
        }
        let said = Rc::new(std::mem::take(&mut self.said));
        for index in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(index) else { continue };
            if connection.upgraded && !connection.closing {
                self.queue(u32::try_from(index).expect("fewer than 2^32 connections"), &said)?;
            }
        }
        Ok(())
    }

    fn queue(&mut self, key: u32, bytes: &Rc<Vec<u8>>) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        connection.outgoing.push_back(Rc::clone(bytes));
        match connection.outgoing.len() {
            1 => self.send_front(key),
            ..=WAITING_MAX => Ok(()),
            _ => {
                connection.closing = true;
                // SAFETY: the descriptor is ours; what is in flight then completes with an error.
                unsafe { libc::shutdown(connection.socket, libc::SHUT_RDWR) };
                Ok(())
            }
        }
    }

    fn send_front(&mut self, key: u32) -> io::Result<()> {
        let connection = &self.connections[key as usize];
        let Some(bytes) = connection.outgoing.front() else { return Ok(()) };
        // SAFETY: the front keeps its bytes alive until `sent`, and nobody changes them.
        unsafe { self.ring.send(connection.socket, key, bytes.as_ptr(), bytes.len()) }
    }

    fn sent(&mut self, key: u32, completion: &Completion) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        let sent = connection.outgoing.pop_front().map(|bytes| bytes.len());
        if usize::try_from(completion.result).ok() != sent {
            connection.closing = true;
            connection.outgoing.clear();
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
    /// Adds what is said to `said`; gives what this connection alone is to be answered.
    fn hear(&mut self, bytes: &mut [u8], said: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        if self.upgraded && self.partial.is_empty() {
            let (consumed, answer) = self.hear_frames(bytes, said)?;
            self.partial.extend_from_slice(&bytes[consumed..]);
            return Ok(answer);
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        if self.upgraded {
            let (consumed, answer) = self.hear_frames(&mut whole, said)?;
            self.partial = whole.split_off(consumed);
            return Ok(answer);
        }
        match handshake::answer(&whole)? {
            Some(upgrade) => {
                self.upgraded = true;
                self.partial = whole.split_off(upgrade.consumed);
                Ok(upgrade.response)
            }
            None => {
                self.partial = whole;
                Ok(Vec::new())
            }
        }
    }

    fn hear_frames(
        &mut self,
        bytes: &mut [u8],
        said: &mut Vec<u8>,
    ) -> io::Result<(usize, Vec<u8>)> {
        let (mut consumed, mut answer) = (0, Vec::new());
        while let Some(frame) = frame::take_frame(bytes, consumed)? {
            consumed = frame.payload.end;
            self.closing |= frame.is_close();
            let Some(first) = frame.answer() else { continue };
            let out = if frame.is_data() { &mut *said } else { &mut answer };
            frame::append_server_frame(out, first, &bytes[frame.payload]);
        }
        Ok((consumed, answer))
    }
}
