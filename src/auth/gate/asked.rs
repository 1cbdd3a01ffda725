//! Which credentials others are being asked about.

use crate::auth::question::Fingerprint;
use crate::hash::{Map, Seed};

/// After so long no answer comes any more.
const LOST_MS: u64 = 30_000;

/// Credentials that others are being asked about, and since when; never more than a limit.
#[derive(Debug)]
pub(super) struct Asked {
    since_ms: Map<Fingerprint, u64>,
    most: usize,
}

impl Asked {
    pub(super) fn new(seed: Seed, most: usize) -> Self {
        Self { since_ms: Map::with_hasher(seed), most }
    }

    pub(super) fn len(&self) -> usize {
        self.since_ms.len()
    }

    pub(super) fn clear(&mut self) {
        self.since_ms.clear();
    }

    /// Notes a question; false if there are too many already.
    pub(super) fn note(&mut self, fingerprint: Fingerprint, now_unix_ms: u64) -> bool {
        if !self.since_ms.contains_key(&fingerprint) && self.since_ms.len() >= self.most {
            self.since_ms.retain(|_, since_ms| now_unix_ms < since_ms.saturating_add(LOST_MS));
            if self.since_ms.len() >= self.most {
                return false;
            }
        }
        self.since_ms.entry(fingerprint).or_insert(now_unix_ms);
        true
    }

    pub(super) fn remove(&mut self, fingerprint: &Fingerprint) {
        self.since_ms.remove(fingerprint);
    }
}
