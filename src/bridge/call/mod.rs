//! What is asked of Redis: each kind of call is one file here, with its command, how its answer is
//! read, and what happens when it fails.
//!
//! Invariant: of each call that was taken, either [`Call::succeed`] or [`Call::fail`] is called, once;
//! but for one that needs a room listened to, and whose link has ended with what listened to it: that room
//! is opened anew.

mod agree;
mod beat;
mod bookmark;
pub(super) mod decide;
pub(super) mod direct;
mod echo;
mod end;
mod enter;
mod forget;
mod invite;
mod look;
mod motion;
mod open;
mod pass;
mod patterns;
mod publish;
mod recall;
mod say;
pub(super) mod session;

use redis::{Cmd, Value};

use crate::id::CoreId;
use crate::room::attendance::AttendanceAsk;
use crate::room::broker::{Fault, ToBroker};
use crate::room::name::RoomKey;

use super::desk::Desk;
use super::map;

use self::enter::Enter;
use self::forget::Forget;
use self::invite::{Greet, Invite};
use self::look::Look;
use self::say::Say;
use self::{motion::Motion, open::Open, pass::Pass, publish::Publish, recall::Recall};

pub(super) use agree::{Agree, Forms};
pub(super) use beat::Beat;
pub(super) use echo::Awaited;
pub(super) use end::End;
pub(super) use enter::{Tell, displaced};

/// One command, and what comes of it.
pub(super) trait Call: std::fmt::Debug {
    /// What of a client it holds in memory.
    fn bytes(&self) -> usize {
        0
    }

    /// Under which bound it waits.
    fn lane(&self) -> Lane {
        Lane::Upkeep
    }

    /// The room that has to be listened to before this is asked, and its home here. Such a call is
    /// made again by itself once the link has ended by which the room was listened to, so what that link
    /// says to it is not heard.
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        None
    }

    /// Whether its answer is how that room is, and what its home has missed.
    fn opens(&self) -> bool {
        false
    }

    /// Where it belongs in a cluster: the slot of its keys.
    fn slot(&self, desk: &Desk) -> u16 {
        map::slot_of(&self.command(desk))
    }

    /// How many replicas are to have what it writes before it is answered.
    fn replicas(&self) -> u8 {
        0
    }

    /// The command. It may be asked for more than once, where Redis did nothing the first time.
    fn command(&self, desk: &Desk) -> Cmd;

    /// Redis has answered, and not with an error.
    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk);

    /// It was not done, or it is not known whether it was: see [`Fault`].
    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk);
}

/// What waits for Redis is bounded by itself in each of these, so that much of one kind does not keep
/// out the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// What clients publish: bounded in number and bytes.
    Publishes,
    /// What keeps this node in step with others: bounded in number.
    Upkeep,
}

/// The call that a core's message is; none if it asks nothing of Redis.
pub(super) fn of(from: CoreId, message: ToBroker) -> Option<Box<dyn Call>> {
    Some(match message {
        ToBroker::Close { .. } | ToBroker::Hold { .. } => return None,
        ToBroker::Open { room, seen, all, .. } => Box::new(Open::new(from, room, seen, all)),
        ToBroker::Publish(publish) => Box::new(Publish::new(from, publish)),
        ToBroker::Attend { room, ask: AttendanceAsk::Look(known) } => {
            Box::new(Look { from, room, known })
        }
        ToBroker::Attend { room, ask: AttendanceAsk::Say { anonymous, users } } => {
            Box::new(Say { from, room, anonymous, users })
        }
        ToBroker::Attend { room, ask: AttendanceAsk::Forget { node, life } } => {
            Box::new(Forget { from, room, node, life })
        }
        ToBroker::Bookmarks { room, ask } => bookmark::of(from, room, ask),
        ToBroker::Recall { room, known } => Box::new(Recall { from, room, known }),
        ToBroker::Move { room, motion } => Box::new(Motion { from, room, motion }),
        ToBroker::Entrance { place, ask } => Box::new(Enter::new(from, place, ask)),
        ToBroker::Pass { room, wire } => Box::new(Pass { room, wire }),
        ToBroker::Invite { user, invited } => Box::new(Invite { user, invited }),
        ToBroker::Greet { user, connection } => Box::new(Greet { from, user, connection }),
        ToBroker::Direct(ask) => direct::of(from, ask),
        ToBroker::Session(message) => session::of(from, message),
        ToBroker::Patterns(ask) => patterns::of(from, ask),
    })
}
