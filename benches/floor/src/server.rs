//! The loop that the io_uring servers share: accept, receive into provided buffers, send in order.
//! What is said with it is a [`Service`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use slab::Slab;

use crate::ring::{Completion, Operation, Ring};
use crate::{Listen, handshake, socket};

const BUFFER_COUNT: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;
/// Sends that may wait for one connection; past it, it is closed.
const WAITING_MAX: usize = 4_096;

/// What a server makes of its clients' frames.
pub trait Service {
    /// Takes the whole frames in `bytes`.
    fn hear(&mut self, bytes: &mut [u8]) -> io::Result<Heard>;

    /// What everyone is to be sent at the end of a turn of the loop.
    fn take_said(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// What became of some bytes.
#[derive(Debug)]
pub struct Heard {
    /// Bytes of whole frames.
    pub consumed: usize,
    /// Whether a close frame was among them.
    pub closing: bool,
    /// What their sender is to be sent.
    pub answer: Answer,
}

/// Bytes for the one who was heard.
#[derive(Debug)]
pub enum Answer {
    /// So many, at the front of what was heard.
    InPlace(usize),
    /// These.
    Apart(Vec<u8>),
}

/// Bytes to send: in the very buffer that they came in, or in memory that others may share.
enum Outgoing {
    Provided { buffer: u16, len: usize },
    Shared(Rc<Vec<u8>>),
}

impl Outgoing {
    fn len(&self) -> usize {
        match self {
            Self::Provided { len, .. } => *len,
            Self::Shared(bytes) => bytes.len(),
        }
    }

    fn release(self, ring: &mut Ring) {
        if let Self::Provided { buffer, .. } = self {
            ring.recycle(buffer);
        }
    }
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

/// Serves until the machine fails it.
pub fn serve(listen: &Listen, service: impl Service) -> io::Result<()> {
    socket::pin(listen.cpu);
    socket::raise_descriptor_limit()?;
    let listener = socket::listen(listen.port)?;
    let ring = Ring::new(BUFFER_COUNT, BUFFER_BYTES)?;
    let server = Server { ring, service, connections: Slab::new(), starved: Vec::new() };
    server.run(listener.as_raw_fd())
}

struct Server<S> {
    ring: Ring,
    service: S,
    connections: Slab<Connection>,
    /// Connections whose receive ended because no buffer was left.
    starved: Vec<u32>,
}

impl<S: Service> Server<S> {
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
            if let Some(said) = self.service.take_said() {
                self.tell_everyone(&Rc::new(said))?;
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
        let bytes = &mut self.ring.buffer(buffer)[..count];
        let answer = match connection.hear(&mut self.service, bytes, buffer) {
            Ok(answer) => answer,
            Err(_) => {
                connection.closing = true;
                None
            }
        };
        if !matches!(answer, Some(Outgoing::Provided { .. })) {
            self.ring.recycle(buffer);
        }
        if let Some(answer) = answer {
            self.queue(key, answer)?;
        }
        let connection = &self.connections[key as usize];
        if !connection.receiving && !connection.closing {
            self.receive(key)?;
        }
        self.reap(key);
        Ok(())
    }

    fn tell_everyone(&mut self, said: &Rc<Vec<u8>>) -> io::Result<()> {
        for index in 0..self.connections.capacity() {
            let Some(connection) = self.connections.get(index) else { continue };
            if connection.upgraded && !connection.closing {
                let key = u32::try_from(index).expect("fewer than 2^32 connections");
                self.queue(key, Outgoing::Shared(Rc::clone(said)))?;
            }
        }
        Ok(())
    }

    fn queue(&mut self, key: u32, outgoing: Outgoing) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        connection.outgoing.push_back(outgoing);
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
        let (bytes, len) = match connection.outgoing.front() {
            None => return Ok(()),
            Some(Outgoing::Shared(bytes)) => (bytes.as_ptr(), bytes.len()),
            Some(&Outgoing::Provided { buffer, len }) => (self.ring.buffer(buffer).as_ptr(), len),
        };
        // SAFETY: the front keeps its bytes alive until `sent`, and nobody changes them.
        unsafe { self.ring.send(connection.socket, key, bytes, len) }
    }

    fn sent(&mut self, key: u32, completion: &Completion) -> io::Result<()> {
        let connection = &mut self.connections[key as usize];
        let sent = connection.outgoing.pop_front();
        let whole = sent.as_ref().map_or(0, Outgoing::len);
        let failed = usize::try_from(completion.result) != Ok(whole);
        if failed {
            connection.closing = true;
        }
        let unsent =
            if failed { std::mem::take(&mut connection.outgoing) } else { VecDeque::new() };
        for outgoing in sent.into_iter().chain(unsent) {
            outgoing.release(&mut self.ring);
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
    /// Has what was received in `buffer` heard; gives what is to be sent back.
    fn hear(
        &mut self,
        service: &mut impl Service,
        bytes: &mut [u8],
        buffer: u16,
    ) -> io::Result<Option<Outgoing>> {
        if !self.upgraded || !self.partial.is_empty() {
            return self.hear_slowly(service, bytes);
        }
        let heard = service.hear(bytes)?;
        self.closing |= heard.closing;
        self.partial.extend_from_slice(&bytes[heard.consumed..]);
        Ok(match heard.answer {
            Answer::InPlace(0) => None,
            Answer::InPlace(len) => Some(Outgoing::Provided { buffer, len }),
            Answer::Apart(answer) => apart(answer),
        })
    }

    /// A head, or a frame that came in pieces: through memory of our own.
    fn hear_slowly(
        &mut self,
        service: &mut impl Service,
        bytes: &[u8],
    ) -> io::Result<Option<Outgoing>> {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        if !self.upgraded {
            let Some(upgrade) = handshake::answer(&whole)? else {
                self.partial = whole;
                return Ok(None);
            };
            self.upgraded = true;
            self.partial = whole.split_off(upgrade.consumed);
            return Ok(apart(upgrade.response));
        }
        let heard = service.hear(&mut whole)?;
        self.closing |= heard.closing;
        self.partial = whole.split_off(heard.consumed);
        Ok(match heard.answer {
            Answer::InPlace(len) => {
                whole.truncate(len);
                apart(whole)
            }
            Answer::Apart(answer) => apart(answer),
        })
    }
}

fn apart(bytes: Vec<u8>) -> Option<Outgoing> {
    if bytes.is_empty() { None } else { Some(Outgoing::Shared(Rc::new(bytes))) }
}
