//! A plain HTTP connection, on the side of the core that holds its socket: bytes to the control
//! plane and back, within the windows of [`crate::letter::relay`].

use bytes::Bytes;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::letter::Letter;
use crate::letter::relay::{Event, Message, Opening, Window};

use super::connection::Stage;
use super::core::State;

/// Where a relayed connection stands.
#[derive(Debug)]
pub(super) struct Relay {
    key: ConnectionKey,
    /// What may go to the control plane.
    window: Window,
    /// Bytes of the client that the window does not let through yet; its reader waits meanwhile.
    held: Vec<u8>,
    /// Whether the client has ended its side, and whether that was passed on.
    has_ended: bool,
    has_passed_end: bool,
    /// Bytes of the response that wait for the kernel: credit is given when they are written.
    unwritten_bytes: usize,
}

impl Relay {
    /// Hands a connection over with all that was read of it.
    pub(super) fn open(key: ConnectionKey, opening: Opening) -> (Box<Self>, Message) {
        let mut window = Window::default();
        window.spend(opening.bytes.len());
        let relay = Self {
            key,
            window,
            held: Vec::new(),
            has_ended: false,
            has_passed_end: false,
            unwritten_bytes: 0,
        };
        (Box::new(relay), Message { connection: key, event: Event::Open(Box::new(opening)) })
    }

    /// Takes bytes of the client.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The client will send no more.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The control plane has consumed bytes.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.window.grant(bytes);
    }

    /// What may go to the control plane now; call it until it says `None`.
    pub(super) fn next(&mut self) -> Option<Message> {
        let count = self.held.len().min(self.window.available());
        if count > 0 {
            let bytes = Bytes::copy_from_slice(&self.held[..count]);
            self.held.drain(..count);
            self.window.spend(count);
            return Some(self.say(Event::Data(bytes)));
        }
        if self.has_ended && self.held.is_empty() && !self.has_passed_end {
            self.has_passed_end = true;
            return Some(self.say(Event::End));
        }
        None
    }

    /// Whether the client must wait.
    pub(super) fn is_full(&self) -> bool {
        !self.held.is_empty() || self.window.available() == 0
    }

    /// Bytes of the response are to be written.
    pub(super) fn queue(&mut self, bytes: usize) {
        self.unwritten_bytes += bytes;
    }

    /// After a write that left `left` bytes: the credit that is due.
    pub(super) fn credit(&mut self, left: usize) -> Option<Message> {
        let written = self.unwritten_bytes.saturating_sub(left);
        self.unwritten_bytes = left;
        (written > 0).then(|| self.say(Event::Credit(written)))
    }

    /// The socket is gone.
    pub(super) fn reset(&self) -> Message {
        self.say(Event::Reset)
    }

    fn say(&self, event: Event) -> Message {
        Message { connection: self.key, event }
    }
}

impl State {
    /// What the control plane says about one of its connections, which may be gone by now.
    pub(super) fn take_relay(&mut self, now: Now, message: Message) {
        let key = message.connection;
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Stage::Relay(relay) = &mut connection.stage else {
            return;
        };
        match message.event {
            Event::Data(bytes) => {
                connection.raw.extend_from_slice(&bytes);
                relay.queue(bytes.len());
            }
            Event::Credit(bytes) => {
                relay.grant(bytes);
                self.pass_on(key);
            }
            Event::End => self.part(now, key),
            Event::Reset => {
                connection.stream.reset_on_close();
                connection.raw = Vec::new();
                self.part(now, key);
            }
            // Only cores open connections.
            Event::Open(_) => {}
        }
        self.effects.dirty.push(key);
    }

    /// Passes on what the window lets through, and lets the reader go on where it has room again.
    pub(super) fn pass_on(&mut self, key: ConnectionKey) {
        while let Some(message) = self.relay(key).and_then(Relay::next) {
            self.post_to_control(message);
        }
        if self.relay(key).is_some_and(|relay| !relay.is_full()) {
            self.resume(key);
        }
    }

    /// Posts a letter to the control plane.
    pub(super) fn post_to_control(&mut self, message: Message) {
        let bytes = message.cost_bytes();
        // The control plane ends after the cores; if it is gone, so are its connections.
        let _ = self.port.post(self.control, Letter::Relay(message), bytes);
    }

    /// The relay of that connection, if it is one.
    pub(super) fn relay(&mut self, key: ConnectionKey) -> Option<&mut Relay> {
        match &mut self.connection(key)?.stage {
            Stage::Relay(relay) => Some(relay),
            _ => None,
        }
    }
}
