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

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::run::Run;

/// An own buffer that is larger than this when it is written goes back to the allocator.
const SPARE_BYTES: usize = 4_096;
/// An own segment that has grown to this is followed by a new one.
const OWN_SEGMENT_BYTES: usize = 16_384;
/// Empty queues that are kept for the next busy connections.
const POOLED_QUEUES: usize = 1_024;

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
    closed: bool,
}

/// More than one run.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    segments: VecDeque<Segment>,
    /// An empty buffer for the next own segment.
    spare: Vec<u8>,
    /// Bytes in own segments, written ones of the front included.
    own_bytes: usize,
}

#[derive(Debug)]
enum Segment {
    /// Shared with other connections.
    Run(Rc<Run>),
    /// Whole frames for this connection alone.
    Own(Vec<u8>),
}

/// Queues that no connection needs at the moment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    // Boxed, because that is how an outbox holds them.
    #[allow(clippy::vec_box, reason = "a queue moves between outboxes by its box")]
    queues: Vec<Box<Queue>>,
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Run(run) => run.bytes(),
            Self::Own(bytes) => bytes,
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
        self.lent = 0;
        let bytes = bytes.min(self.pending_bytes as usize);
        self.pending_bytes -= len32(bytes);
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

    /// Bytes that wait and are for this connection alone: answers, pongs.
    pub(crate) fn own_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.own_bytes)
    }

    /// Whether the driver has bytes in hand, or a frame is partly written.
    fn pinned(&self) -> usize {
        usize::from(self.lent).max(usize::from(self.written_bytes > 0))
    }

    /// Appends a shared run.
    pub(crate) fn push_run(&mut self, run: Rc<Run>, pool: &mut Pool) {
        if self.closed {
            return;
        }
        self.pending_bytes += len32(run.bytes().len());
        if self.queue.is_none() && self.single.is_none() {
            self.single = Some(run);
            return;
        }
        self.spill(pool).segments.push_back(Segment::Run(run));
    }

    /// Appends whole frames that `write` makes, for this connection alone.
    pub(crate) fn push_own(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.closed {
            return;
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
        queue.own_bytes += grown;
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
        let written = self.written_bytes as usize;
        let single = self.single.as_ref().map_or(0, |run| run.bytes().len());
        let queued = self.queue.as_ref().map_or(0, |queue| queue.bytes());
        self.pending_bytes = len32((single + queued).saturating_sub(written));
    }

    /// Gives an empty queue back, so that an idle outbox owns nothing.
    pub(crate) fn reclaim(&mut self, pool: &mut Pool) {
        if self.pending_bytes == 0 && self.lent == 0 {
            if let Some(queue) = self.queue.take() {
                pool.put(queue);
            }
        }
    }

    /// The queue, made if there was none, with the single run at its front.
    fn spill(&mut self, pool: &mut Pool) -> &mut Queue {
        let queue = self.queue.get_or_insert_with(|| pool.take());
        if let Some(run) = self.single.take() {
            queue.segments.push_back(Segment::Run(run));
        }
        queue
    }
}

impl Queue {
    /// Removes segments of which all is within the first `bytes`; returns how much of the new front
    /// is left of them.
    fn discard(&mut self, mut bytes: usize) -> usize {
        while let Some(front) = self.segments.front() {
            let len = front.bytes().len();
            if bytes < len {
                return bytes;
            }
            bytes -= len;
            if let Some(Segment::Own(buffer)) = self.segments.pop_front() {
                self.recycle(buffer);
            }
        }
        0
    }

    /// Keeps the first `count` segments.
    fn truncate(&mut self, count: usize) {
        while self.segments.len() > count {
            if let Some(Segment::Own(buffer)) = self.segments.pop_back() {
                self.recycle(buffer);
            }
        }
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        self.own_bytes -= buffer.len();
        buffer.clear();
        if buffer.capacity() <= SPARE_BYTES && buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }

    fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes().len()).sum()
    }
}

/// Lengths of what one connection is owed: bounded by limits that are `u32` themselves.
fn len32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Pool {
    fn take(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    fn put(&mut self, queue: Box<Queue>) {
        if self.queues.len() < POOLED_QUEUES {
            self.queues.push(queue);
        }
    }
}
