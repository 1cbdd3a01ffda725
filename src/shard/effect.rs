//! What an engine wants done.

use crate::id::{ConnectionKey, CoreId};

use super::CoreMessage;
use super::application::Answered;

/// What one or more inputs led to; the driver carries it out in order and empties it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages for other cores, in order per core. Never for this one.
    pub letters: Vec<(CoreId, CoreMessage)>,
    /// Connections that have something in their outbox and had nothing before, or that are to be
    /// written again: each at most once between two flushes.
    pub dirty: Vec<ConnectionKey>,
    /// The same, for members of a large room: others need not wait for all of them.
    pub crowd: Vec<ConnectionKey>,
    /// Sockets to end once their outbox is written: the closing handshake is over, or its time is.
    pub hangups: Vec<ConnectionKey>,
    /// Sockets to end now, written or not: the peer did not answer our close frame in time.
    pub aborts: Vec<ConnectionKey>,
    /// What came of questions to clients.
    pub answered: Vec<Answered>,
}

impl Effects {
    /// How many connections are to be written.
    #[must_use]
    pub fn to_write(&self) -> usize {
        self.dirty.len() + self.crowd.len()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
            && self.to_write() == 0
            && self.hangups.is_empty()
            && self.aborts.is_empty()
    }
}
