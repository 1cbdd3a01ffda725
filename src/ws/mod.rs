//! WebSocket to the letter (RFC 6455, RFC 7692): bytes to events and back. No I/O, no clock.
//!
//! Invariants: nothing a peer sends panics; nothing is allocated for a length that a peer only
//! claims; a fault is final for its connection.

pub mod buffer;
pub mod close;
pub mod decoder;
pub mod deflate;
pub mod extension;
pub mod forwarded;
pub mod frame;
pub mod handshake;
pub mod head;
pub mod mask;
pub mod proxy;
pub mod refusal;
pub mod utf8;

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}
