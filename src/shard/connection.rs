//! One connection as the engine knows it, apart from its outbox.

use std::net::IpAddr;

use crate::clock::Moment;
use crate::id::ConnectionKey;
use crate::protocol::Codec;
use crate::wheel::Timer;

use super::heartbeat::Pulse;
use super::input::Opened;

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages flow.
    Open,
    /// Our close frame is queued or written; the peer's is awaited.
    Closing,
    /// Both have said their last; the socket is to end.
    Ended,
}

/// What a connection does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends them back.
    Echo,
    /// Reads commands.
    Rooms,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ConnectionKey,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    pub(super) codec: Codec,
    /// The longest message that may be sent deflated; 0: none.
    pub(super) deflate_up_to: u32,
    pub(super) address: Option<IpAddr>,
    pub(super) opened: Moment,
    pub(super) pulse: Pulse,
    /// The next time this connection is looked at: its heartbeat, or the end of its patience.
    pub(super) timer: Option<Timer>,
    /// The payload of the latest ping that could not be answered yet.
    pub(super) pong: Option<Box<[u8]>>,
}

impl Connection {
    pub(super) fn new(opened: &Opened, purpose: Purpose, now: Moment) -> Self {
        Self {
            key: opened.connection,
            purpose,
            phase: Phase::Open,
            codec: opened.codec,
            deflate_up_to: opened.deflate_up_to,
            address: opened.address,
            opened: now,
            pulse: Pulse::new(now),
            timer: None,
            pong: None,
        }
    }

    /// Whether its messages still count.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }
}
