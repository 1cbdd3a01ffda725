//! The state of all relayed connections: what came, what may go, who waits for it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use tokio::io::ReadBuf;

use super::Key;
use crate::id::CoreId;
use crate::letter::relay::{Event, Message, WINDOW_BYTES, Window};

/// Connections at a time; what comes beyond is told to try later.
pub(super) const CONNECTIONS_MAX: usize = 4_096;

/// Credit is given back once this much was consumed, and not for every read.
const CREDIT_STEP_BYTES: usize = WINDOW_BYTES / 4;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\
    retry-after: 5\r\nconnection: close\r\n\r\n";

#[derive(Debug, Default)]
pub(super) struct Exchange {
    pipes: HashMap<Key, Pipe>,
    outgoing: Vec<(CoreId, Message)>,
}

/// One connection.
#[derive(Debug)]
struct Pipe {
    /// Came, and waits to be read.
    incoming: VecDeque<Bytes>,
    /// What the core may still send; granted as it is consumed.
    incoming_window: Window,
    /// Consumed, and not yet granted again.
    uncredited_bytes: usize,
    incoming_ended: bool,
    /// What we may still send.
    outgoing_window: Window,
    outgoing_ended: bool,
    /// Nobody reads any more: what comes is thrown away until the core ends too.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Exchange {
    /// Whether it opened a connection.
    pub(super) fn handle(&mut self, key: Key, event: Event) -> bool {
        match event {
            Event::Open(opening) => return self.open(key, opening.bytes),
            Event::Data(bytes) => self.take_in(key, bytes),
            Event::Credit(bytes) => {
                if let Some(pipe) = self.pipes.get_mut(&key) {
                    pipe.outgoing_window.grant(bytes);
                    wake(&mut pipe.writer);
                }
            }
            Event::End => self.end_incoming(key),
            Event::Reset => self.forget(key),
        }
        false
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<(CoreId, Message)> {
        mem::take(&mut self.outgoing)
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pipes.len()
    }

    /// Reads what came. A connection that is gone was reset.
    pub(super) fn poll_read(
        &mut self,
        key: Key,
        context: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(pipe) = self.pipes.get_mut(&key) else { return Poll::Ready(Err(reset())) };
        let consumed = pipe.read(buffer);
        if consumed > 0 {
            self.credit(key, consumed);
            return Poll::Ready(Ok(()));
        }
        if pipe.incoming_ended || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Sends as much as the window lets.
    pub(super) fn poll_write(
        &mut self,
        key: Key,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(pipe) = self.pipes.get_mut(&key) else { return Poll::Ready(Err(reset())) };
        if pipe.outgoing_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let length = bytes.len().min(pipe.outgoing_window.available());
        if length == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.outgoing_window.spend(length);
        self.send(key, Event::Data(Bytes::copy_from_slice(&bytes[..length])));
        Poll::Ready(Ok(length))
    }

    /// Says that nothing more will be written; once.
    pub(super) fn end_outgoing(&mut self, key: Key) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        if pipe.outgoing_ended {
            return;
        }
        pipe.outgoing_ended = true;
        if pipe.incoming_ended && pipe.abandoned {
            self.pipes.remove(&key);
        }
        self.send(key, Event::End);
    }

    /// The stream is dropped. A connection that was ended in good order stays until the core has
    /// ended too, or the client might lose the end of the response to a reset.
    pub(super) fn abandon(&mut self, key: Key) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        if !pipe.outgoing_ended {
            self.reset(key);
            return;
        }
        if pipe.incoming_ended {
            self.forget(key);
            return;
        }
        pipe.abandoned = true;
        let unread = mem::take(&mut pipe.incoming).iter().map(Bytes::len).sum();
        self.credit(key, unread);
    }

    fn open(&mut self, key: Key, bytes: Bytes) -> bool {
        if self.pipes.contains_key(&key) {
            tracing::error!(?key, "a core opened a connection twice");
            self.reset(key);
            return false;
        }
        if self.pipes.len() >= CONNECTIONS_MAX {
            self.send(key, Event::Data(Bytes::from_static(FULL)));
            self.send(key, Event::End);
            return false;
        }
        let mut incoming_window = Window::default();
        incoming_window.spend(bytes.len());
        let pipe = Pipe {
            incoming: VecDeque::from([bytes]),
            incoming_window,
            uncredited_bytes: 0,
            incoming_ended: false,
            outgoing_window: Window::default(),
            outgoing_ended: false,
            abandoned: false,
            reader: None,
            writer: None,
        };
        self.pipes.insert(key, pipe);
        true
    }

    fn take_in(&mut self, key: Key, bytes: Bytes) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        if pipe.incoming_ended || bytes.len() > pipe.incoming_window.available() {
            tracing::error!(?key, bytes = bytes.len(), "a core sent more than it had credit for");
            self.reset(key);
            return;
        }
        pipe.incoming_window.spend(bytes.len());
        if pipe.abandoned {
            self.credit(key, bytes.len());
        } else {
            pipe.incoming.push_back(bytes);
            wake(&mut pipe.reader);
        }
    }

    fn end_incoming(&mut self, key: Key) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        pipe.incoming_ended = true;
        wake(&mut pipe.reader);
        if pipe.abandoned {
            self.forget(key);
        }
    }

    fn credit(&mut self, key: Key, consumed: usize) {
        let Some(pipe) = self.pipes.get_mut(&key) else { return };
        pipe.uncredited_bytes += consumed;
        if pipe.incoming_ended || pipe.uncredited_bytes < CREDIT_STEP_BYTES {
            return;
        }
        let credit = mem::take(&mut pipe.uncredited_bytes);
        pipe.incoming_window.grant(credit);
        self.send(key, Event::Credit(credit));
    }

    fn reset(&mut self, key: Key) {
        self.forget(key);
        self.send(key, Event::Reset);
    }

    fn forget(&mut self, key: Key) {
        if let Some(mut pipe) = self.pipes.remove(&key) {
            wake(&mut pipe.reader);
            wake(&mut pipe.writer);
        }
    }

    fn send(&mut self, (core, connection): Key, event: Event) {
        self.outgoing.push((core, Message { connection, event }));
    }
}

impl Pipe {
    /// How many bytes it put into `buffer`.
    fn read(&mut self, buffer: &mut ReadBuf<'_>) -> usize {
        let before = buffer.remaining();
        while let Some(bytes) = self.incoming.front_mut() {
            let length = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..length]);
            bytes.advance(length);
            if !bytes.is_empty() {
                break;
            }
            self.incoming.pop_front();
        }
        before - buffer.remaining()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
