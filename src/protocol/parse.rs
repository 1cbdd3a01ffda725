//! From a WebSocket message to commands.

use crate::ws::MessageKind;

use super::{Envelope, ErrorCode, RequestId};

/// What a peer may put into one WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Nesting of one message; [`ParseLimits::MAX_DEPTH`] where more is given.
    pub depth: u8,
    /// Messages of a batch.
    pub batch_messages: u16,
}

impl From<&crate::config::Limits> for ParseLimits {
    fn from(limits: &crate::config::Limits) -> Self {
        Self { depth: limits.depth, batch_messages: limits.batch_messages }
    }
}

/// A message that is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it could be read.
    pub id: Option<RequestId>,
    /// For programs.
    pub code: ErrorCode,
    /// For people; never text of the peer.
    pub message: &'static str,
}

/// The messages of a WebSocket message, or of a `batch`, one after the other.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// Reads what a client sent: one message, or a batch of them. Text is UTF-8: the WebSocket layer
/// has seen to it.
#[must_use]
pub fn parse<'a>(kind: MessageKind, payload: &'a [u8], limits: &ParseLimits) -> Messages<'a> {
    let _ = (kind, limits);
    Messages { rest: payload }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Envelope<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = &[];
        None
    }
}
