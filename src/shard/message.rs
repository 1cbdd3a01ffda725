//! What engines say to each other: hubs ask homes, homes answer and deliver, sessions move.
//!
//! Invariant: what one engine says to another arrives once and in order. So an answer to a join
//! stands before every delivery that the joined gets, and after every one that it does not.

use std::net::IpAddr;
use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, TenantId};
use crate::protocol::{Codec, GapReason, LeftReason, RequestId, Role, RoomPatch, SlowConsumer};
use crate::room::broker::{FromBroker, ToBroker};
use crate::room::home::{Guard, Heritage};
use crate::room::hub::{Delivery, Interest, Notice};
use crate::room::name::{RoomKey, RoomName};
use crate::room::pattern::Pattern;
use crate::room::publication::{Author, Form, Publication};
use crate::room::refusal::Refusal;

use super::ask::{PublishAsk, What};
use super::foreign::Foreign;
use super::identity::Identity;
use super::invitation::Invited;
use super::session::{SessionId, Snapshot};
use super::users::UserKey;
use super::watch::Watch;

/// A message from one core's engine to another's.
#[derive(Clone, Debug)]
pub enum CoreMessage {
    /// From hub to home: a command about a room.
    Ask(Box<Ask>),
    /// From home to hub: what came of it.
    Answer(Box<Answer>),
    /// From home to hub: a message for those who are in the room.
    Deliver(Delivery),
    /// From home to hub: who came and went.
    Presence(Arc<Notice>),
    /// From home to hub: messages that a connection has not acknowledged.
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
    /// From hub to home: a connection has taken in everything up to an offset.
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
    /// What a connection asked for made another core's engine panic: it is to end.
    Failed {
        /// Which connection.
        connection: ConnectionKey,
    },
    /// For the test suite: a message that an engine panics of.
    Fault {
        /// Who wants that.
        by: ConnectionAddress,
    },
    /// In place of deliveries that did not fit into the backlog between two cores.
    Overrun {
        /// Which room.
        room: RoomKey,
        /// Which life of it.
        epoch: Arc<str>,
        /// The first offset.
        from: u64,
        /// The last offset.
        to: u64,
        /// Who may hear of it through a pattern; none: everybody.
        guard: Option<Arc<Guard>>,
    },
    /// From hub to home: how many took a message.
    Receipt {
        /// Which room.
        room: RoomKey,
        /// The home's number.
        receipt: u64,
        /// Connections whose queue took it.
        delivered: u32,
        /// Connections it was for.
        total: u32,
    },
    /// From home to hub: a room is another from here on.
    Configured(Box<Configured>),
    /// From a room's home to a user's: the user may join.
    Invite {
        /// The user's reserved room.
        user: RoomKey,
        /// To what.
        invited: Arc<Invited>,
    },
    /// From a room's home to a user's: the user has joined, or may not any more.
    Uninvite {
        /// The user's reserved room.
        user: RoomKey,
        /// Which room.
        room: RoomName,
    },
    /// From a user's home to hub: the user may join a room.
    Invited {
        /// The user's reserved room.
        user: RoomKey,
        /// To what.
        invited: Arc<Invited>,
    },
    /// From hub to a user's home: a connection of the user was welcomed.
    Greet {
        /// The user's reserved room.
        user: RoomKey,
        /// Which.
        connection: ConnectionKey,
        /// How it is written to.
        codec: Codec,
    },
    /// From home to hub: a connection is no longer in a room.
    Expel(Box<Expel>),
    /// From hub to home: a connection is gone.
    Gone {
        /// Which room.
        room: RoomKey,
        /// Which connection.
        connection: ConnectionKey,
        /// The life of the room to which its session may come back.
        kept: Option<Arc<str>>,
    },
    /// From a session's home to a room's: the session will not come back.
    Forget {
        /// Which room.
        room: RoomKey,
        /// Which life of it.
        epoch: Arc<str>,
        /// Which session.
        session: SessionId,
    },
    /// From hub to home: a connection may not be in a room any more.
    Withdraw {
        /// Which room.
        room: RoomKey,
        /// Which connection.
        connection: ConnectionKey,
    },
    /// To every core: this one has carried out an edict.
    Carried {
        /// Which.
        number: u64,
    },
    /// To a user's home: one more connection wants in.
    Enter {
        /// Whose.
        user: UserKey,
        /// Which.
        connection: ConnectionKey,
        /// What it goes on with, or begins.
        session: Option<SessionId>,
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
    /// To a user's home: a connection is gone.
    Exit {
        /// Whose.
        user: UserKey,
        /// Which.
        connection: ConnectionKey,
    },
    /// An event for one connection.
    Notify {
        /// Whose.
        connection: ConnectionKey,
        /// In its codec; a whole frame.
        frame: Box<[u8]>,
    },
    /// To every core: this core does, or does no longer, receive a pattern.
    Pattern {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// How messages are written to those who receive it; none: nobody does any more.
        form: Option<Form>,
        /// To be told again when it holds.
        number: u64,
    },
    /// From every core: a pattern holds from here on.
    PatternHolds {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// As it was told.
        number: u64,
    },
    /// Of patterns that are received over nodes.
    Watch(Box<Watch>),
    /// From a room's home to that of one above: tell what it has, now and whenever that changes.
    Follow {
        /// The room above.
        parent: RoomKey,
        /// The room below.
        child: RoomKey,
        /// To be told again with each answer.
        number: u64,
    },
    /// From a room's home to that of one above: tell no more.
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
    /// From hub to home: this core has connections that are in a room by themselves.
    Attach {
        /// `@all`, `@user/…`.
        room: RoomKey,
        /// How they are written to; none: there are no more.
        form: Option<Form>,
    },
    /// A message for one connection.
    Direct(Box<Direct>),
    /// What became of one.
    Directed {
        /// Whose command it was.
        connection: ConnectionKey,
        /// Which.
        ticket: Ticket,
        /// Whether the connection was there and its queue took it; none: there is no such one.
        delivered: Option<bool>,
    },
    /// To a session's home: a connection asks to go on with it.
    Resume {
        /// Which.
        session: SessionId,
        /// Who asks.
        by: ConnectionAddress,
        /// As whom.
        identity: Arc<Identity>,
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
    /// To a session's home: the answer.
    Waiting {
        /// Which.
        session: SessionId,
        /// Who asked.
        connection: ConnectionKey,
        /// Whether it does.
        waits: bool,
    },
    /// From a session's home: another connection goes on with it.
    Takeover {
        /// The one that had it.
        connection: ConnectionKey,
        /// Which.
        session: SessionId,
    },
    /// From a room's home to the broker, where there is one.
    ToBroker(Box<ToBroker>),
    /// From the broker to a room's home.
    FromBroker(Box<FromBroker>),
    /// From the bridge to every core: a message of a backend that knows only `PUBLISH`.
    Foreign(Arc<Foreign>),
    /// From home to hub: a new life of a room has begun.
    Reborn(Reborn),
    /// To a session's home: its connection is gone.
    Detached {
        /// Which.
        session: SessionId,
        /// Which connection had it.
        connection: ConnectionKey,
        /// Rooms, positions, state.
        snapshot: Box<Snapshot>,
    },
}

/// Ties an answer to the command of a connection.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    /// What the client called it.
    pub id: Option<RequestId>,
    /// The batch it came in; 0: none.
    pub batch: u32,
    /// The `send` it is a part of; 0: none.
    pub send: u32,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// On the core that the message comes from.
    pub connection: ConnectionKey,
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

/// A room is another.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Which room.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// What happens to slow readers.
    pub slow_consumer: SlowConsumer,
    /// What is not acknowledged is sent again.
    pub guaranteed: bool,
    /// All of it, for those who are in the room.
    pub config: Arc<RoomPatch>,
}

/// A new life of a room has begun.
#[derive(Clone, Debug)]
pub struct Reborn {
    /// Which room.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// Its members here get nothing of it up to this offset.
    pub offset: u64,
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
    /// Its place among the connections of the core.
    pub index: u32,
    /// The part of its name that nobody can guess.
    pub secret: u64,
    /// The tenant that both must have.
    pub tenant: TenantId,
    /// Who sends it.
    pub author: Author,
    /// What.
    pub ask: PublishAsk,
    /// For the answer.
    pub ticket: Ticket,
}

impl CoreMessage {
    /// What it counts on the mesh: what is in memory because of it, until it is taken.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        let content = match self {
            Self::Ask(ask) => size_of::<Ask>() + ask.what.content_bytes(),
            Self::Answer(answer) => size_of::<Answer>() + answer.frame.len(),
            Self::Deliver(delivery) => delivery.publication.held_bytes(),
            Self::Direct(direct) => size_of::<Direct>() + direct.ask.content_bytes(),
            Self::Notify { frame, .. } => frame.len(),
            Self::ToBroker(message) => size_of::<ToBroker>() + message.content_bytes(),
            Self::Foreign(foreign) => size_of::<Foreign>() + foreign.content_bytes(),
            Self::FromBroker(message) => size_of::<FromBroker>() + message.content_bytes(),
            Self::Resumed { snapshot: Some(snapshot), .. } | Self::Detached { snapshot, .. } => {
                snapshot.content_bytes()
            }
            // Small, or what history and homes hold, too.
            _ => 0,
        };
        size_of::<Self>() + content
    }

    /// What stands for a delivery that does not fit into the backlog for a core: its place in the
    /// room's sequence, to be joined with that of the ones around it. None for what must arrive:
    /// everything but deliveries, and those that somebody counts.
    #[must_use]
    pub fn collapsed(&self) -> Option<Self> {
        match self {
            Self::Deliver(Delivery { publication, receipt: None, guard, .. }) => {
                let offset = publication.offset;
                let (room, epoch) = (publication.room.clone(), Arc::clone(&publication.epoch));
                let guard = guard.clone();
                Some(Self::Overrun { room, epoch, from: offset, to: offset, guard })
            }
            _ => None,
        }
    }

    /// Takes in a later message of the same room that has collapsed too; gives it back if it has
    /// not, or is of another room, or others may hear of it.
    ///
    /// # Errors
    /// The message that was not taken in.
    pub fn absorb(&mut self, later: Self) -> Result<(), Self> {
        match (self, later) {
            (
                Self::Overrun { room, epoch, from, to, guard },
                Self::Overrun { room: other, epoch: then, from: f, to: t, guard: now },
            ) if *room == other
                && *epoch == then
                && guard.as_ref().map(Arc::as_ptr) == now.as_ref().map(Arc::as_ptr) =>
            {
                // A transient message has no place, and nothing is said of it.
                if *from == 0 {
                    *from = f;
                }
                *to = t.max(*to);
                Ok(())
            }
            (_, later) => Err(later),
        }
    }
}
