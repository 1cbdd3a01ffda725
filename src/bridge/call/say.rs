//! A home says who of this node is in its room.

use redis::{Cmd, Value};

use crate::bridge::answer::{self, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::id::CoreId;
use crate::room::attendance::{Said, wire};
use crate::room::broker::{Fault, FromBroker};
use crate::room::name::RoomKey;

use super::Call;

/// What it says.
#[derive(Debug)]
pub(in crate::bridge) struct Say {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) anonymous: u32,
    pub(super) users: Vec<Said>,
}

impl Call for Say {
    /// The home says it again over every new link.
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        Some((&self.room, self.from))
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [names.attendance(), names.channel()];
        let mut command = desk.scripts.call(Name::Say, &keys);
        command.arg(&desk.node).arg(desk.nodes.link());
        command.arg(script::fresh(&desk.chance().to_be_bytes()));
        command.arg(desk.config.redis.room_ttl_ms).arg(self.anonymous);
        command.arg(wire::write(self.anonymous, &self.users));
        for said in &self.users {
            command.arg(&*said.user);
            match said.connections {
                Some(count) => command.arg(count),
                None => command.arg(""),
            };
            command.arg(u8::from(said.has_said)).arg(wire::write_info(said.info.as_ref()));
        }
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let outcome = text(&answer).and_then(answer::mark).ok_or(Fault::Other);
        desk.post(self.from, FromBroker::Said { room: self.room, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Said { room: self.room, outcome: Err(fault) });
    }
}
