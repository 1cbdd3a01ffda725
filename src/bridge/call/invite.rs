//! Invitations, which the nodes hear of where their user is, and which are looked up for those who come
//! later.
//!
//! What is noted with a user only says in which rooms to look: whether an invitation holds is known by what
//! has been decided about its room.

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::Name;
use crate::id::{ConnectionKey, CoreId};
use crate::room::broker::{Fault, FromBroker};
use crate::room::charter::{Entry, wire};
use crate::room::invited::Invited;
use crate::room::name::{RoomKey, RoomKind};

use super::Call;

/// Invitations that are noted of a user.
const PER_USER_MAX: usize = 100;

/// A user is invited.
#[derive(Debug)]
pub(super) struct Invite {
    /// The user's reserved room.
    pub(super) user: RoomKey,
    pub(super) invited: Box<Invited>,
}

/// A connection of a user has come: what are they invited to?
#[derive(Debug)]
pub(super) struct Greet {
    pub(super) from: CoreId,
    /// The user's reserved room.
    pub(super) user: RoomKey,
    pub(super) connection: ConnectionKey,
}

/// Whether they still are.
#[derive(Debug)]
struct Check {
    greet: Greet,
    invited: Box<Invited>,
}

/// They are not.
#[derive(Debug)]
struct Withdraw {
    user: RoomKey,
    invited: Box<Invited>,
}

impl Call for Invite {
    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.user);
        let keys = [names.invitations(), names.channel()];
        let mut command = desk.scripts.call(Name::Invite, &keys);
        command.arg(self.invited.room.as_str()).arg(self.invited.write());
        command.arg(PER_USER_MAX).arg(desk.config.redis.room_ttl_ms);
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    /// They may join, and are not told.
    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
    }
}

impl Call for Greet {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("HGETALL");
        command.arg(desk.names(&self.user).invitations());
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        for wire in values(&answer) {
            let Some(invited) = Invited::read(wire).map(Box::new) else { continue };
            let Self { from, ref user, connection } = *self;
            let greet = Self { from, user: user.clone(), connection };
            desk.ask_next(Box::new(Check { greet, invited }));
        }
    }

    /// They may join, and are told when they come again.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

impl Check {
    fn room(&self) -> RoomKey {
        RoomKey::new(self.greet.user.tenant, self.invited.room.clone())
    }

    fn field(&self) -> Option<String> {
        let RoomKind::User(user) = self.greet.user.name.kind() else { return None };
        Some(wire::field(&Entry::Invited(user.into(), None)).0)
    }
}

impl Call for Check {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("HGET");
        command.arg(desk.names(&self.room()).charter()).arg(self.field().unwrap_or_default());
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let entry =
            self.field().zip(text(&answer)).and_then(|(field, it)| wire::entry(&field, Some(it)));
        let Self { greet: Greet { from, user, connection }, mut invited } = *self;
        match entry {
            Some(Entry::Invited(_, Some((_, until)))) => {
                invited.until = until;
                desk.post(from, FromBroker::Invited { connection, invited });
            }
            _ => desk.ask_next(Box::new(Withdraw { user, invited })),
        }
    }

    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

impl Call for Withdraw {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = redis::cmd("HDEL");
        command.arg(desk.names(&self.user).invitations()).arg(self.invited.room.as_str());
        command
    }

    fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}

    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

/// The values of a hash, as one connection or another shows it.
fn values(answer: &Value) -> Vec<&[u8]> {
    match answer {
        Value::Array(items) => items.chunks_exact(2).filter_map(|pair| bytes(&pair[1])).collect(),
        Value::Map(pairs) => pairs.iter().filter_map(|(_, value)| bytes(value)).collect(),
        _ => Vec::new(),
    }
}
