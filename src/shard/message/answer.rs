//! What came of a command: what the client is told, and what its core has to do.

use std::sync::Arc;

use crate::id::ConnectionKey;
use crate::protocol::{GapReason, Role, SlowConsumer};
use crate::room::hub::Interest;
use crate::room::name::RoomKey;
use crate::room::publication::Publication;
use crate::room::refusal::Refusal;

use super::Ticket;

/// What came of a command about a room.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which room.
    pub room: RoomKey,
    /// Who asked.
    pub connection: ConnectionKey,
    /// Of which command.
    pub ticket: Ticket,
    /// What the client is told: a whole frame in its codec; empty: nothing.
    pub frame: Box<[u8]>,
    /// What the hub has to do.
    pub effect: AnswerEffect,
}

/// What a hub has to do because of an answer.
#[derive(Clone, Debug)]
pub enum AnswerEffect {
    /// Only tell the client.
    None,
    /// The connection is in the room from here on.
    Joined(Box<Joined>),
    /// A join was refused.
    NotJoined {
        /// With a wrong password.
        wrong_password: bool,
    },
    /// The connection is no longer in the room.
    Left,
    /// The connection has taken in everything up to an offset.
    Acknowledged {
        /// Up to where.
        offset: u64,
    },
    /// A part of a `send` was taken by so many connections.
    Sent {
        /// How many.
        delivered: u64,
    },
    /// A part of a `send` was refused.
    NotSent(Refusal),
}

/// A connection is in a room.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Which life of the room.
    pub epoch: Arc<str>,
    /// The last offset before what is delivered from here on.
    pub offset: u64,
    /// What it may do there.
    pub role: Role,
    /// Whether all that it missed is in `replay`.
    pub recovered: bool,
    /// It is what this node knows, while the broker is out of reach.
    pub is_local: bool,
    /// What happens to slow readers.
    pub slow_consumer: SlowConsumer,
    /// What is not acknowledged is sent again.
    pub guaranteed: bool,
    /// Up to which offset it may have been sent before.
    pub redelivers: u64,
    /// What it asked for.
    pub interest: Interest,
    /// What it missed.
    pub replay: Vec<Arc<Publication>>,
    /// What it missed and cannot get.
    pub gap: Option<Loss>,
    /// What it is told where its outbox has no space for `replay`; none if that is empty.
    pub instead: Option<Box<Instead>>,
}

/// Said to a connection that nothing is sent of what it missed.
#[derive(Clone, Debug)]
pub struct Instead {
    /// The answer; empty if none is wanted.
    pub answer: Box<[u8]>,
    /// In the place of [`Joined::gap`].
    pub gap: Option<Loss>,
}

/// Publications that a connection does not get.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The `gap` that says so.
    pub frame: Box<[u8]>,
    /// Why.
    pub reason: GapReason,
    /// How many.
    pub count: u64,
}
