//! To one connection of a core, or to the core about it.

use std::sync::Arc;

use crate::id::{ConnectionKey, ConnectionName, CoreId, TenantId};
use crate::protocol::{CloseReason, LeftReason};
use crate::room::name::RoomKey;
use crate::room::publication::{Author, Publication};
use crate::shard::Shard;
use crate::shard::ask::PublishAsk;
use crate::shard::command::no_such_connection;
use crate::shard::session::{SessionId, Snapshot};

use super::{Answer, Ticket};

/// To one connection.
#[derive(Clone, Debug)]
pub enum ToConnection {
    /// From a room's home: what came of a command.
    Answer(Box<Answer>),
    /// From a room's home: messages that a connection has not acknowledged.
    Redeliver {
        /// Of which room.
        room: RoomKey,
        /// Whose.
        connection: ConnectionKey,
        /// The first and the last that the room has no more.
        lost: Option<(u64, u64)>,
        /// Which, in order.
        publications: Vec<Arc<Publication>>,
    },
    /// From a room's home: the connection is no longer in a room.
    Expel(Box<Expel>),
    /// An event for one connection.
    Notify {
        /// Whose.
        connection: ConnectionKey,
        /// In its codec; a whole frame.
        frame: Box<[u8]>,
    },
    /// A message for one connection.
    Direct(Box<Direct>),
    /// What became of one.
    Directed {
        /// Whose command it was.
        connection: ConnectionKey,
        /// Which.
        ticket: Ticket,
        /// Whether the connection's queue took it; none: there is no such connection.
        delivered: Option<bool>,
    },
    /// From a user's home: whether a connection is in.
    Entered {
        /// Which.
        connection: ConnectionKey,
        /// Whether.
        is_in: bool,
    },
    /// From a user's home: a newer connection has taken this one's place.
    Displaced {
        /// Which.
        connection: ConnectionKey,
    },
    /// From a session's home: what it held, if it may be resumed.
    Resumed {
        /// Who asked.
        connection: ConnectionKey,
        /// Which.
        session: SessionId,
        /// Rooms, positions, state.
        snapshot: Option<Box<Snapshot>>,
    },
    /// From a session's home, where another connection has it: does this one still wait for it?
    Waits {
        /// Who asked.
        connection: ConnectionKey,
        /// Which.
        session: SessionId,
    },
    /// From a session's home: another connection goes on with it.
    Takeover {
        /// The one that had it.
        connection: ConnectionKey,
        /// Which.
        session: SessionId,
    },
    /// What a connection asked for made another core's engine panic: it is to end.
    Failed {
        /// Which connection.
        connection: ConnectionKey,
    },
}

/// A connection is no longer in a room.
#[derive(Clone, Debug)]
pub struct Expel {
    /// Which room.
    pub room: RoomKey,
    /// Which connection.
    pub connection: ConnectionKey,
    /// Why.
    pub reason: LeftReason,
    /// Who did it.
    pub by: Option<Arc<str>>,
}

/// A message for one connection.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Which.
    pub to: ConnectionName,
    /// The tenant that both must have.
    pub tenant: TenantId,
    /// Who sends it.
    pub author: Author,
    /// What.
    pub ask: PublishAsk,
    /// For the answer.
    pub ticket: Ticket,
}

impl ToConnection {
    /// What is in memory because of it, besides itself.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Answer(answer) => size_of::<Answer>() + answer.frame.len(),
            Self::Notify { frame, .. } => frame.len(),
            Self::Direct(direct) => size_of::<Direct>() + direct.ask.content_bytes(),
            Self::Resumed { snapshot: Some(snapshot), .. } => snapshot.content_bytes(),
            // Small, or what history and homes hold, too.
            _ => 0,
        }
    }
}

impl Shard {
    /// Something for a connection here, or about it.
    pub(super) fn on_connection(&mut self, from: CoreId, message: ToConnection) {
        match message {
            ToConnection::Answer(answer) => self.on_answer(*answer),
            ToConnection::Redeliver { room, connection, lost, publications } => {
                self.on_redeliver(&room, connection, lost, &publications);
            }
            ToConnection::Expel(expel) => self.on_expel(&expel),
            ToConnection::Notify { connection, frame } => self.tell(connection, &frame),
            ToConnection::Direct(direct) => self.on_direct(*direct),
            ToConnection::Directed { connection, ticket, delivered } => {
                self.on_directed(connection, &ticket, delivered.ok_or_else(no_such_connection));
            }
            ToConnection::Entered { connection, is_in } => self.on_entered(connection, is_in),
            ToConnection::Displaced { connection } => self.on_displaced(connection),
            ToConnection::Resumed { connection, session, snapshot } => {
                self.on_resumed(connection, session, snapshot);
            }
            ToConnection::Waits { connection, session } => {
                self.on_waits(from, connection, session);
            }
            ToConnection::Takeover { connection, session } => self.on_takeover(connection, session),
            ToConnection::Failed { connection } => self.close(connection, CloseReason::Internal),
        }
    }
}
