//! A home asks how its room is, and what it has not seen of it.

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, number, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::id::CoreId;
use crate::room::broker::{Fault, FromBroker, Keep, Life, Seen, Stamp};
use crate::room::name::RoomKey;

use super::Call;
use super::bookmark::kept_ms;

/// Publications that a room is opened with at most.
const OPEN_MAX: u32 = 10_000;

/// The opening of a room.
#[derive(Debug)]
pub(in crate::bridge) struct Open {
    pub(super) from: CoreId,
    pub(super) room: RoomKey,
    pub(super) seen: Option<Seen>,
    pub(super) keep: Keep,
}

impl Call for Open {
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        Some((&self.room, self.from))
    }

    fn opens(&self) -> bool {
        true
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.keys.room(&self.room);
        let keys = [names.state(), names.history(), names.channel(), names.bookmarks()];
        let mut command = desk.scripts.call(Name::Open, &keys);
        script::add_seen(&mut command, self.seen.as_ref());
        let stamp = self.seen.as_ref().and_then(|seen| seen.stamp).map(Stamp::to_bytes);
        // What a new epoch would be told apart by.
        command.arg(script::fresh(&desk.chance().to_be_bytes()));
        command.arg(stamp.as_ref().map_or(&[][..], |stamp| &stamp[..]));
        command.arg(u8::from(desk.watch.is_doubtful(&self.room)));
        command.arg(self.keep.size.min(OPEN_MAX)).arg(desk.config.redis.room_ttl_ms);
        command.arg(kept_ms(desk));
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let outcome = life(answer).ok_or(Fault::Other);
        desk.watch.opened(&self.room);
        desk.post(self.from, FromBroker::Opened { room: self.room, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Opened { room: self.room, outcome: Err(fault) });
    }
}

/// What `open.lua` said; none if it says no such thing.
fn life(value: Value) -> Option<Life> {
    let Value::Array(items) = value else { return None };
    let [epoch, offset, stamp, entries]: [Value; 4] = items.try_into().ok()?;
    let Value::Array(entries) = entries else { return None };
    let mut read = entries.into_iter().map(entry).collect::<Option<Vec<_>>>()?;
    read.reverse();
    Some(Life {
        epoch: text(&epoch)?.into(),
        offset: number(&offset)?,
        stamp: Stamp::from_bytes(bytes(&stamp)?),
        entries: read,
    })
}

/// `[ID, [FIELD, PUBLICATION]]`
fn entry(value: Value) -> Option<(u64, Box<[u8]>)> {
    let Value::Array(parts) = value else { return None };
    let [id, fields]: [Value; 2] = parts.try_into().ok()?;
    let Value::Array(mut fields) = fields else { return None };
    let offset = text(&id)?.split('-').next()?.parse().ok()?;
    match (fields.pop()?, fields.len()) {
        (Value::BulkString(wire), 1) => Some((offset, wire.into_boxed_slice())),
        _ => None,
    }
}
