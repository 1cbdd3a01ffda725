//! What waits to be written to one connection, in order, and bounded by those who fill it.
//!
//! A busy room leaves the same [`Run`] with all its members, so one shared run needs no queue. All
//! else goes through a [`Queue`], which the engine lends from a [`Pool`] and takes back when it is
//! empty: an idle outbox owns no heap, a busy one does not allocate for each message.
//!
//! Invariants:
//! - Bytes that [`gather`](Outbox::gather) has given out stay where they are, unchanged, until the
//!   next [`advance`](Outbox::advance) or the end of the connection; nothing is dropped from, put
//!   into or put before them. So a frame that is partly written is always finished.
//! - After [`seal`](Outbox::seal) nothing is queued any more.

mod shed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::run::{Budget, Label, Run};
use crate::protocol::GapReason;

pub(crate) use shed::{Offer, Terms};

use self::shed::Gap;

/// An own buffer that is larger than this when it is written goes back to the allocator.
const SPARE_BYTES: usize = 4_096;
/// An own segment that has grown to this is followed by a new one.
const OWN_SEGMENT_BYTES: usize = 16_384;
/// Empty queues that are kept for the next busy connections.
const POOLED_QUEUES: usize = 16_384;
/// A queue that has grown beyond this is not kept.
const POOLED_SEGMENTS: usize = 64;

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The only thing that waits, if that is a shared run; then there is no queue.
    single: Option<Rc<Run>>,
    queue: Option<Box<Queue>>,
    /// Bytes that wait, without those of the front that are written.
    pending_bytes: u32,
    /// How much of the front is written.
    written_bytes: u32,
    /// Segments at the front whose bytes the driver has in hand.
    lent: u16,
    /// Bytes written since the last mark.
    unmarked_bytes: u32,
    closed: bool,
    /// Nothing is written yet: what is queued waits for what is to come first.
    held: bool,
    /// Something that waits may expire.
    expiring: bool,
    /// Something that waits may be dropped before anything else.
    fleeting: bool,
    /// The tick in which it was last empty.
    filled_tick: u32,
}

/// More than one run.
#[derive(Debug)]
pub(crate) struct Queue {
    segments: VecDeque<Segment>,
    /// An empty buffer for the next own segment.
    spare: Vec<u8>,
    /// Bytes in all segments, written ones of the front included.
    bytes: usize,
    /// Of those, bytes in own segments: what it has added to the budget.
    own_bytes: usize,
    budget: Budget,
}

#[derive(Debug)]
enum Segment {
    /// Shared with other connections.
    Run(Rc<Run>),
    /// Whole frames for this connection alone.
    Own(Vec<u8>),
    /// In place of messages that were withheld.
    Gap(Box<Gap>),
}

/// Messages that did not reach a connection, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops {
    pub(crate) slow_consumer: u64,
    pub(crate) expired: u64,
    pub(crate) overload: u64,
    pub(crate) transient: u64,
    pub(crate) history_truncated: u64,
    pub(crate) epoch_changed: u64,
}

impl Drops {
    pub(crate) fn count(&mut self, reason: GapReason, count: u64) {
        let figure = match reason {
            GapReason::SlowConsumer => &mut self.slow_consumer,
            GapReason::Expired => &mut self.expired,
            GapReason::HistoryTruncated => &mut self.history_truncated,
            GapReason::EpochChanged => &mut self.epoch_changed,
            GapReason::Overload => &mut self.overload,
        };
        *figure += count;
    }
}

/// What the outboxes of a core share.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Messages that did not reach a connection since they were last counted, by reason.
    pub(crate) drops: Drops,
    /// What they hold together.
    pub(crate) budget: Budget,
    /// The most that may be.
    pub(crate) budget_bytes: u64,
    /// Counts the ticks: what waits since an earlier one was not taken by its socket.
    pub(crate) tick: u32,
    /// Queues that no connection needs at the moment.
    // Boxed, because that is how an outbox holds them.
    #[allow(clippy::vec_box, reason = "a queue moves between outboxes by its box")]
    queues: Vec<Box<Queue>>,
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Run(run) => run.bytes(),
            Self::Own(bytes) => bytes,
            Self::Gap(gap) => &gap.frame,
        }
    }

    /// What is known about messages.
    fn label(&self) -> Option<&Label> {
        match self {
            Self::Run(run) => Some(&run.label),
            Self::Own(_) | Self::Gap(_) => None,
        }
    }
}

impl Outbox {
    /// Bytes that wait.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes as usize
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending_bytes == 0
    }

    /// Whether what waits is the last: the close frame is among it or was written.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closed
    }

    /// The next bytes to write, in order, as many slices as there are and as fit; returns how many.
    /// They stay in place until [`advance`](Self::advance), even while more is queued.
    pub fn gather<'a>(&'a mut self, out: &mut [IoSlice<'a>]) -> usize {
        if self.held {
            return 0;
        }
        let skip = self.written_bytes as usize;
        if let Some(run) = &self.single {
            let Some(first) = out.first_mut() else { return 0 };
            *first = IoSlice::new(&run.bytes()[skip..]);
            self.lent = 1;
            return 1;
        }
        let Some(queue) = &self.queue else { return 0 };
        let limit = out.len().min(usize::from(u16::MAX));
        let mut count = 0;
        for (slice, segment) in out[..limit].iter_mut().zip(&queue.segments) {
            let from = if count == 0 { skip } else { 0 };
            *slice = IoSlice::new(&segment.bytes()[from..]);
            count += 1;
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most u16::MAX were looked at")]
        let lent = count as u16;
        self.lent = lent;
        count
    }

    /// The front `bytes` were written; what [`gather`](Self::gather) gave out is free again.
    pub fn advance(&mut self, bytes: usize) {
        if !self.held {
            self.lent = 0;
        }
        let bytes = bytes.min(self.pending_bytes as usize);
        self.pending_bytes -= len32(bytes);
        self.unmarked_bytes = self.unmarked_bytes.saturating_add(len32(bytes));
        let mut left = bytes + self.written_bytes as usize;
        if let Some(run) = &self.single {
            if left >= run.bytes().len() {
                self.single = None;
                left = 0;
            }
        } else if let Some(queue) = &mut self.queue {
            left = queue.discard(left);
        }
        self.written_bytes = len32(left);
    }

    /// Bytes that were written since the last ping that marks a place.
    pub(crate) fn unmarked_bytes(&self) -> u32 {
        self.unmarked_bytes
    }

    /// A ping that marks a place is queued.
    pub(crate) fn mark(&mut self) {
        self.unmarked_bytes = 0;
    }

    /// Bytes that wait and are for this connection alone: answers, pongs.
    pub(crate) fn own_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.own_bytes)
    }

    /// Whether the driver has bytes in hand, or a frame is partly written.
    fn pinned(&self) -> usize {
        usize::from(self.lent).max(usize::from(self.written_bytes > 0))
    }

    /// Queues messages without asking whether there is space: behind what is as urgent, behind the
    /// room's own earlier ones, and behind answers.
    pub(crate) fn push_run(&mut self, run: Rc<Run>, pool: &mut Pool) {
        if self.closed {
            return;
        }
        if self.pending_bytes == 0 {
            self.filled_tick = pool.tick;
        }
        self.pending_bytes += len32(run.bytes().len());
        self.expiring |= run.label.expires.is_some();
        self.fleeting |= run.label.is_fleeting();
        if self.queue.is_none() && self.single.is_none() && !self.expiring {
            self.single = Some(run);
            return;
        }
        let pinned = self.pinned();
        let queue = self.spill(pool);
        queue.bytes += run.bytes().len();
        let segments = &mut queue.segments;
        let mut at = segments.len();
        while at > pinned {
            match segments[at - 1].label() {
                Some(before)
                    if before.priority < run.label.priority
                        && !before.same_room(&run.label.room) =>
                {
                    at -= 1;
                }
                _ => break,
            }
        }
        segments.insert(at, Segment::Run(run));
    }

    /// Appends whole frames that `write` makes, for this connection alone.
    pub(crate) fn push_own(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.closed {
            return;
        }
        if self.pending_bytes == 0 {
            self.filled_tick = pool.tick;
        }
        let pinned = self.pinned();
        let queue = self.spill(pool);
        let count = queue.segments.len();
        let free = count > pinned;
        let grown = match queue.segments.back_mut() {
            Some(Segment::Own(bytes)) if free && bytes.len() < OWN_SEGMENT_BYTES => {
                let before = bytes.len();
                write(bytes);
                bytes.len() - before
            }
            _ => {
                let mut bytes = std::mem::take(&mut queue.spare);
                write(&mut bytes);
                let grown = bytes.len();
                queue.segments.push_back(Segment::Own(bytes));
                grown
            }
        };
        queue.note_own(grown);
        self.pending_bytes += len32(grown);
    }

    /// What has been queued is the last.
    pub(crate) fn seal(&mut self) {
        self.closed = true;
    }

    /// Drops all that is not in the driver's hand or partly written.
    pub(crate) fn clear(&mut self) {
        let pinned = self.pinned();
        if pinned == 0 {
            self.single = None;
        }
        if let Some(queue) = &mut self.queue {
            queue.truncate(pinned);
        }
        self.recount();
    }

    /// Holds everything back until [`release`](Self::release). What is queued already stays in
    /// front, as if the driver had it in hand.
    pub(crate) fn hold(&mut self) {
        self.held = true;
        let queued = self.queue.as_ref().map_or(0, |queue| queue.segments.len());
        self.lent = u16::try_from(queued).unwrap_or(u16::MAX);
    }

    /// Whether everything is held back.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Lets what was held back go, behind what `write` makes.
    pub(crate) fn release(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        self.held = false;
        let before = std::mem::take(&mut self.lent);
        let mut first = Vec::new();
        write(&mut first);
        if first.is_empty() {
            return;
        }
        let queue = self.spill(pool);
        queue.note_own(first.len());
        let at = usize::from(before).min(queue.segments.len());
        queue.segments.insert(at, Segment::Own(first));
        self.recount();
    }

    /// Whether something has waited since an earlier tick.
    pub(crate) fn lags(&self, pool: &Pool) -> bool {
        self.pending_bytes > 0 && self.filled_tick != pool.tick
    }

    /// Whether something that waits may expire.
    pub(crate) fn is_expiring(&self) -> bool {
        self.expiring
    }

    /// Gives an empty queue back, so that an idle outbox owns nothing.
    pub(crate) fn reclaim(&mut self, pool: &mut Pool) {
        if self.pending_bytes == 0
            && self.lent == 0
            && let Some(queue) = self.queue.take()
        {
            pool.put(queue);
        }
    }

    /// Whether its counts are right.
    pub(crate) fn adds_up(&self) -> bool {
        let single = self.single.as_ref().map_or(0, |run| run.bytes().len());
        let queue = self.queue.as_deref();
        let segments = || queue.into_iter().flat_map(|queue| &queue.segments);
        let queued: usize = segments().map(|segment| segment.bytes().len()).sum();
        let own = segments().filter(|segment| matches!(segment, Segment::Own(_)));
        let own: usize = own.map(|segment| segment.bytes().len()).sum();
        let counted = queue.map_or((0, 0), |queue| (queue.bytes, queue.own_bytes));
        counted == (queued, own)
            && single + queued == self.pending_bytes as usize + self.written_bytes as usize
    }

    /// The queue, made if there was none, with the single run at its front.
    fn spill(&mut self, pool: &mut Pool) -> &mut Queue {
        let queue = self.queue.get_or_insert_with(|| pool.take());
        if let Some(run) = self.single.take() {
            queue.bytes += run.bytes().len();
            queue.segments.push_back(Segment::Run(run));
        }
        queue
    }
}

impl Queue {
    /// An empty one, whose own segments count in `budget`.
    fn new(budget: Budget) -> Self {
        Self { segments: VecDeque::new(), spare: Vec::new(), bytes: 0, own_bytes: 0, budget }
    }

    /// Own segments have grown.
    fn note_own(&mut self, bytes: usize) {
        self.own_bytes += bytes;
        self.bytes += bytes;
        self.budget.add(bytes);
    }

    /// Removes segments of which all is within the first `bytes`; returns how much of the new front
    /// is left of them.
    fn discard(&mut self, mut bytes: usize) -> usize {
        while let Some(front) = self.segments.front() {
            let len = front.bytes().len();
            if bytes < len {
                return bytes;
            }
            bytes -= len;
            self.bytes -= len;
            if let Some(Segment::Own(buffer)) = self.segments.pop_front() {
                self.recycle(buffer);
            }
        }
        0
    }

    /// Keeps the first `count` segments.
    fn truncate(&mut self, count: usize) {
        while self.segments.len() > count {
            let Some(segment) = self.segments.pop_back() else { return };
            self.bytes -= segment.bytes().len();
            if let Segment::Own(buffer) = segment {
                self.recycle(buffer);
            }
        }
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        self.own_bytes -= buffer.len();
        self.budget.sub(buffer.len());
        buffer.clear();
        if buffer.capacity() <= SPARE_BYTES && buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.budget.sub(self.own_bytes);
    }
}

/// Lengths of what one connection is owed: bounded by limits that are `u32` themselves.
fn len32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Pool {
    /// Nothing is held yet, and at most `budget_bytes` will be, apart from what was just queued.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self { budget_bytes, ..Self::default() }
    }

    /// Whether the outboxes of this core hold more than they may together.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.budget_bytes > 0 && self.budget.held_bytes() > self.budget_bytes
    }

    fn take(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_else(|| Box::new(Queue::new(self.budget.clone())))
    }

    fn put(&mut self, queue: Box<Queue>) {
        let small = queue.segments.capacity() <= POOLED_SEGMENTS;
        if small && self.queues.len() < POOLED_QUEUES {
            self.queues.push(queue);
        }
    }
}
