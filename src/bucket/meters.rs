//! The meters of all users and addresses that send something, found by whoever they are.
//!
//! A connection asks for its meters once, before its first message, and keeps them; only that takes
//! a lock. Invariants: as long as a connection has a meter, everyone who asks gets the same; one that
//! nobody has is remembered until it has nothing left to remember, so that coming back makes nobody
//! new; and what is remembered is bounded: beyond [`METERS_MAX`], whoever is not there is forgotten.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::meter::Meter;
use crate::clock::Moment;
use crate::hash::{Map, Seed};

/// Locks are split so that cores seldom meet.
const PARTS: usize = 64;
/// Meters that a part keeps without looking for some to forget.
const FEW: usize = 256;
/// Meters that all parts together remember of those who are not there.
pub const METERS_MAX: usize = 1 << 20;

/// Meters by name.
#[derive(Debug)]
pub struct Meters<K> {
    parts: Vec<Mutex<Part<K>>>,
    seed: Seed,
}

#[derive(Debug)]
struct Part<K> {
    meters: Map<K, Arc<Meter>>,
    /// With so many, those that have nothing to remember are forgotten.
    sweep_at: usize,
}

impl<K: Eq + Hash> Meters<K> {
    /// No meters yet.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        let part = || Part { meters: Map::with_hasher(seed), sweep_at: FEW };
        Self { parts: (0..PARTS).map(|_| Mutex::new(part())).collect(), seed }
    }

    /// The meter of `name`.
    pub fn find(&self, name: K, now: Moment) -> Arc<Meter> {
        // The high half: the low bits choose the bucket in the map.
        let at = (self.seed.hash(&name) >> 32) as usize % PARTS;
        let mut part = self.parts[at].lock().unwrap_or_else(PoisonError::into_inner);
        if part.meters.len() >= part.sweep_at && !part.meters.contains_key(&name) {
            part.sweep(now);
        }
        match part.meters.entry(name) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |part: &Mutex<Part<K>>| {
            part.lock().unwrap_or_else(PoisonError::into_inner).meters.len()
        };
        self.parts.iter().map(len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash> Part<K> {
    /// Forgets who is not there and has nothing to be remembered by; of too many, whoever is not
    /// there. Costs nothing per message, and little per meter: it waits until there are twice as many.
    fn sweep(&mut self, now: Moment) {
        let is_there = |meter: &Arc<Meter>| Arc::strong_count(meter) > 1;
        self.meters.retain(|_, meter| is_there(meter) || !meter.is_idle(now));
        if self.meters.len() > METERS_MAX / PARTS {
            self.meters.retain(|_, meter| is_there(meter));
        }
        self.sweep_at = (self.meters.len() * 2).max(FEW);
        self.meters.shrink_to(self.sweep_at);
    }
}
