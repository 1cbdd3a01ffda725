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

use super::{Label, Outbox, Pool, Queue, Run, Segment, len32};

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
    /// The connection has to be closed: more waits for it than may.
    Overflow,
    /// It has to be closed: more waits for all of them together than may, and it reads slowly.
    Overload,
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
        self.drop_fleeting(pool);
        if self.fits(run, terms, pool) {
            self.push_run(Rc::clone(run), pool);
            return Offer::Taken;
        }
        if run.label.is_fleeting() {
            pool.drops.transient += 1;
            return Offer::Withheld;
        }
        match policy {
            SlowConsumer::Disconnect => return self.excess(run, terms),
            SlowConsumer::DropNewest => {}
            SlowConsumer::DropOldest | SlowConsumer::Latest => {
                self.drop_oldest(run, terms, pool);
                if self.fits(run, terms, pool) {
                    self.push_run(Rc::clone(run), pool);
                    return Offer::Taken;
                }
            }
        }
        if run.label.priority == Priority::Critical {
            return self.excess(run, terms);
        }
        let (from, to) = (run.label.first, run.label.last);
        pool.drops.slow_consumer += run.label.count();
        self.push_gap(&run.label.room, (from, to), GapReason::SlowConsumer, terms.codec, pool);
        Offer::Withheld
    }

    /// Whether there is space without dropping anything.
    pub(crate) fn fits(&self, run: &Run, terms: Terms, pool: &Pool) -> bool {
        self.is_within(run, terms) && !(pool.is_over_budget() && self.lags(pool))
    }

    /// Whether no more waits for this connection than may.
    fn is_within(&self, run: &Run, terms: Terms) -> bool {
        let waiting = self.pending_bytes as usize;
        waiting == 0 || waiting + run.bytes().len() <= terms.limit_bytes
    }

    /// Whose doing it is that messages do not fit which nothing may be dropped for.
    fn excess(&self, run: &Run, terms: Terms) -> Offer {
        if self.is_within(run, terms) { Offer::Overload } else { Offer::Overflow }
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
        // A slow consumer's are counted where they are dropped: not all of them have a place.
        if reason != GapReason::SlowConsumer {
            pool.drops.count(reason, (offsets.1 + 1).saturating_sub(offsets.0));
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
    pub(crate) fn expire(&mut self, now: Moment, codec: Codec, pool: &mut Pool) {
        let pinned = self.pinned();
        self.expiring = false;
        let Some(queue) = &mut self.queue else { return };
        // What the driver holds may come back unwritten.
        let mut held = queue.segments.iter().take(pinned).filter_map(Segment::label);
        let (mut left, mut count) = (held.any(|label| label.expires.is_some()), 0);
        queue.withhold_where(pinned, GapReason::Expired, codec, |label, _| {
            let expired = label.expires.is_some_and(|expires| expires <= now);
            left |= !expired && label.expires.is_some();
            count += if expired { label.count() } else { 0 };
            expired
        });
        self.expiring = left;
        pool.drops.expired += count;
        self.recount();
    }

    /// Withholds all waiting transient messages but critical ones.
    fn drop_fleeting(&mut self, pool: &mut Pool) {
        if !std::mem::take(&mut self.fleeting) {
            return;
        }
        let pinned = self.pinned();
        let Some(queue) = &mut self.queue else { return };
        let codec = Codec::default();
        queue.withhold_where(pinned, GapReason::SlowConsumer, codec, |label, _| {
            pool.drops.transient += u64::from(label.is_fleeting());
            label.is_fleeting()
        });
        self.recount();
    }

    /// Withholds messages of the same room and event, which `run` makes worthless.
    fn drop_superseded(&mut self, run: &Run, codec: Codec, pool: &mut Pool) {
        let pinned = self.pinned();
        let mut count = 0;
        let queue = self.spill(pool);
        queue.withhold_where(pinned, GapReason::SlowConsumer, codec, |label, _| {
            let superseded = label.is_superseded_by(&run.label);
            count += if superseded { label.count() } else { 0 };
            superseded
        });
        pool.drops.slow_consumer += count;
        self.recount();
    }

    /// Withholds the oldest of the room's messages, the least urgent first and none more urgent
    /// than `run`, until it fits; a little more, so that it is not done for every message.
    fn drop_oldest(&mut self, run: &Run, terms: Terms, pool: &mut Pool) {
        let pinned = self.pinned();
        self.spill(pool);
        let Some(queue) = &mut self.queue else { return };
        let most = terms.limit_bytes - terms.limit_bytes / 8;
        let most = most.saturating_sub(run.bytes().len()) + self.written_bytes as usize;
        for &priority in Priority::ALL {
            if priority > run.label.priority || priority == Priority::Critical {
                break;
            }
            let mut excess = queue.bytes.saturating_sub(most);
            if pool.is_over_budget() {
                excess = queue.bytes;
            }
            if excess == 0 {
                break;
            }
            queue.withhold_where(pinned, GapReason::SlowConsumer, terms.codec, |label, bytes| {
                let victim =
                    excess > 0 && label.priority == priority && label.same_room(&run.label.room);
                if victim {
                    excess = excess.saturating_sub(bytes);
                    pool.drops.slow_consumer += label.count();
                }
                victim
            });
        }
        self.recount();
    }
}

impl Queue {
    /// Puts gaps in the place of all messages behind the first `pinned` that `is_victim` says.
    fn withhold_where(
        &mut self,
        pinned: usize,
        reason: GapReason,
        codec: Codec,
        mut is_victim: impl FnMut(&Label, usize) -> bool,
    ) {
        let mut rest = self.segments.split_off(pinned.min(self.segments.len()));
        for segment in rest.drain(..) {
            match segment {
                Segment::Run(run) if is_victim(&run.label, run.bytes().len()) => {
                    self.bytes -= run.bytes().len();
                    if !run.label.is_transient() {
                        let offsets = (run.label.first, run.label.last);
                        let end = self.segments.len();
                        self.withhold(end, pinned, &run.label.room, offsets, reason, codec);
                    }
                }
                kept => self.segments.push_back(kept),
            }
        }
    }

    /// Says at `at` that messages will not come: in the room's gap right before, or in a new one.
    fn withhold(
        &mut self,
        at: usize,
        pinned: usize,
        room: &Rc<RoomTag>,
        (from, to): (u64, u64),
        reason: GapReason,
        codec: Codec,
    ) {
        for segment in self.segments.range_mut(pinned.min(at)..at).rev() {
            match segment {
                Segment::Gap(gap) if gap.room.is(room) => {
                    if gap.reason != reason {
                        break;
                    }
                    self.bytes -= gap.frame.len();
                    gap.to = gap.to.max(to);
                    gap.write(codec);
                    self.bytes += gap.frame.len();
                    return;
                }
                Segment::Run(run) if run.label.same_room(room) => break,
                // An answer may be the one to a leave and a join.
                Segment::Own(_) => break,
                Segment::Gap(_) | Segment::Run(_) => {}
            }
        }
        let mut gap = Gap { room: Rc::clone(room), from, to, reason, frame: Vec::new() };
        gap.write(codec);
        self.bytes += gap.frame.len();
        self.segments.insert(at, Segment::Gap(Box::new(gap)));
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
        let queued = self.queue.as_ref().map_or(0, |queue| queue.bytes);
        self.pending_bytes = len32((single + queued).saturating_sub(self.written_bytes as usize));
    }
}
