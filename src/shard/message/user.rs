//! To a user's home: how many connections the user has, and what the user is invited to.

use std::sync::Arc;

use crate::id::{ConnectionKey, CoreId};
use crate::protocol::Codec;
use crate::room::invited::Invited;
use crate::room::name::{RoomKey, RoomName};
use crate::shard::Shard;
use crate::shard::session::SessionId;
use crate::shard::users::UserKey;

/// To a user's home: that of their connections, or of their reserved room.
#[derive(Clone, Debug)]
pub enum ToUser {
    /// One more connection wants in.
    Enter {
        /// Whose.
        user: UserKey,
        /// Which.
        connection: ConnectionKey,
        /// What it goes on with, or begins.
        session: Option<SessionId>,
    },
    /// A connection is gone.
    Exit {
        /// Whose.
        user: UserKey,
        /// Which.
        connection: ConnectionKey,
    },
    /// A connection of the user was welcomed.
    Greet {
        /// The user's reserved room.
        user: RoomKey,
        /// Which.
        connection: ConnectionKey,
        /// How it is written to.
        codec: Codec,
    },
    /// From a room's home: the user may join.
    Invite {
        /// The user's reserved room.
        user: RoomKey,
        /// To what.
        invited: Arc<Invited>,
    },
    /// From a room's home: the user has joined, or may not any more.
    Uninvite {
        /// The user's reserved room.
        user: RoomKey,
        /// Which room.
        room: RoomName,
    },
}

impl Shard {
    /// Something for the home of a user.
    pub(super) fn on_user(&mut self, from: CoreId, message: ToUser) {
        match message {
            ToUser::Enter { user, connection, session } => {
                self.on_enter(from, &user, connection, session);
            }
            ToUser::Exit { user, connection } => self.on_exit(from, &user, connection),
            ToUser::Greet { user, connection, codec } => {
                self.on_greet(from, &user, connection, codec);
            }
            ToUser::Invite { user, invited } => self.on_invite(&user, &invited),
            ToUser::Uninvite { user, room } => self.on_uninvite(&user, &room),
        }
    }
}
