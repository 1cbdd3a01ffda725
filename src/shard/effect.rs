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
    /// Sockets to end once their outbox is written: the closing handshake is over, or its time is.
    pub hangups: Vec<ConnectionKey>,
    /// Sockets to end now, written or not: the peer did not answer our close frame in time.
    pub aborts: Vec<ConnectionKey>,
    /// What came of questions to clients.
    pub answered: Vec<Answered>,
}
