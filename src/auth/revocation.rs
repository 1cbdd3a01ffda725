//! Credentials that are taken back before they run out.
//!
//! Invariants: a revocation ends by itself, for a credential that has run out needs none; how many
//! there are is bounded, and one too many is refused rather than another forgotten.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::accepted::Accepted;
use crate::hash::{Map, Seed};
use crate::id::TenantId;

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// One credential, by its id.
    Token(Arc<str>),
    /// All of a user.
    User(Arc<str>),
    /// All of the tenant.
    Tenant,
}

/// An order to take credentials back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub what: Revoked,
    /// Of a user's or tenant's only those made before, in Unix time, so that a new login works
    /// (see [`issued_before_ms`]); one that does not say when it was made counts as older. A token's id
    /// is revoked whenever it was made.
    pub issued_before_ms: u64,
    /// Until when it holds, in Unix time.
    pub until_ms: u64,
}

/// Up to when what is taken back now may say that it was made
/// ([`issued_before_ms`](Revocation::issued_before_ms)): clocks may be `leeway_ms` apart, and nothing tells
/// what was made before by a clock that is ahead from what is made afterwards by one that is not. So what
/// says that it was made within the leeway is taken back too, on whichever core and node it is shown, and
/// whether or not it was shown before.
#[must_use]
pub fn issued_before_ms(now_unix_ms: u64, leeway_ms: u64) -> u64 {
    now_unix_ms.saturating_add(leeway_ms).saturating_add(1)
}

/// There are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRevocations;

/// The revocations that hold.
#[derive(Debug)]
pub struct Revocations {
    held: Map<(TenantId, Revoked), Held>,
    most: usize,
    /// Nothing runs out before.
    next_end_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    issued_before_ms: u64,
    until_ms: u64,
}

impl Revocations {
    /// None yet, and never more than `most`.
    #[must_use]
    pub fn new(seed: Seed, most: usize) -> Self {
        Self { held: Map::with_hasher(seed), most, next_end_ms: u64::MAX }
    }

    /// How many hold or held a moment ago.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Adds one. Of two for the same, the stricter times hold.
    ///
    /// # Errors
    /// There are too many that still hold.
    pub fn add(
        &mut self,
        revocation: Revocation,
        now_unix_ms: u64,
    ) -> Result<(), TooManyRevocations> {
        let Revocation { tenant, what, issued_before_ms, until_ms } = revocation;
        if until_ms <= now_unix_ms {
            return Ok(());
        }
        let key = (tenant, what);
        if let Some(held) = self.held.get_mut(&key) {
            held.issued_before_ms = held.issued_before_ms.max(issued_before_ms);
            held.until_ms = held.until_ms.max(until_ms);
            return Ok(());
        }
        if self.held.len() >= self.most {
            self.expire(now_unix_ms);
            if self.held.len() >= self.most {
                return Err(TooManyRevocations);
            }
        }
        self.next_end_ms = self.next_end_ms.min(until_ms);
        self.held.insert(key, Held { issued_before_ms, until_ms });
        Ok(())
    }

    /// Whether a credential was taken back.
    #[must_use]
    pub fn cover(&self, accepted: &Accepted, now_unix_ms: u64) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let holds = |what, whenever_made| {
            self.held.get(&(accepted.tenant, what)).is_some_and(|held| {
                let before = accepted.issued_at_ms.is_none_or(|at| at < held.issued_before_ms);
                now_unix_ms < held.until_ms && (whenever_made || before)
            })
        };
        accepted.token_id.as_ref().is_some_and(|id| holds(Revoked::Token(id.clone()), true))
            || accepted.user.as_ref().is_some_and(|user| holds(Revoked::User(user.clone()), false))
            || holds(Revoked::Tenant, false)
    }

    fn expire(&mut self, now_unix_ms: u64) {
        if now_unix_ms < self.next_end_ms {
            return;
        }
        self.held.retain(|_, held| now_unix_ms < held.until_ms);
        self.next_end_ms = self.held.values().map(|held| held.until_ms).min().unwrap_or(u64::MAX);
    }
}
