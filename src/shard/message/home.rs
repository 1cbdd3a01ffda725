//! To a room's home: what the connections of other cores ask of it, and what it is to know of them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::room::broker::Beginning;
use crate::room::home::Heritage;
use crate::room::name::RoomKey;
use crate::room::publication::Form;
use crate::shard::Shard;
use crate::shard::ask::What;
use crate::shard::identity::Identity;
use crate::shard::session::SessionId;

use super::Ticket;

/// To a room's home, from a hub where nothing else is said.
#[derive(Clone, Debug)]
pub enum ToHome {
    /// A command about a room.
    Ask(Box<Ask>),
    /// A connection has taken in everything up to an offset.
    Ack {
        /// Which room.
        room: RoomKey,
        /// Which life of it.
        epoch: Arc<str>,
        /// Which connection.
        connection: ConnectionKey,
        /// Up to where.
        offset: u64,
    },
    /// Nothing of what a connection was to be sent again is for it, and what follows may be.
    Withheld {
        /// Which room.
        room: RoomKey,
        /// Which life of it.
        epoch: Arc<str>,
        /// Which connection.
        connection: ConnectionKey,
        /// The last that was looked at.
        offset: u64,
    },
    /// A connection is gone.
    Gone {
        /// Which room.
        room: RoomKey,
        /// Which connection.
        connection: ConnectionKey,
        /// The life of the room to which its session may come back.
        kept: Option<Arc<str>>,
    },
    /// A connection may not be in a room any more.
    Withdraw {
        /// Which room.
        room: RoomKey,
        /// Which connection.
        connection: ConnectionKey,
    },
    /// From a session's home: the session will not come back.
    Forget {
        /// Which room.
        room: RoomKey,
        /// In which life of it the session was, if the room is kept for it here.
        kept: Option<Arc<str>>,
        /// Which session.
        session: SessionId,
    },
    /// From core 0: another node publishes there, and it is received here by patterns.
    Called {
        /// Which room.
        room: RoomKey,
        /// Where it was; none: that is not known.
        place: Option<Beginning>,
        /// What is behind that is wanted; else only what comes from here on.
        is_new: bool,
    },
    /// The core has connections that are in a room by themselves.
    Attach {
        /// `@all`, `@user/…`.
        room: RoomKey,
        /// How they are written to; none: there are no more.
        form: Option<Form>,
    },
    /// How many took a message on the core.
    Receipt {
        /// The home's number.
        receipt: u64,
        /// Connections whose queue took it.
        delivered: u32,
        /// Connections it was for.
        total: u32,
    },
    /// From the home of a room below: tell what this one has, now and whenever that changes.
    Follow {
        /// The room above.
        parent: RoomKey,
        /// The room below.
        child: RoomKey,
        /// To be told again with each answer.
        number: u64,
    },
    /// From the home of a room below: tell no more.
    Unfollow {
        /// The room above.
        parent: RoomKey,
        /// The room below.
        child: RoomKey,
    },
    /// From the home of a room above: what the ones below have from it.
    Heritage {
        /// The room below.
        child: RoomKey,
        /// The room above.
        parent: RoomKey,
        /// As it was asked for.
        number: u64,
        /// None: there is no such room.
        heritage: Option<Arc<Heritage>>,
    },
}

/// A command about a room.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which room.
    pub room: RoomKey,
    /// Who asks.
    pub asker: Asker,
    /// For the answer.
    pub ticket: Ticket,
    /// What is asked.
    pub what: What,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The connection.
    pub address: ConnectionAddress,
    /// The connection's name.
    pub name: Arc<str>,
    /// Who that is, and what they may.
    pub identity: Arc<Identity>,
    /// How it is written to.
    pub form: Form,
    /// Where it comes from.
    pub ip: Option<IpAddr>,
    /// The session it has, by which an anonymous one is known.
    pub session: Option<SessionId>,
}

impl ToHome {
    /// The room, if it takes effect there in the order of the room's commands.
    pub(in crate::shard) fn commanded_room(&self) -> Option<&RoomKey> {
        match self {
            Self::Ask(ask) => Some(&ask.room),
            Self::Ack { room, .. }
            | Self::Withheld { room, .. }
            | Self::Gone { room, .. }
            | Self::Withdraw { room, .. }
            | Self::Forget { room, .. }
            | Self::Called { room, .. } => Some(room),
            Self::Attach { .. }
            | Self::Receipt { .. }
            | Self::Follow { .. }
            | Self::Unfollow { .. }
            | Self::Heritage { .. } => None,
        }
    }

    /// What is in memory because of it, besides itself.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Ask(ask) => size_of::<Ask>() + ask.what.content_bytes(),
            // Small, or what homes hold, too.
            _ => 0,
        }
    }
}

impl Shard {
    /// Something for the home of a room, unless it is to wait there.
    pub(super) fn on_home(&mut self, from: CoreId, message: ToHome) {
        let Some(message) = self.hold_back(from, message) else { return };
        match message {
            ToHome::Ask(ask) => self.on_ask(*ask),
            ToHome::Ack { room, epoch, connection, offset } => {
                self.on_ack(from, &room, &epoch, connection, offset);
            }
            ToHome::Withheld { room, epoch, connection, offset } => {
                self.on_withheld(from, &room, &epoch, connection, offset);
            }
            ToHome::Gone { room, connection, kept } => {
                self.on_gone(from, &room, connection, kept.as_deref());
            }
            ToHome::Withdraw { room, connection } => self.on_withdraw(from, &room, connection),
            ToHome::Forget { room, kept, session } => {
                self.on_forget(&room, kept.as_deref(), session);
            }
            ToHome::Called { room, .. } => self.on_called(&room),
            ToHome::Attach { room, form } => self.on_attach(from, &room, form),
            ToHome::Receipt { receipt, delivered, total } => {
                self.on_receipt(receipt, delivered, total);
            }
            ToHome::Follow { parent, child, number } => self.on_follow(&parent, child, number),
            ToHome::Unfollow { parent, child } => self.on_unfollow(&parent, &child),
            ToHome::Heritage { child, parent, number, heritage } => {
                self.on_heritage(&child, &parent, number, heritage);
            }
        }
    }

    /// Keeps back what is for a room of which something is to be known first.
    fn hold_back(&mut self, from: CoreId, message: ToHome) -> Option<ToHome> {
        let message = self.heed(message)?;
        let message = self.defer(from, message)?;
        self.await_broker(from, message)
    }
}
