//! Which keys were published with lately, and what came of it.
//!
//! Invariants: a key that was noted is found until its window has passed, and not a moment longer;
//! there are never more than the capacity, and none makes room for another; noting, finding and
//! forgetting are O(1) each; the first answer for a key stands.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Moment;
use crate::hash::{Map, Seed};

/// The keys of one room.
#[derive(Debug)]
pub struct Idempotency {
    window_ms: u64,
    capacity: usize,
    offsets: Map<Arc<str>, u64>,
    /// The same keys in the order they were noted, which is the order they expire in.
    expiries: VecDeque<(Moment, Arc<str>)>,
}

impl Idempotency {
    /// Remembers at most `capacity` keys for `window_ms`; uses no memory before there is one.
    #[must_use]
    pub fn new(seed: Seed, window_ms: u64, capacity: usize) -> Self {
        let offsets = Map::with_hasher(seed);
        Self { window_ms, capacity, offsets, expiries: VecDeque::new() }
    }

    /// The offset of the first publish with `key` within the window.
    pub fn find(&mut self, key: &str, now: Moment) -> Option<u64> {
        self.expire(now);
        self.offsets.get(key).copied()
    }

    /// Whether there are as many as may be, all within their window: no other can be noted.
    pub fn is_full(&mut self, now: Moment) -> bool {
        self.expire(now);
        self.expiries.len() >= self.capacity
    }

    /// Notes what came of the first publish with `key`; one that is known keeps what it has. False,
    /// and nothing is noted, if there is no place for it.
    pub fn note(&mut self, key: &str, offset: u64, now: Moment) -> bool {
        if self.find(key, now).is_some() {
            return true;
        }
        if self.is_full(now) {
            return false;
        }
        let key = Arc::<str>::from(key);
        self.expiries.push_back((now.plus_ms(self.window_ms), Arc::clone(&key)));
        self.offsets.insert(key, offset);
        true
    }

    /// Forgets what is past its window; gives memory back when nothing is left.
    pub fn expire(&mut self, now: Moment) {
        while self.next_expiry().is_some_and(|expiry| expiry <= now) {
            self.forget_oldest();
        }
        if self.expiries.is_empty() {
            self.expiries.shrink_to_fit();
            self.offsets.shrink_to_fit();
        }
    }

    /// When the next key is to be forgotten.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        self.expiries.front().map(|(expiry, _)| *expiry)
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.expiries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expiries.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.expiries.pop_front() {
            self.offsets.remove(&key);
        }
    }
}
