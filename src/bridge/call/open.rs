//! A home asks how its room is, and what it has not seen of it, which is read a page at a time.
//!
//! Invariants: what is told is how the room was at the first page; what follows was kept before that. Only
//! the first page may find that what was seen is lost: what a later one does not find was trimmed meanwhile.

use std::sync::Arc;

use redis::{Cmd, Value};

use crate::bridge::answer::{bytes, number, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::id::CoreId;
use crate::room::broker::{Fault, FromBroker, Life, Seen, Stamp};
use crate::room::name::RoomKey;

use super::Call;
use super::bookmark::kept_ms;

/// Publications that a room is opened with at most.
const OPEN_MAX: usize = 10_000;
/// Bytes of them, but for the last page.
const OPEN_BYTES_MAX: usize = 64 << 20;
/// Bytes after which a page ends: Redis does nothing else while it reads one.
const PAGE_BYTES: usize = 256 << 10;

/// The opening of a room.
#[derive(Debug)]
pub(in crate::bridge) struct Open {
    from: CoreId,
    room: RoomKey,
    /// What the home has seen; once a page was read, how far it has seen the life that this told of.
    seen: Option<Seen>,
    /// What it has seen, too.
    all: bool,
    /// What was read, the newest first.
    read: Option<Life>,
}

/// What one call has read.
struct Page {
    life: Life,
    /// There may be more.
    is_more: bool,
}

impl Open {
    pub(super) fn new(from: CoreId, room: RoomKey, seen: Option<Seen>, all: bool) -> Self {
        Self { from, room, seen, all, read: None }
    }

    /// How much more may be read.
    fn wanted(&self) -> (usize, usize) {
        let entries = self.read.iter().flat_map(|life| &life.entries);
        let (count, bytes) =
            entries.fold((0, 0), |(count, bytes), (_, wire)| (count + 1, bytes + wire.len()));
        (OPEN_MAX.saturating_sub(count), OPEN_BYTES_MAX.saturating_sub(bytes))
    }

    /// Takes in a page. Whether the next one is to be read.
    fn turn(&mut self, page: Page) -> bool {
        let Page { life, is_more } = page;
        match &mut self.read {
            None => {
                let seen = self.seen.take().filter(|seen| seen.epoch == life.epoch);
                let (epoch, offset) = (Arc::clone(&life.epoch), seen.map_or(0, |seen| seen.offset));
                self.seen = Some(Seen { epoch, offset, stamp: None });
                self.read = Some(life);
            }
            Some(read) if read.epoch == life.epoch => read.entries.extend(life.entries),
            // The room has begun anew, and there is no more of this life.
            Some(_) => return false,
        }
        let (count, bytes) = self.wanted();
        is_more && count > 0 && bytes > 0
    }
}

impl Call for Open {
    fn room_to_hear(&self) -> Option<(&RoomKey, CoreId)> {
        Some((&self.room, self.from))
    }

    /// What comes after its first page is not told by a later one.
    fn opens(&self) -> bool {
        self.read.is_none()
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.room)
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let names = desk.names(&self.room);
        let keys = [names.state(), names.history(), names.channel(), names.bookmarks()];
        let mut command = desk.scripts.call(Name::Open, &keys);
        script::add_seen(&mut command, self.seen.as_ref());
        let stamp = self.seen.as_ref().and_then(|seen| seen.stamp).map(Stamp::to_bytes);
        // What a new epoch would be told apart by.
        command.arg(script::fresh(&desk.chance().to_be_bytes()));
        command.arg(stamp.as_ref().map_or(&[][..], |stamp| &stamp[..]));
        command.arg(u8::from(desk.watch.is_doubtful(&self.room)));
        let last = self.read.as_ref().and_then(|life| life.entries.last());
        let last = last.map_or_else(|| "+".to_owned(), |(offset, _)| (offset - 1).to_string());
        let (count, bytes) = self.wanted();
        command.arg(u8::from(self.all)).arg(count).arg(bytes.min(PAGE_BYTES)).arg(last);
        command.arg(desk.config.redis.room_ttl_ms).arg(kept_ms(desk));
        command
    }

    fn succeed(mut self: Box<Self>, answer: Value, desk: &mut Desk) {
        // Doubt ends with the first page, whatever becomes of the others: those look for nothing.
        if self.read.is_none() {
            desk.watch.opened(&self.room);
        }
        match page(answer, self.all).map(|page| self.turn(page)) {
            Some(true) => return desk.ask_next(self),
            Some(false) => {}
            None => self.read = None,
        }
        let outcome = self.read.ok_or(Fault::Other).map(|mut life| {
            life.entries.reverse();
            life
        });
        desk.post(self.from, FromBroker::Opened { room: self.room, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.post(self.from, FromBroker::Opened { room: self.room, outcome: Err(fault) });
    }
}

/// What `open.lua` said; none if it says no such thing.
fn page(value: Value, is_whole: bool) -> Option<Page> {
    let Value::Array(items) = value else { return None };
    let [epoch, offset, stamp, entries, is_more]: [Value; 5] = items.try_into().ok()?;
    let Value::Array(entries) = entries else { return None };
    let life = Life {
        epoch: text(&epoch)?.into(),
        offset: number(&offset)?,
        stamp: Stamp::from_bytes(bytes(&stamp)?),
        is_whole,
        entries: entries.into_iter().map(entry).collect::<Option<_>>()?,
    };
    Some(Page { life, is_more: number(&is_more)? == 1 })
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
