//! What an engine wants done.

use std::net::IpAddr;

use crate::auth;
use crate::id::{ConnectionKey, CoreId};
use crate::record::Record;

use super::CoreMessage;
use super::application::Answered;
use super::edict::Carried;

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
    /// Edicts that all cores have carried out, as far as this one has heard.
    pub carried: Vec<Carried>,
    /// What the control plane is to find out.
    pub questions: Vec<auth::Question>,
    /// Connections in their handshake that are to be judged again.
    pub decided: Vec<ConnectionKey>,
    /// Credentials that were refused.
    pub failures: Vec<Failure>,
    /// For the audit trail.
    pub records: Vec<Record>,
    /// What came of questions to clients.
    pub answered: Vec<Answered>,
}

/// A credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it came from; none: a UNIX socket.
    pub address: Option<IpAddr>,
    /// Why.
    pub refusal: auth::Refusal,
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
