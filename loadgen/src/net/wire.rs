//! A thread's connections as scenarios see them: send, open, close, and the counts.
//!
//! Nothing here waits. What a socket has no room for waits in the connection's backlog, at most
//! [`BACKLOG_MAX`]; a measured message that would not fit there is not sent and is counted.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::deflate::Deflate;
use super::socket;
use super::tls::Session;
use crate::clock;
use crate::control::{Control, Stage};
use crate::dialect::{Command, Dialect, Message};
use crate::frame::{self, Template, opcode};
use crate::payload::{Payload, Stamp};
use crate::plan::Settings;
use crate::stats::Recorder;

/// Bytes that may wait for room in one socket.
pub const BACKLOG_MAX: usize = 1 << 20;
/// Close code of an ordinary end.
const NORMAL: u16 = 1_000;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is none.
    #[default]
    Vacant,
    /// Until the upgrade is answered.
    Connecting,
    /// Until the server greets.
    Greeting,
    /// In use.
    Open,
    /// This side wants it to end.
    Closing,
}

/// One connection.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) socket: RawFd,
    pub(super) began_us: u64,
    /// This side has given up waiting for it to open.
    pub(super) timed_out: bool,
    pub(super) deflate: bool,
    pub(super) session: Option<Box<Session>>,
    /// Decrypted and not used yet.
    pub(super) plain: Vec<u8>,
    /// Pieces of a message that came in several frames.
    pub(super) fragments: Vec<u8>,
    pub(super) fragment_opcode: u8,
    pub(super) fragment_compressed: bool,
    /// While set, nothing is read: the slow consumer.
    pub(super) paused: bool,
    backlog: Vec<u8>,
}

/// A connection to be made.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Index of the peer on this thread.
    pub peer: usize,
    /// Number of the server.
    pub server: usize,
    /// Replaces `{room}` in the path.
    pub room: String,
    /// Session to resume.
    pub session: Option<String>,
    /// When the attempt was meant to begin, where it is timed from its intention.
    pub intended_us: Option<u64>,
    /// Bytes of the kernel's receive buffer, where it is not the kernel that decides.
    pub receive_buffer: Option<u32>,
}

/// See the module.
pub struct Wire {
    /// The moment the current event was read.
    pub now_us: u64,
    /// Index of this thread.
    pub thread: usize,
    /// Number of threads.
    pub threads: usize,
    /// Index of this thread's first peer among all.
    pub first_peer: usize,
    /// What the user asked for.
    pub settings: Arc<Settings>,
    /// Where the phase is.
    pub control: Arc<Control>,
    /// Counts and times.
    pub recorder: Recorder,
    /// Makes and checks what is measured.
    pub payload: Payload,
    /// How the server is spoken to.
    pub dialect: Box<dyn Dialect>,
    pub(super) connections: Vec<Connection>,
    pub(super) openings: VecDeque<Opening>,
    pub(super) deflate: Deflate,
    /// When the next connection may begin, if there is a rate.
    next_turn_us: u64,
    /// Connections with a backlog.
    blocked: Vec<usize>,
    scratch: Vec<u8>,
    sealed: Vec<u8>,
    mask: [u8; 4],
}

impl Wire {
    /// The wire of one thread with so many peers.
    #[must_use]
    pub fn new(
        place: Place,
        settings: Arc<Settings>,
        control: Arc<Control>,
        recorder: Recorder,
        payload: Payload,
    ) -> Self {
        let seed = u32::try_from(clock::now_us() & 0xffff_ffff).expect("masked to 32 bits");
        let mask = seed.wrapping_mul(2_654_435_761).wrapping_add(0x5bd1_e995) | 0x0101_0101;
        Self {
            now_us: clock::now_us(),
            thread: place.thread,
            threads: place.threads,
            first_peer: place.first_peer,
            dialect: settings.dialect.make(),
            settings,
            control,
            recorder,
            payload,
            connections: (0..place.peers).map(|_| Connection::default()).collect(),
            openings: VecDeque::new(),
            deflate: Deflate::default(),
            next_turn_us: 0,
            blocked: Vec::new(),
            scratch: Vec::new(),
            sealed: Vec::new(),
            mask: mask.to_ne_bytes(),
        }
    }

    /// Peers of this thread.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.connections.len()
    }

    /// Where the peer's connection is.
    #[must_use]
    pub fn phase(&self, peer: usize) -> Phase {
        self.connections[peer].phase
    }

    /// Whether the load runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.control.stage() == Stage::Run
    }

    /// Asks for a connection; it is made when its turn comes. With a rate of connections, its
    /// turn is fixed here, and it is timed from then.
    pub fn open(&mut self, mut opening: Opening) {
        if let Some(per_second) = self.settings.connect_rate {
            let turn_us = self.next_turn_us.max(clock::now_us());
            self.next_turn_us = turn_us + 1_000_000 * self.threads as u64 / per_second.max(1);
            opening.intended_us = Some(turn_us);
        }
        self.openings.push_back(opening);
    }

    /// A template for a message that `make` builds around a payload.
    #[must_use]
    pub fn template(&self, message: &Message) -> Template {
        Template::new(message.opcode, &message.bytes, message.payload_at, self.mask)
    }

    /// Times a message that just came.
    #[inline]
    pub fn time(&mut self, stamp: &Stamp) {
        let latency_us = self.now_us.saturating_sub(stamp.intended_us);
        self.recorder.latency.saturating_record(latency_us.max(1));
    }

    /// Sends a measured message. `false`: the socket is full, or gone, and the number unused.
    pub fn publish(
        &mut self,
        peer: usize,
        template: &mut Template,
        publisher: usize,
        sequence: u64,
        intended_us: u64,
    ) -> bool {
        let id = u32::try_from(publisher).expect("plans hold fewer publishers than stamps");
        let stamp = self.payload.stamp(id, sequence, intended_us);
        self.control.note_sent(publisher, sequence);
        let sent = if self.connections[peer].deflate {
            let (opcode, message) = template.stamped_message(&stamp);
            self.send_compressed(peer, opcode, message)
        } else {
            let frame = template.stamped(&stamp);
            self.send_open(peer, frame)
        };
        if sent {
            self.recorder.counters.sent += 1;
        } else {
            self.control.note_sent(publisher, sequence - 1);
            self.recorder.counters.unsent += 1;
        }
        sent
    }

    /// Sends a command. `false`: the dialect has no such, or the connection is gone.
    pub fn command(&mut self, peer: usize, command: Command<'_>) -> bool {
        match self.dialect.command(command) {
            Some(message) => self.send_message(peer, message.opcode, &message.bytes),
            None => false,
        }
    }

    /// Sends one message as a frame of its own.
    pub fn send_message(&mut self, peer: usize, opcode: u8, message: &[u8]) -> bool {
        if self.connections[peer].deflate && opcode < opcode::CLOSE {
            return self.send_compressed(peer, opcode, message);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        frame::write(&mut scratch, opcode, 0, self.mask, message);
        let sent = self.send_open(peer, &scratch);
        self.scratch = scratch;
        sent
    }

    /// Ends the connection in the ordinary way; the peer's answer or its deadline ends it wholly.
    pub fn close(&mut self, peer: usize) {
        if matches!(self.phase(peer), Phase::Greeting | Phase::Open) {
            self.send_message(peer, opcode::CLOSE, &NORMAL.to_be_bytes());
            self.connections[peer].phase = Phase::Closing;
        }
    }

    /// Ends the connection as a lost network would: without a word.
    pub fn cut(&mut self, peer: usize) {
        if matches!(self.phase(peer), Phase::Greeting | Phase::Open) {
            self.connections[peer].phase = Phase::Closing;
            socket::reset_on_close(self.connections[peer].socket);
            socket::shutdown(self.connections[peer].socket);
        }
    }

    /// Stops reading, or goes on.
    pub fn pause(&mut self, peer: usize, paused: bool) {
        self.connections[peer].paused = paused;
    }

    /// Sends bytes of the handshake or a frame, through TLS where there is one.
    pub(super) fn send_raw(&mut self, peer: usize, bytes: &[u8]) -> bool {
        let connection = &mut self.connections[peer];
        let Some(session) = &mut connection.session else {
            return self.send_sealed(peer, bytes);
        };
        // What TLS has encrypted must be sent: a full backlog refuses before that.
        if connection.backlog.len() + bytes.len() > BACKLOG_MAX || session.write(bytes).is_err() {
            return false;
        }
        self.flush_session(peer)
    }

    /// Sends what the TLS session wants sent.
    pub(super) fn flush_session(&mut self, peer: usize) -> bool {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        let taken = match &mut self.connections[peer].session {
            Some(session) => session.take_outgoing(&mut sealed).is_ok(),
            None => true,
        };
        let sent = taken && (sealed.is_empty() || self.send_sealed(peer, &sealed));
        self.sealed = sealed;
        sent
    }

    /// Tries again where sockets were full.
    pub(super) fn retry_blocked(&mut self) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|&peer| {
            let connection = &mut self.connections[peer];
            match socket::send(connection.socket, &connection.backlog) {
                Ok(sent) => {
                    self.recorder.counters.bytes_out += sent as u64;
                    connection.backlog.drain(..sent);
                }
                Err(_) => connection.backlog.clear(),
            }
            !connection.backlog.is_empty()
        });
        self.blocked = blocked;
    }

    /// Whether some socket had no room.
    pub(super) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Forgets a connection whose socket is about to be closed.
    pub(super) fn vacate(&mut self, peer: usize) {
        self.blocked.retain(|&blocked| blocked != peer);
        self.connections[peer] = Connection::default();
    }

    fn send_open(&mut self, peer: usize, bytes: &[u8]) -> bool {
        matches!(self.phase(peer), Phase::Greeting | Phase::Open) && self.send_raw(peer, bytes)
    }

    fn send_compressed(&mut self, peer: usize, opcode: u8, message: &[u8]) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let compressed = self.deflate.deflate(message);
        frame::write(&mut scratch, opcode, frame::COMPRESSED, self.mask, compressed);
        let sent = self.send_open(peer, &scratch);
        self.scratch = scratch;
        sent
    }

    fn send_sealed(&mut self, peer: usize, bytes: &[u8]) -> bool {
        let connection = &mut self.connections[peer];
        let mut sent = 0;
        if connection.backlog.is_empty() {
            match socket::send(connection.socket, bytes) {
                Ok(count) => sent = count,
                // The reader hears of it, too, and ends the connection.
                Err(_) => return false,
            }
            self.recorder.counters.bytes_out += sent as u64;
            if sent == bytes.len() {
                return true;
            }
            self.blocked.push(peer);
        } else if connection.backlog.len() + bytes.len() > BACKLOG_MAX {
            return false;
        }
        connection.backlog.extend_from_slice(&bytes[sent..]);
        true
    }
}

/// Which part of a phase a thread has.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index of the thread.
    pub thread: usize,
    /// Number of threads.
    pub threads: usize,
    /// Index of its first peer among all.
    pub first_peer: usize,
    /// Number of its peers.
    pub peers: usize,
}
