//! What a core holds of what it receives and nobody can use yet: of each connection the part of a message
//! that has come, and what was read and waits until the engine wants more, or until a credential is judged;
//! and the larger buffers of those that send often.
//!
//! Who ends when that is more than it may be: not who comes last, or else those who fill it and stay
//! would keep everybody out for ever. All that is kept is in classes by its size, each twice as large as
//! the one below; of the class that takes most together, whoever has been at it for longest is sent
//! away. So who sits on part of a message, or does not read what it has asked for, makes room for who moves;
//! small messages do not pay for large ones; and against those who send a part again and again a message has
//! as long as it takes them to fill all anew, which is a matter of how much the line carries. Whoever is alone
//! is never sent away: what one may hold is bounded by the limits of a message, and by what is read at once.
//!
//! Invariants: what counts is what is held, also after a panic: what is kept lies here and counts by lying
//! here, a lease by living; after each read there is no more than the core's share, or than what one holds;
//! a message that comes whole in one read, and is wanted, has nothing to do with it; readers' buffers never
//! take more than a quarter, so that none who goes silent in possession of one keeps messages out.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use slab::Slab;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::shard::Input;
use crate::ws::MessageKind;
use crate::ws::decoder::Unfinished;

use super::connection::Connection;
use super::core::State;
use super::intake::UNAVAILABLE;

/// One for each power of two.
const CLASSES: usize = u64::BITS as usize;

/// What a core may hold, and what it holds.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) budget_bytes: u64,
    kept_bytes: Cell<u64>,
    /// What buffers have beyond what each has in any case.
    buffer_bytes: Cell<u64>,
}

impl Tally {
    /// The share of one of so many cores.
    pub(super) fn of_core(total_bytes: u64, cores: u16) -> Rc<Self> {
        Rc::new(Self {
            budget_bytes: total_bytes / u64::from(cores.max(1)),
            kept_bytes: Cell::default(),
            buffer_bytes: Cell::default(),
        })
    }

    /// What is held, in all.
    fn held_bytes(&self) -> u64 {
        self.kept_bytes.get() + self.buffer_bytes.get()
    }

    /// Whether less than an eighth is left, `more` taken: messages need that more than buffers do.
    fn is_tight(&self, more: u64) -> bool {
        self.held_bytes() + more > self.budget_bytes - self.budget_bytes / 8
    }
}

/// What the buffer of a reader that reads often has beyond its least size.
#[derive(Debug)]
pub(super) struct Lease {
    tally: Rc<Tally>,
    bytes: u64,
}

impl Lease {
    /// Nothing yet.
    pub(super) fn new(tally: &Rc<Tally>) -> Self {
        Self { tally: Rc::clone(tally), bytes: 0 }
    }

    /// Takes more, so that it is `bytes`; `false`: there is not so much.
    pub(super) fn extend(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        let buffers = self.tally.buffer_bytes.get() + more;
        if buffers > self.tally.budget_bytes / 4 || self.tally.is_tight(more) {
            return false;
        }
        self.tally.buffer_bytes.set(buffers);
        self.bytes += more;
        true
    }

    /// Whether others need what this has.
    pub(super) fn is_wanted_back(&self) -> bool {
        self.bytes > 0 && self.tally.is_tight(0)
    }

    pub(super) fn give_back(&mut self) {
        self.tally.buffer_bytes.set(self.tally.buffer_bytes.get() - self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What is kept of what a connection has sent.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What has begun and not ended.
    pub(super) unfinished: Option<Box<Unfinished>>,
    /// What waits until the engine wants more, or knows who it is of.
    pub(super) held: Option<Box<Held>>,
}

/// What was read of a connection and waits until the engine wants more.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// A message that the engine has left before its last command.
    pub(super) message: Option<Message>,
    /// What was read behind that.
    pub(super) bytes: Vec<u8>,
}

/// A message as it was decoded.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: MessageKind,
    pub(super) payload: Box<[u8]>,
    pub(super) frames: u32,
}

impl Kept {
    /// Whether nothing is.
    pub(super) fn is_nothing(&self) -> bool {
        self.unfinished.is_none() && self.held.is_none()
    }

    /// Bytes of memory that it takes.
    fn bytes(&self) -> u64 {
        let unfinished = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.held_bytes());
        let held = self.held.as_ref().map_or(0, |held| held.bytes_of_memory());
        (size_of::<Seated>() + unfinished + held) as u64
    }
}

impl Held {
    fn bytes_of_memory(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.payload.len());
        size_of::<Self>() + message + self.bytes.capacity()
    }
}

/// Where what is kept of a connection lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seat(u32);

/// A class, since when, and the seat.
type Place = (u32, u64, u32);

/// What is kept of a connection, and where that stands in line.
#[derive(Debug)]
struct Seated {
    key: ConnectionKey,
    place: Place,
    bytes: u64,
    kept: Kept,
}

/// What is kept of what the connections of a core have sent.
#[derive(Debug)]
pub(super) struct Inbound {
    tally: Rc<Tally>,
    seats: Slab<Seated>,
    /// Each class from its oldest on.
    line: BTreeSet<Place>,
    class_bytes: [u64; CLASSES],
    /// How many were ever begun.
    begun: u64,
}

impl Inbound {
    /// Nothing yet.
    pub(super) fn new(tally: Rc<Tally>) -> Self {
        let (seats, line) = (Slab::new(), BTreeSet::new());
        Self { tally, seats, line, class_bytes: [0; CLASSES], begun: 0 }
    }

    /// What is held of what is received, in all.
    pub(super) fn held_bytes(&self) -> u64 {
        self.tally.held_bytes()
    }

    /// Keeps what a connection has sent. It may be more than fits: [`evict`](Self::evict) comes next.
    fn keep(&mut self, key: ConnectionKey, mut kept: Kept) -> Seat {
        let known = kept.unfinished.as_ref().map_or(0, |unfinished| unfinished.since);
        let since = if known == 0 { self.begun + 1 } else { known };
        self.begun = self.begun.max(since);
        if let Some(unfinished) = &mut kept.unfinished {
            unfinished.since = since;
        }
        let bytes = kept.bytes();
        let entry = self.seats.vacant_entry();
        // There are no more of them than of connections, which are counted alike.
        let seat = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let place = (bytes.ilog2(), since, seat);
        entry.insert(Seated { key, place, bytes, kept });
        self.line.insert(place);
        self.class_bytes[bytes.ilog2() as usize] += bytes;
        self.tally.kept_bytes.set(self.tally.kept_bytes.get() + bytes);
        Seat(seat)
    }

    /// Gives it back.
    fn take(&mut self, Seat(seat): Seat) -> Option<(ConnectionKey, Kept)> {
        let Seated { key, place, bytes, kept } = self.seats.try_remove(seat as usize)?;
        self.line.remove(&place);
        self.class_bytes[place.0 as usize] -= bytes;
        self.tally.kept_bytes.set(self.tally.kept_bytes.get() - bytes);
        Some((key, kept))
    }

    /// The message that the engine has left, where it lies.
    pub(super) fn message(&mut self, Seat(seat): &Seat) -> Option<&mut Message> {
        self.seats.get_mut(*seat as usize)?.kept.held.as_mut()?.message.as_mut()
    }

    /// Whoever has to go, if more is held than may be: what was kept of them is gone.
    fn evict(&mut self) -> Option<ConnectionKey> {
        if self.tally.held_bytes() <= self.tally.budget_bytes || self.seats.len() < 2 {
            return None;
        }
        let (class, _) = self.class_bytes.iter().enumerate().max_by_key(|(_, bytes)| **bytes)?;
        let class = u32::try_from(class).ok()?;
        let &(_, _, seat) = self.line.range((class, 0, 0)..).next()?;
        self.take(Seat(seat)).map(|(key, _)| key)
    }
}

impl State {
    /// Takes back what is kept of a connection.
    pub(super) fn take_kept(&mut self, key: ConnectionKey) -> Kept {
        let seat = self.connection(key).and_then(Connection::seat).and_then(Option::take);
        seat.and_then(|seat| self.inbound.take(seat)).map_or_else(Kept::default, |(_, kept)| kept)
    }

    /// Keeps what a connection has sent, and sends away whoever has to go for it; whether that is the
    /// connection itself.
    pub(super) fn keep(&mut self, now: Now, key: ConnectionKey, kept: Kept) -> bool {
        let Some(connection) = self.connections.get_mut(key.index as usize) else {
            return true;
        };
        let Some(seat) = connection.seat() else {
            return true;
        };
        *seat = Some(self.inbound.keep(key, kept));
        let mut is_gone = false;
        while let Some(loser) = self.inbound.evict() {
            is_gone |= loser == key;
            self.send_away(now, loser);
        }
        is_gone
    }

    /// What was kept of a connection is gone: what follows makes no sense without it.
    fn send_away(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if let Some(seat) = connection.seat() {
            *seat = None;
        }
        if connection.greeting().is_some() {
            return self.refuse(now, key, &UNAVAILABLE);
        }
        self.part(now, key);
        self.shard.handle(now, Input::Overload { connection: key }, &mut self.effects);
    }

    /// Nothing more is read of a connection: what is kept of it is of no use.
    pub(super) fn forget_kept(&mut self, key: ConnectionKey) {
        let seat = self.connection(key).and_then(Connection::seat).and_then(Option::take);
        self.vacate(seat);
    }

    /// Lets go of what was kept there.
    pub(super) fn vacate(&mut self, seat: Option<Seat>) {
        if let Some(seat) = seat {
            drop(self.inbound.take(seat));
        }
    }
}

#[cfg(test)]
mod tests;
