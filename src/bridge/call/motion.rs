//! A home asks that something be decided about its room.

use redis::{Cmd, Value};

use crate::bridge::answer::{mark, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::id::CoreId;
use crate::room::broker::{Fault, FromBroker};
use crate::room::charter::{self, Vote, wire};
use crate::room::name::RoomKey;

use super::Call;

/// What is to be decided.
#[derive(Debug)]
pub(in crate::bridge) struct Motion {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) motion: Box<charter::Motion>,
}

impl Motion {
    fn answer(self, outcome: Result<Vote, Fault>, desk: &mut Desk) {
        let Self { from, room, motion } = self;
        desk.post(from, FromBroker::Voted { room, ticket: motion.ticket, outcome });
    }
}

impl Call for Motion {
    fn bytes(&self) -> usize {
        size_of_val(&*self.motion.entries)
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [names.charter(), names.channel(), names.state(), names.history()];
        let charter::Motion { known, manner, entries, decided, is_persistent, .. } = &*self.motion;
        let mut command = desk.scripts.call(Name::Amend, &keys);
        command.arg(format!("{} {}", known.life, known.number));
        command.arg(script::fresh(&desk.chance().to_be_bytes()));
        let ttl_ms = desk.config.redis.room_ttl_ms;
        command.arg(if *is_persistent { 0 } else { ttl_ms }).arg(*manner as u8);
        command.arg(wire::write(*manner, entries, decided));
        for entry in entries {
            let (field, value) = wire::field(entry);
            command.arg(field).arg(value.unwrap_or_default());
        }
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let outcome = match &answer {
            Value::Int(_) => Ok(Vote::Outdated),
            answer => text(answer).and_then(mark).map(Vote::Carried).ok_or(Fault::Other),
        };
        self.answer(outcome, desk);
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        self.answer(Err(fault), desk);
    }
}
