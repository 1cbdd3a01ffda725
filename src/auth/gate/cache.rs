//! What was found of credentials, for a while.
//!
//! Two generations: what is found or used goes to the young one; when that is full it becomes the
//! old one, and what was in the old one is forgotten. So forgetting costs nothing and what is used
//! stays.
//!
//! Invariant: what is remembered is forgotten in its time, however the wall clock jumps; what was
//! accepted also ends when the wall clock says so.

use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::auth::accepted::Accepted;
use crate::auth::refusal::Refusal;
use crate::clock::{Moment, Now};
use crate::hash::{Map, Seed};

/// What was found of a credential.
pub(super) type Judged = Result<Arc<Accepted>, Refusal>;

/// A credential, by a hash with a key that nobody outside knows: neither can it be read back, nor can
/// two with the same hash be made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u128);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    pub(super) fn of(seed: Seed, is_cookie: bool, secret: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(seed.0, seed.1);
        hasher.write(secret.as_bytes());
        hasher.write_u8(u8::from(is_cookie));
        Self(hasher.finish128().as_u128())
    }
}

#[derive(Debug)]
struct Entry {
    judged: Judged,
    until: Moment,
    until_unix_ms: u64,
}

impl Entry {
    fn found(&self, now: Now) -> Option<Judged> {
        let is_over = self.judged.is_ok() && self.until_unix_ms <= now.unix_ms;
        (now.moment < self.until && !is_over).then(|| self.judged.clone())
    }
}

/// What was found of credentials.
#[derive(Debug)]
pub(super) struct Cache<K> {
    accepted: Generations<K>,
    refused: Generations<K>,
}

#[derive(Debug)]
struct Generations<K> {
    young: Map<K, Entry>,
    old: Map<K, Entry>,
    most: usize,
}

impl<K: Eq + Hash + Copy> Cache<K> {
    /// At most so many that were accepted, and as many that were refused.
    pub(super) fn new(seed: Seed, most: usize) -> Self {
        let generations = || Generations {
            young: Map::with_hasher(seed),
            old: Map::with_hasher(seed),
            most: most.div_ceil(2),
        };
        Self { accepted: generations(), refused: generations() }
    }

    pub(super) fn len(&self) -> usize {
        self.accepted.len() + self.refused.len()
    }

    pub(super) fn clear(&mut self) {
        self.accepted.clear();
        self.refused.clear();
    }

    pub(super) fn get(&mut self, key: &K, now: Now) -> Option<Judged> {
        let found = self.accepted.get(key, now);
        found.or_else(|| self.refused.get(key, now))
    }

    /// As [`get`](Self::get), and forgets it.
    pub(super) fn take(&mut self, key: &K, now: Now) -> Option<Judged> {
        let found = self.get(key, now);
        self.accepted.remove(key);
        self.refused.remove(key);
        found
    }

    /// Remembers it until then, in Unix time; false if it holds no longer, or nothing is remembered.
    pub(super) fn put(&mut self, key: K, judged: Judged, now: Now, until_unix_ms: u64) -> bool {
        if until_unix_ms <= now.unix_ms {
            return false;
        }
        let until = now.moment.plus_ms(until_unix_ms - now.unix_ms);
        let (side, other) = match judged {
            Ok(_) => (&mut self.accepted, &mut self.refused),
            Err(_) => (&mut self.refused, &mut self.accepted),
        };
        other.remove(&key);
        side.put(key, Entry { judged, until, until_unix_ms })
    }
}

impl<K: Eq + Hash + Copy> Generations<K> {
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn get(&mut self, key: &K, now: Now) -> Option<Judged> {
        if let Some(entry) = self.young.get(key) {
            return entry.found(now);
        }
        if self.old.is_empty() {
            return None;
        }
        let entry = self.old.remove(key)?;
        let judged = entry.found(now)?;
        self.put(*key, entry);
        Some(judged)
    }

    fn put(&mut self, key: K, entry: Entry) -> bool {
        if self.most == 0 {
            return false;
        }
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.old.remove(&key);
        self.young.insert(key, entry);
        true
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}
