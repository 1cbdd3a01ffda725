//! The keys that URLs name, as far as the control plane has brought them.
//!
//! Invariants: an unknown key makes a core ask at most once in a while, however many tokens name
//! one; keys that could not be fetched again for a day are believed no longer.

use std::sync::Arc;

use crate::auth::key::{KeySet, VerifyingKey, jwk_set};
use crate::auth::policy::{KeySource, Policy};
use crate::auth::question::SourceId;
use crate::auth::refusal::Refusal;
use crate::clock::Moment;

/// How long after an answer the same URL is asked for again because of an unknown key.
const AGAIN_MS: u64 = 10_000;
/// How long after it could not be fetched.
const FAILED_AGAIN_MS: u64 = 2_000;
/// For how long keys are believed that cannot be fetched again.
const BELIEVED_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is known of each source.
#[derive(Debug)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug, Default)]
struct Source {
    /// As it was fetched last.
    text: Option<Arc<str>>,
    keys: Vec<VerifyingKey>,
    /// When it was fetched last.
    fetched_at: Moment,
    /// When it could last not be fetched.
    failed_at: Option<Moment>,
}

/// Whether a source should be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It may know more.
    Asking,
    /// It was asked a moment ago and did not answer.
    Waiting,
    /// It has said all it knows.
    Nothing,
}

impl Sources {
    pub(super) fn new(policy: &Policy) -> Self {
        Self(policy.sources().map(|_| Source::default()).collect())
    }

    /// The keys of a source that are still believed.
    pub(super) fn keys(&self, id: SourceId, now: Moment) -> &[VerifyingKey] {
        match self.0.get(usize::from(id.0)) {
            Some(source) if now < source.fetched_at.plus_ms(BELIEVED_MS) => &source.keys,
            _ => &[],
        }
    }

    /// Whether to ask for keys because none of those known, under this name, fits.
    pub(super) fn worth(&self, id: SourceId, key_id: Option<&str>, now: Moment) -> Worth {
        let Some(source) = self.0.get(usize::from(id.0)) else { return Worth::Nothing };
        if source.failed_at.is_some_and(|at| now < at.plus_ms(FAILED_AGAIN_MS)) {
            return if source.text.is_none() { Worth::Waiting } else { Worth::Nothing };
        }
        let known = key_id.is_none_or(|id| source.keys.iter().any(|key| key.id() == Some(id)));
        match source.text {
            Some(_) if known => Worth::Nothing,
            Some(_) if now < source.fetched_at.plus_ms(AGAIN_MS) => Worth::Nothing,
            Some(_) | None => Worth::Asking,
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
        let Some(source) = self.0.get_mut(usize::from(id.0)) else { return false };
        let Ok(text) = answer else {
            source.failed_at = Some(now);
            return false;
        };
        if source.text.as_ref() == Some(text) {
            source.fetched_at = now;
            source.failed_at = None;
            return false;
        }
        // Without any key, too: those that were there are withdrawn.
        let Ok(KeySet { keys, .. }) = jwk_set(text, about.algorithm, true) else {
            source.failed_at = Some(now);
            return false;
        };
        *source = Source { text: Some(Arc::clone(text)), keys, fetched_at: now, failed_at: None };
        true
    }
}
