//! One core's judgement of credentials, and what it remembers of earlier ones.
//!
//! Invariants: a credential is good only as long as it says, remembered or not; what is refused is
//! remembered apart from what is accepted, so that a flood of bad ones drives out no good one;
//! everything remembered goes when the policy is replaced, but for revocations; a wall clock that jumps
//! makes nothing be remembered for longer, and no refusal be forgotten.

mod asked;
mod cache;
mod examine;
mod sources;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::accepted::Accepted;
use super::custom::Proof;
use super::policy::Policy;
use super::question::{Answer, Fingerprint, Question, SourceId};
use super::refusal::Refusal;
use super::revocation::{Revocation, Revocations, TooManyRevocations};
use super::room_token::RoomGrant;
use super::token::{Header, TOKEN_BYTES};
use crate::clock::Now;
use crate::hash::Seed;
use crate::id::TenantId;
use crate::room::name::RoomName;
use crate::ws::handshake::CredentialKind;

pub(super) use examine::TRIES_MAX;

use asked::Asked;
use cache::{Cache, Judged, Key};
use sources::Sources;

/// For how long a refusal is remembered.
const REFUSED_MS: u64 = 10_000;
/// For how long an answer that is not remembered waits for whoever it was asked for.
const HANDED_MS: u64 = 10_000;
/// For how long somebody who did not answer is not asked about the same credential again.
const UNANSWERED_MS: u64 = 1_000;
/// For how long a credential without an end is remembered.
const ENDLESS_MS: u64 = 60 * 60 * 1_000;

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

/// What a core finds of a room token.
#[derive(Clone, Debug)]
pub enum RoomVerdict {
    /// It is good.
    Granted(RoomGrant),
    /// It is not.
    Refused(Refusal),
    /// Ask the control plane, learn the answer, and judge again.
    Ask(Question),
}

/// Why there is no result yet, or none.
#[derive(Debug)]
enum Stop {
    /// For what the credential itself is.
    Refused(Refusal),
    /// Nothing shows that it is one of ours, so somebody else may know it.
    Unknown(Refusal),
    /// For what was said of it, which is remembered with the answer.
    Said(Refusal),
    Ask(Question),
    /// The keys of a URL have to be had, because of this name.
    Seek(SourceId, Option<Key>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How much a gate remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Credentials that were accepted, and as many that were refused.
    pub cached: usize,
    /// Revocations that hold.
    pub revocations: usize,
    /// Questions about credentials without an answer yet.
    pub questions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cached: 16_384, revocations: 100_000, questions: 1_024 }
    }
}

/// One core's judgement of credentials.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    revocations: Revocations,
    seed: Seed,
    cache: Cache<Key>,
    /// What others said.
    said: Cache<Fingerprint>,
    /// What others said that holds once: the next who shows the credential takes it along.
    handed: Cache<Fingerprint>,
    asked: Asked,
    sources: Sources,
    /// Of the last token that was accepted.
    header: Option<Header>,
}

impl Gate {
    /// A gate that remembers nothing yet. The seed is a secret of the process.
    #[must_use]
    pub fn new(policy: Arc<Policy>, limits: Limits, seed: Seed) -> Self {
        Self {
            revocations: Revocations::new(seed, limits.revocations),
            seed,
            cache: Cache::new(seed, limits.cached),
            said: Cache::new(seed, limits.cached),
            handed: Cache::new(seed, limits.questions),
            asked: Asked::new(seed, limits.questions),
            sources: Sources::new(&policy, seed),
            header: None,
            policy,
        }
    }

    /// What it goes by.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Goes by another policy from now on. Revocations stay.
    pub fn replace(&mut self, policy: Arc<Policy>) {
        self.cache.clear();
        self.said.clear();
        self.handed.clear();
        self.asked.clear();
        self.sources = Sources::new(&policy, self.seed);
        self.policy = policy;
    }

    /// Judges a credential.
    pub fn judge(&mut self, now: Now, proof: &Proof<'_>) -> Verdict {
        if let Some(custom) = &self.policy.setup.custom
            && let Some(judged) = custom.judge(now.unix_ms, proof)
        {
            return self.settle(now.unix_ms, proof.wanted_tenant, judged);
        }
        if proof.secret.len() > TOKEN_BYTES {
            return Verdict::Refused(Refusal::TooLong);
        }
        let key = Key::of(self.seed, proof.kind == CredentialKind::Cookie, proof.secret);
        let judged = match self.cache.get(&key, now) {
            Some(judged) => judged,
            None => match self.examine(now, proof) {
                Ok((accepted, until_ms)) => {
                    self.cache.put(key, Ok(Arc::clone(&accepted)), now, until_ms);
                    Ok(accepted)
                }
                Err(Stop::Ask(question)) => return Verdict::Ask(question),
                Err(Stop::Seek(source, name)) => return Verdict::Ask(self.seek(source, name)),
                Err(Stop::Said(refusal)) => Err(refusal),
                Err(Stop::Refused(refusal) | Stop::Unknown(refusal)) => {
                    if is_lasting(refusal) {
                        let until_ms = now.unix_ms + REFUSED_MS;
                        self.cache.put(key, Err(refusal), now, until_ms);
                    }
                    Err(refusal)
                }
            },
        };
        self.settle(now.unix_ms, proof.wanted_tenant, judged)
    }

    /// What holds for this request beside the credential itself.
    fn settle(&self, now_unix_ms: u64, wanted_tenant: Option<&str>, judged: Judged) -> Verdict {
        match judged {
            Err(refusal) => Verdict::Refused(refusal),
            Ok(accepted) if wanted_tenant.is_some_and(|name| name != &*accepted.tenant_name) => {
                Verdict::Refused(Refusal::TenantMismatch)
            }
            Ok(accepted) if self.revocations.cover(&accepted, now_unix_ms) => {
                Verdict::Refused(Refusal::Revoked)
            }
            Ok(accepted) => Verdict::Accepted(accepted),
        }
    }

    /// Judges a token for one room, shown by someone of a tenant.
    pub fn judge_room(
        &mut self,
        now: Now,
        token: &str,
        tenant: TenantId,
        room: &RoomName,
        user: Option<&str>,
    ) -> RoomVerdict {
        match self.examine_room(now, token, tenant, room, user) {
            Ok(grant) => RoomVerdict::Granted(grant),
            Err(Stop::Refused(refusal) | Stop::Unknown(refusal) | Stop::Said(refusal)) => {
                RoomVerdict::Refused(refusal)
            }
            Err(Stop::Ask(question)) => RoomVerdict::Ask(question),
            Err(Stop::Seek(source, name)) => RoomVerdict::Ask(self.seek(source, name)),
        }
    }

    fn seek(&mut self, source: SourceId, name: Option<Key>) -> Question {
        self.sources.seek(source, name);
        Question::Keys { policy: self.policy.number(), source }
    }

    /// Learns what the control plane found out; false if it was no answer for this gate.
    pub fn learn(&mut self, now: Now, answer: &Answer) -> bool {
        match answer {
            Answer::Keys { policy, .. } | Answer::Identity { policy, .. }
                if *policy != self.policy.number() =>
            {
                return false;
            }
            Answer::Keys { source, keys, .. } => {
                let Some(about) = self.policy.source(*source) else { return false };
                if self.sources.learn(now.moment, *source, about, keys) {
                    // What a key signed that is no longer there is good no more.
                    self.cache.clear();
                }
            }
            Answer::Identity { fingerprint, whom, said, .. } => {
                self.asked.remove(fingerprint);
                let (judged, until_ms) = self.read_identity(now.unix_ms, *whom, said);
                if !self.said.put(*fingerprint, judged.clone(), now, until_ms) {
                    self.handed.put(*fingerprint, judged, now, now.unix_ms + HANDED_MS);
                }
            }
        }
        true
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

    /// Credentials and answers that are remembered now.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.cache.len() + self.said.len() + self.handed.len() + self.asked.len()
    }
}

/// Whether the same credential would be refused again for the same reason, whoever else is asked.
fn is_lasting(refusal: Refusal) -> bool {
    !refusal.is_temporary() && !matches!(refusal, Refusal::NotYet | Refusal::UnknownKey)
}
