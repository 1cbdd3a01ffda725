//! The last publications of a room: a ring bounded by count, bytes and age.
//!
//! Invariants:
//! - Offsets increase strictly from the oldest to the newest; between two there may be numbers that
//!   no publication has.
//! - What is dropped is always the oldest, so everything after [`History::dropped`] is here: a page
//!   has no hole, and says whether it would have begun earlier.
//! - Nothing older than its bounds allow is ever handed out.

#[cfg(test)]
mod tests;

use std::collections::{VecDeque, vec_deque};
use std::iter::Rev;
use std::ops::Range;
use std::sync::Arc;

use crate::clock::{Moment, Past};

/// What a history keeps.
pub trait Entry {
    /// Its number in the room.
    fn offset(&self) -> u64;
    /// The memory it holds.
    fn bytes(&self) -> usize;
    /// When it was published.
    fn published_at(&self) -> Past;
}

impl<T: Entry> Entry for Arc<T> {
    fn offset(&self) -> u64 {
        (**self).offset()
    }

    fn bytes(&self) -> usize {
        (**self).bytes()
    }

    fn published_at(&self) -> Past {
        (**self).published_at()
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Publications; 0: none.
    pub size: u32,
    /// Bytes.
    pub bytes: u64,
    /// For how long.
    pub ttl_ms: u64,
}

/// The last publications of a room, as far as [`Bounds`] keep them.
#[derive(Debug)]
pub struct History<T> {
    bounds: Bounds,
    entries: VecDeque<T>,
    bytes: u64,
    last: u64,
    dropped: u64,
    /// Since something was dropped more is allowed than was then.
    lacks: bool,
}

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The oldest ones.
    Oldest,
    /// The newest ones.
    Newest,
    /// The oldest ones after this offset.
    Since(u64),
    /// The newest ones before this offset.
    Before(u64),
}

/// Some publications without a hole between them.
#[derive(Debug)]
pub struct Page<'a, T> {
    /// From the oldest to the newest.
    pub entries: vec_deque::Iter<'a, T>,
    /// Whether others, older than these, would belong to the page but were dropped.
    pub truncated: bool,
}

/// Why what came after an offset cannot be had in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecoverable {
    /// The room has not come so far: the offset is from another life of it.
    Ahead,
    /// Some of it was dropped.
    Dropped,
    /// It is more than a recovery may be.
    TooMuch,
}

impl<'a, T> Page<'a, T> {
    /// From the newest to the oldest.
    pub fn reversed(self) -> Rev<vec_deque::Iter<'a, T>> {
        self.entries.rev()
    }
}

impl<T: Entry> History<T> {
    /// An empty history of a room that has come to offset `last`; 0: that is new.
    #[must_use]
    pub fn new(bounds: Bounds, last: u64) -> Self {
        Self { bounds, entries: VecDeque::new(), bytes: 0, last, dropped: last, lacks: false }
    }

    /// Changes the bounds, and drops what they no longer allow.
    pub fn set_bounds(&mut self, bounds: Bounds, now: Moment) {
        let Bounds { size, bytes, ttl_ms } = self.bounds;
        let is_more = bounds.size > size || bounds.bytes > bytes || bounds.ttl_ms > ttl_ms;
        self.lacks |= is_more && self.dropped > 0;
        self.bounds = bounds;
        self.trim(now);
        self.entries.shrink_to(2 * self.entries.len());
    }

    /// Whether some of what was dropped would be kept now, which is told once.
    pub fn take_lack(&mut self) -> bool {
        std::mem::take(&mut self.lacks)
    }

    /// Appends a publication. False, and nothing is changed, unless its offset is above
    /// [`last`](Self::last).
    pub fn push(&mut self, entry: T, now: Moment) -> bool {
        if entry.offset() <= self.last {
            return false;
        }
        self.last = entry.offset();
        if self.bounds.size == 0 {
            // Nothing older is here either, and a ring that is never used is never allocated.
            self.dropped = self.last;
            return true;
        }
        self.bytes += entry.bytes() as u64;
        self.entries.push_back(entry);
        self.trim(now);
        true
    }

    /// Takes in again what was dropped last, or never here: the offset [`dropped`](Self::dropped), where
    /// what is before that may follow. False, and nothing is changed, if it is another, or if the bounds
    /// do not allow it.
    pub fn push_front(&mut self, entry: T, now: Moment) -> bool {
        let Bounds { size, bytes, ttl_ms } = self.bounds;
        let is_next = entry.offset() > 0 && entry.offset() == self.dropped;
        let is_old = entry.published_at().plus_ms(ttl_ms) <= now;
        let bytes_then = self.bytes + entry.bytes() as u64;
        if !is_next || is_old || self.entries.len() >= size as usize || bytes_then > bytes {
            return false;
        }
        self.bytes = bytes_then;
        self.dropped -= 1;
        self.entries.push_front(entry);
        true
    }

    /// Drops what is too much or too old.
    pub fn trim(&mut self, now: Moment) {
        while self.is_over(now) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest publication, where memory of the whole process is short. Gives back its
    /// bytes; nothing if there is none.
    pub fn drop_oldest(&mut self) -> Option<u64> {
        let entry = self.entries.pop_front()?;
        let bytes = entry.bytes() as u64;
        self.bytes -= bytes;
        self.dropped = entry.offset();
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        Some(bytes)
    }

    /// When the oldest publication becomes too old.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        Some(self.entries.front()?.published_at().plus_ms(self.bounds.ttl_ms))
    }

    /// At most `limit` publications next to `bound`.
    pub fn page(&mut self, bound: Bound, limit: usize, now: Moment) -> Page<'_, T> {
        self.trim(now);
        let len = self.entries.len();
        let (range, truncated) = match bound {
            Bound::Oldest => (0..len.min(limit), self.dropped > 0),
            Bound::Since(offset) => {
                let first = self.first_after(offset);
                (first..len.min(first.saturating_add(limit)), self.dropped > offset)
            }
            Bound::Newest => self.ending_at(len, limit),
            Bound::Before(offset) => {
                self.ending_at(self.first_after(offset.saturating_sub(1)), limit)
            }
        };
        Page { entries: self.entries.range(range), truncated }
    }

    /// Everything after `offset`, if all of it is here and it is not more than `limit` publications
    /// and `limit_bytes` bytes.
    ///
    /// # Errors
    /// Why it cannot be had in full. None of it is to be sent then.
    pub fn recover(
        &mut self,
        offset: u64,
        limit: usize,
        limit_bytes: u64,
        now: Moment,
    ) -> Result<vec_deque::Iter<'_, T>, Unrecoverable> {
        self.trim(now);
        if offset > self.last {
            return Err(Unrecoverable::Ahead);
        }
        if offset < self.dropped {
            return Err(Unrecoverable::Dropped);
        }
        let missed = self.entries.range(self.first_after(offset)..);
        if missed.len() > limit {
            return Err(Unrecoverable::TooMuch);
        }
        let bytes = missed.clone().map(|entry| entry.bytes() as u64).sum::<u64>();
        if bytes > limit_bytes { Err(Unrecoverable::TooMuch) } else { Ok(missed) }
    }

    /// The offset the room has come to.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The highest offset of what was dropped or never here; 0: nothing was.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Publications here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The memory they hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_over(&self, now: Moment) -> bool {
        self.entries.len() > self.bounds.size as usize
            || self.bytes > self.bounds.bytes
            || self.next_expiry().is_some_and(|expiry| expiry <= now)
    }

    /// The place of the first publication above `offset`.
    fn first_after(&self, offset: u64) -> usize {
        self.entries.partition_point(|entry| entry.offset() <= offset)
    }

    /// The last `limit` publications before the place `end`; there would be more if fewer are here
    /// and some were dropped.
    fn ending_at(&self, end: usize, limit: usize) -> (Range<usize>, bool) {
        (end.saturating_sub(limit)..end, end < limit && self.dropped > 0)
    }
}
