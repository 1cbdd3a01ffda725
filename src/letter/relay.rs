//! One plain HTTP connection, from the core that holds its socket to the control plane and back.
//!
//! The core opens it with what it has read, and from then on each side sends the other the bytes of
//! its direction, `End` after the last of them. A connection is over, and forgotten, for a side
//! that has both sent and received `End`, or either sent or received `Reset`; what still comes for
//! it then is meant for nobody and ignored.
//!
//! Invariant: a side sends only bytes that its [`Window`] lets it, and gives credit only for bytes
//! that it has consumed, so neither ever holds more than [`WINDOW_BYTES`] of the other's.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::id::ConnectionKey;

/// Bytes that may be on their way in each direction of a connection.
pub const WINDOW_BYTES: usize = 65_536;

/// Something happened to a connection. Which core has its socket, the mesh says.
#[derive(Debug)]
pub struct Message {
    /// Which connection of that core.
    pub connection: ConnectionKey,
    /// What happened.
    pub event: Event,
}

/// What happens to a relayed connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// From the core alone, and first: this connection is no upgrade.
    Open(Box<Opening>),
    /// Bytes of the sender's direction; never empty.
    Data(Bytes),
    /// The sender has consumed so many bytes; as many more may come.
    Credit(usize),
    /// No more bytes of the sender's direction will come.
    End,
    /// It is over at once, in both directions.
    Reset,
}

/// What the control plane is told about a new connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Opening {
    /// The client's address, a trusted proxy's word included; none on a UNIX socket.
    pub peer: Option<SocketAddr>,
    /// Whether the client came over TLS.
    pub tls: bool,
    /// All that was read so far: a request head and what followed it. It spends the window like
    /// any other bytes, be it larger than the window.
    pub bytes: Bytes,
}

impl Message {
    /// What it counts on the mesh.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.event {
                Event::Open(opening) => size_of::<Opening>() + opening.bytes.len(),
                Event::Data(bytes) => bytes.len(),
                Event::Credit(_) | Event::End | Event::Reset => 0,
            }
    }
}

/// How many bytes a side may send now.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    granted: u64,
    spent: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { granted: WINDOW_BYTES as u64, spent: 0 }
    }
}

impl Window {
    /// What may be sent now.
    #[must_use]
    pub fn available(&self) -> usize {
        let left = self.granted.saturating_sub(self.spent);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Counts bytes sent.
    pub fn spend(&mut self, bytes: usize) {
        self.spent += bytes as u64;
    }

    /// Counts credit received.
    pub fn grant(&mut self, bytes: usize) {
        self.granted += bytes as u64;
    }
}
