//! The keys that URLs name, as far as the control plane has brought them.
//!
//! Invariants: an unknown key makes a core ask at most once in a while, however many tokens name
//! one; a name is said to be unknown only once the source was asked since it was first shown, or has left
//! it out; keys that could not be fetched again for a day are believed no longer.

use std::mem;
use std::sync::Arc;

use super::cache::Key;
use crate::auth::key::{KEYS_MAX, KeySet, VerifyingKey, jwk_set};
use crate::auth::policy::{KeySource, Policy};
use crate::auth::question::SourceId;
use crate::auth::refusal::Refusal;
use crate::clock::Moment;
use crate::hash::Seed;

/// How long after an answer the same URL is asked for again because of an unknown key. Who shows one that is
/// newer meanwhile is told to come back.
const AGAIN_MS: u64 = 10_000;
/// How long after it could not be fetched.
const FAILED_AGAIN_MS: u64 = 2_000;
/// For how long keys are believed that cannot be fetched again.
const BELIEVED_MS: u64 = 24 * 60 * 60 * 1_000;

/// Names of keys that a source is asked for at once.
const SOUGHT_MAX: usize = 16;
/// Names of keys that a source is known not to have: as many as a set may have, all of them withdrawn, and
/// some more.
const MISSING_MAX: usize = KEYS_MAX + SOUGHT_MAX;

/// What is known of each source.
#[derive(Debug)]
pub(super) struct Sources {
    all: Vec<Source>,
    seed: Seed,
}

/// Names are known by their hashes: a token may say any.
#[derive(Debug, Default)]
struct Source {
    /// As it was fetched last.
    text: Option<Arc<str>>,
    keys: Vec<VerifyingKey>,
    /// When it was fetched last.
    fetched_at: Moment,
    /// When it could last not be fetched.
    failed_at: Option<Moment>,
    /// What it was asked for since.
    sought: Vec<Key>,
    /// What it did not have when it was asked for it, or has no more; the latest last.
    missing: Vec<Key>,
}

/// Whether a source should be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It may know more.
    Asking,
    /// It was asked a moment ago and did not answer, or not about this.
    Waiting,
    /// It has said all it knows.
    Nothing,
}

impl Sources {
    pub(super) fn new(policy: &Policy, seed: Seed) -> Self {
        Self { all: policy.sources().map(|_| Source::default()).collect(), seed }
    }

    /// The keys of a source that are still believed.
    pub(super) fn keys(&self, id: SourceId, now: Moment) -> &[VerifyingKey] {
        match self.all.get(usize::from(id.0)) {
            Some(source) if now < source.fetched_at.plus_ms(BELIEVED_MS) => &source.keys,
            _ => &[],
        }
    }

    /// What a name of a key is known by.
    pub(super) fn name(&self, key_id: &str) -> Key {
        Key::of(self.seed, false, key_id)
    }

    /// Whether to ask for keys because none of those known, under this name, fits.
    pub(super) fn worth(&self, id: SourceId, key_id: Option<&str>, now: Moment) -> Worth {
        let Some(source) = self.all.get(usize::from(id.0)) else { return Worth::Nothing };
        let has_failed = source.failed_at.is_some_and(|at| now < at.plus_ms(FAILED_AGAIN_MS));
        let is_believed = now < source.fetched_at.plus_ms(BELIEVED_MS);
        if source.text.is_none() || !is_believed {
            return if has_failed { Worth::Waiting } else { Worth::Asking };
        }
        let Some(key_id) = key_id else { return Worth::Nothing };
        if source.keys.iter().any(|key| key.id() == Some(key_id)) {
            return Worth::Nothing;
        }
        if !has_failed && now >= source.fetched_at.plus_ms(AGAIN_MS) {
            return Worth::Asking;
        }
        match source.missing.contains(&self.name(key_id)) {
            true => Worth::Nothing,
            // It may be newer than what was fetched.
            false => Worth::Waiting,
        }
    }

    /// A source is asked because of this name; of one too many it is not known whether it is there.
    pub(super) fn seek(&mut self, id: SourceId, name: Option<Key>) {
        let source = self.all.get_mut(usize::from(id.0)).filter(|it| it.sought.len() < SOUGHT_MAX);
        if let Some((source, name)) = source.zip(name)
            && !source.sought.contains(&name)
        {
            source.sought.push(name);
        }
    }

    /// Takes an answer; true if other keys are known now than before.
    pub(super) fn learn(
        &mut self,
        now: Moment,
        id: SourceId,
        about: &KeySource,
        answer: &Result<Arc<str>, Refusal>,
    ) -> bool {
        let seed = self.seed;
        let Some(source) = self.all.get_mut(usize::from(id.0)) else { return false };
        let Ok(text) = answer else {
            source.failed_at = Some(now);
            return false;
        };
        let mut withdrawn = Vec::new();
        let is_new = source.text.as_ref() != Some(text);
        if is_new {
            // Without any key, too: those that were there are withdrawn.
            let Ok(KeySet { keys, .. }) = jwk_set(text, about.algorithm, true) else {
                source.failed_at = Some(now);
                return false;
            };
            withdrawn = source.names(seed);
            source.text = Some(Arc::clone(text));
            source.keys = keys;
        }
        source.fetched_at = now;
        source.failed_at = None;
        source.miss(withdrawn, seed);
        is_new
    }
}

impl Source {
    fn names(&self, seed: Seed) -> Vec<Key> {
        self.keys.iter().filter_map(VerifyingKey::id).map(|id| Key::of(seed, false, id)).collect()
    }

    /// Notes what the set has not: of what it was asked for, and of what it had.
    fn miss(&mut self, withdrawn: Vec<Key>, seed: Seed) {
        let known = self.names(seed);
        for name in withdrawn.into_iter().chain(mem::take(&mut self.sought)) {
            self.missing.retain(|other| *other != name);
            self.missing.push(name);
        }
        self.missing.retain(|name| !known.contains(name));
        let over = self.missing.len().saturating_sub(MISSING_MAX);
        self.missing.drain(..over);
    }
}
