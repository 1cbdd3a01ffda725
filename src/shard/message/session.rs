//! To a session's home: who has it, and who wants it.

use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::shard::Shard;
use crate::shard::identity::Identity;
use crate::shard::session::{SessionId, Snapshot};

/// To a session's home.
#[derive(Clone, Debug)]
pub enum ToSession {
    /// A connection asks to go on with it.
    Resume {
        /// Which.
        session: SessionId,
        /// Who asks.
        by: ConnectionAddress,
        /// As whom.
        identity: Arc<Identity>,
    },
    /// Whether a connection still waits for it, as it was asked.
    Waiting {
        /// Which.
        session: SessionId,
        /// Who asked.
        connection: ConnectionKey,
        /// Whether it does.
        waits: bool,
    },
    /// Its connection is gone.
    Detached {
        /// Which.
        session: SessionId,
        /// Which connection had it.
        connection: ConnectionKey,
        /// Rooms, positions, state.
        snapshot: Box<Snapshot>,
    },
}

impl ToSession {
    /// What is in memory because of it, besides itself.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Detached { snapshot, .. } => snapshot.content_bytes(),
            Self::Resume { .. } | Self::Waiting { .. } => 0,
        }
    }
}

impl Shard {
    /// Something for the home of a session.
    pub(super) fn on_session(&mut self, from: CoreId, message: ToSession) {
        let at = |key| ConnectionAddress { core: from, key };
        match message {
            ToSession::Resume { session, by, identity } => self.on_resume(session, by, &identity),
            ToSession::Waiting { session, connection, waits } => {
                self.on_waiting(session, at(connection), waits);
            }
            ToSession::Detached { session, connection, snapshot } => {
                self.on_detached(session, at(connection), snapshot);
            }
        }
    }
}
