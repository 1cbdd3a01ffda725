//! One core's judgement of credentials, and what it remembers of earlier ones.

use std::sync::Arc;

use super::accepted::Accepted;
use super::custom::Proof;
use super::policy::Policy;
use super::question::{Answer, Question};
use super::refusal::Refusal;
use super::revocation::{Revocation, Revocations, TooManyRevocations};
use crate::hash::Seed;

/// What a core finds of a credential.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is good.
    Accepted(Arc<Accepted>),
    /// It is not.
    Refused(Refusal),
    /// Ask the control plane, learn the answer, and judge again.
    Ask(Question),
}

/// How much a gate remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Credentials that were judged.
    pub cached: usize,
    /// Revocations that hold.
    pub revocations: usize,
    /// Questions without an answer yet.
    pub questions: usize,
}

/// One core's judgement of credentials.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    revocations: Revocations,
}

impl Gate {
    /// A gate that remembers nothing yet.
    #[must_use]
    pub fn new(policy: Arc<Policy>, limits: Limits, seed: Seed) -> Self {
        Self { policy, revocations: Revocations::new(seed, limits.revocations) }
    }

    /// What it goes by.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Goes by another policy from now on. Revocations stay.
    pub fn replace(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    /// Judges a credential.
    pub fn judge(&mut self, now_unix_ms: u64, proof: &Proof<'_>) -> Verdict {
        let custom = self.policy.custom().and_then(|custom| custom.judge(now_unix_ms, proof));
        match custom.unwrap_or(Err(Refusal::Unsupported)) {
            Ok(accepted) if self.revocations.cover(&accepted, now_unix_ms) => {
                Verdict::Refused(Refusal::Revoked)
            }
            Ok(accepted) => Verdict::Accepted(accepted),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Learns what the control plane found out.
    pub fn learn(&mut self, _now_unix_ms: u64, answer: &Answer) -> bool {
        let (Answer::Keys { policy, .. } | Answer::Identity { policy, .. }) = answer;
        *policy == self.policy.number()
    }

    /// Takes credentials back. Open connections are asked about by [`is_revoked`](Self::is_revoked).
    ///
    /// # Errors
    /// There are too many.
    pub fn revoke(
        &mut self,
        now_unix_ms: u64,
        revocation: Revocation,
    ) -> Result<(), TooManyRevocations> {
        self.revocations.add(revocation, now_unix_ms)
    }

    /// Whether what was accepted once has been taken back.
    #[must_use]
    pub fn is_revoked(&self, now_unix_ms: u64, accepted: &Accepted) -> bool {
        self.revocations.cover(accepted, now_unix_ms)
    }
}
