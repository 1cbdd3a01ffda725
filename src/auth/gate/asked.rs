//! Which credentials others are being asked about.

use crate::auth::question::Fingerprint;
use crate::clock::Moment;
use crate::hash::{Map, Seed};

/// After so long no answer comes any more.
const LOST_MS: u64 = 30_000;

/// Credentials that others are being asked about, and since when; never more than a limit.
#[derive(Debug)]
pub(super) struct Asked {
    since: Map<Fingerprint, Moment>,
    most: usize,
}

impl Asked {
    pub(super) fn new(seed: Seed, most: usize) -> Self {
        Self { since: Map::with_hasher(seed), most }
    }

    pub(super) fn len(&self) -> usize {
        self.since.len()
    }

    pub(super) fn clear(&mut self) {
        self.since.clear();
    }

    /// Notes a question; false if there are too many already.
    pub(super) fn note(&mut self, fingerprint: Fingerprint, now: Moment) -> bool {
        if !self.since.contains_key(&fingerprint) && self.since.len() >= self.most {
            self.since.retain(|_, since| now < since.plus_ms(LOST_MS));
            if self.since.len() >= self.most {
                return false;
            }
        }
        self.since.entry(fingerprint).or_insert(now);
        true
    }

    pub(super) fn remove(&mut self, fingerprint: &Fingerprint) {
        self.since.remove(fingerprint);
    }
}
