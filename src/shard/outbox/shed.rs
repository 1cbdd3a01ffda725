//! What happens to messages for a connection that does not read them as fast as they come.
//!
//! Invariants: what is withheld and has an offset leaves a gap in its place, so a room's messages
//! and gaps stay in the order of their offsets; what the driver holds, and what is partly written,
//! is never withheld.

use std::rc::Rc;

use crate::clock::Moment;
use crate::protocol::event::Gap as GapEvent;
use crate::protocol::{self, Codec, Event, GapReason, Priority, SlowConsumer};
use crate::room::hub::RoomTag;
use crate::room::publication::opcode;
use crate::ws::frame;

use super::{Outbox, Pool, Queue, Run, Segment, len32};

/// Messages that were withheld, and the frame that says so.
#[derive(Debug)]
pub(super) struct Gap {
    room: Rc<RoomTag>,
    from: u64,
    to: u64,
    reason: GapReason,
    pub(super) frame: Vec<u8>,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// They wait to be written.
    Taken,
    /// They will not be written; the connection is told if they have offsets.
    Withheld,
    /// The connection has to be closed.
    Overflow,
}

/// On what terms messages are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The most that may wait.
    pub(crate) limit_bytes: usize,
    /// How the connection is told of gaps.
    pub(crate) codec: Codec,
}

impl Outbox {
    /// Takes messages, or does what their room's policy says about slow readers.
    pub(crate) fn offer(&mut self, run: &Rc<Run>, terms: Terms, pool: &mut Pool) -> Offer {
        if self.closed {
            return Offer::Withheld;
        }
        let policy = run.label.room.slow_consumer;
        if policy == SlowConsumer::Latest && self.lags(pool) {
            self.drop_superseded(run, terms.codec, pool);
        }
        if self.fits(run, terms, pool) {
            self.push_run(Rc::clone(run), pool);
            return Offer::Taken;
        }
        self.drop_transient();
        if self.fits(run, terms, pool) {
            self.push_run(Rc::clone(run), pool);
            return Offer::Taken;
        }
        if run.label.is_transient() {
            return Offer::Withheld;
        }
        match policy {
            SlowConsumer::Disconnect => return Offer::Overflow,
            SlowConsumer::DropNewest => {}
            SlowConsumer::DropOldest | SlowConsumer::Latest => {
                while !self.fits(run, terms, pool) && self.drop_oldest(run, terms.codec) {}
                if self.fits(run, terms, pool) {
                    self.push_run(Rc::clone(run), pool);
                    return Offer::Taken;
                }
            }
        }
        if run.label.priority == Priority::Critical {
            return Offer::Overflow;
        }
        let (from, to) = (run.label.first, run.label.last);
        self.push_gap(&run.label.room, (from, to), GapReason::SlowConsumer, terms.codec, pool);
        Offer::Withheld
    }

    /// Whether there is space without dropping anything.
    pub(crate) fn fits(&self, run: &Run, terms: Terms, pool: &Pool) -> bool {
        let waiting = self.pending_bytes as usize;
        let within = waiting == 0 || waiting + run.bytes().len() <= terms.limit_bytes;
        within && !(pool.is_over_budget() && self.lags(pool))
    }

    /// Tells that messages will not come, behind all that waits.
    pub(crate) fn push_gap(
        &mut self,
        room: &Rc<RoomTag>,
        offsets: (u64, u64),
        reason: GapReason,
        codec: Codec,
        pool: &mut Pool,
    ) {
        if self.closed {
            return;
        }
        if self.is_empty() {
            self.filled_tick = pool.tick;
        }
        let pinned = self.pinned();
        let queue = self.spill(pool);
        let end = queue.segments.len();
        queue.withhold(end, pinned, room, offsets, reason, codec);
        self.recount();
    }

    /// Withholds what has expired.
    pub(crate) fn expire(&mut self, now: Moment, codec: Codec) {
        let pinned = self.pinned();
        self.expiring = false;
        let Some(queue) = &mut self.queue else { return };
        // What the driver holds may come back unwritten.
        let held = queue.segments.iter().take(pinned);
        self.expiring = held.filter_map(Segment::label).any(|label| label.expires.is_some());
        let mut index = pinned;
        while let Some(segment) = queue.segments.get(index) {
            match segment.label().and_then(|label| label.expires) {
                Some(expires) if expires <= now => {
                    index = queue.replace(index, pinned, GapReason::Expired, codec);
                }
                expires => {
                    self.expiring |= expires.is_some();
                    index += 1;
                }
            }
        }
        self.recount();
    }

    /// Withholds all waiting transient messages.
    fn drop_transient(&mut self) {
        let pinned = self.pinned();
        let Some(queue) = &mut self.queue else { return };
        let mut index = 0;
        queue.segments.retain(|segment| {
            index += 1;
            index <= pinned || !segment.label().is_some_and(super::Label::is_transient)
        });
        self.recount();
    }

    /// Withholds messages of the same room and event, which `run` makes worthless.
    fn drop_superseded(&mut self, run: &Run, codec: Codec, pool: &mut Pool) {
        let pinned = self.pinned();
        let queue = self.spill(pool);
        let mut index = pinned;
        while let Some(segment) = queue.segments.get(index) {
            let superseded = segment.label().is_some_and(|label| {
                label.same_room(&run.label.room)
                    && label.event == run.label.event
                    && label.priority != Priority::Critical
            });
            if superseded {
                index = queue.replace(index, pinned, GapReason::SlowConsumer, codec);
            } else {
                index += 1;
            }
        }
        self.recount();
    }

    /// Withholds the oldest of the room's least urgent messages, none more urgent than `run`;
    /// false if there is none.
    fn drop_oldest(&mut self, run: &Run, codec: Codec) -> bool {
        let pinned = self.pinned();
        let Some(queue) = &mut self.queue else { return false };
        let candidates = queue.segments.iter().enumerate().skip(pinned);
        let oldest = candidates
            .filter_map(|(index, segment)| Some((segment.label()?, index)))
            .filter(|(label, _)| label.same_room(&run.label.room))
            .filter(|(label, _)| label.priority <= run.label.priority)
            .filter(|(label, _)| label.priority != Priority::Critical)
            .min_by_key(|(label, index)| (label.priority, *index));
        let Some((_, index)) = oldest else { return false };
        queue.replace(index, pinned, GapReason::SlowConsumer, codec);
        self.recount();
        true
    }
}

impl Queue {
    /// Puts a gap in the place of messages; returns the index of what follows.
    fn replace(&mut self, at: usize, pinned: usize, reason: GapReason, codec: Codec) -> usize {
        let Some(Segment::Run(run)) = self.segments.remove(at) else { return at + 1 };
        if run.label.is_transient() {
            return at;
        }
        let offsets = (run.label.first, run.label.last);
        at + usize::from(self.withhold(at, pinned, &run.label.room, offsets, reason, codec))
    }

    /// Says at `at` that messages will not come: in the room's gap right before, or in a new one;
    /// true if there is a new one.
    fn withhold(
        &mut self,
        at: usize,
        pinned: usize,
        room: &Rc<RoomTag>,
        (from, to): (u64, u64),
        reason: GapReason,
        codec: Codec,
    ) -> bool {
        for segment in self.segments.range_mut(pinned.min(at)..at).rev() {
            match segment {
                Segment::Gap(gap) if gap.room.is(room) => {
                    if gap.reason != reason {
                        break;
                    }
                    gap.to = gap.to.max(to);
                    gap.write(codec);
                    return false;
                }
                Segment::Run(run) if run.label.same_room(room) => break,
                // An answer may be the one to a leave and a join.
                Segment::Own(_) => break,
                Segment::Gap(_) | Segment::Run(_) => {}
            }
        }
        let mut gap = Gap { room: Rc::clone(room), from, to, reason, frame: Vec::new() };
        gap.write(codec);
        self.segments.insert(at, Segment::Gap(Box::new(gap)));
        true
    }
}

impl Gap {
    fn write(&mut self, codec: Codec) {
        let mut body = Vec::with_capacity(160);
        let gap = GapEvent {
            room: self.room.room.name.as_str(),
            epoch: &self.room.epoch,
            from: self.from,
            to: self.to,
            reason: self.reason,
        };
        protocol::encode(&Event::Gap(gap), codec, &mut body);
        self.frame.clear();
        frame::write(&mut self.frame, opcode(codec), false, &body);
    }
}

impl Outbox {
    /// Counts again what waits.
    pub(super) fn recount(&mut self) {
        let single = self.single.as_ref().map_or(0, |run| run.bytes().len());
        let queued = self.queue.as_ref().map_or(0, |queue| queue.bytes());
        self.pending_bytes = len32((single + queued).saturating_sub(self.written_bytes as usize));
    }
}
