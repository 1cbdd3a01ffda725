//! What many connections have sent together, counted by all cores at once.
//!
//! A bucket is one atomic word: the moment at which it will be full again. To take from it is a load
//! and a compare-and-swap, and nothing is locked.
//!
//! Invariants:
//! - Over any stretch of time, and however the messages are divided among cores, a bucket lets
//!   through at most its burst and what its rate yields in that time. A core whose clock is behind
//!   lets through less, never more; every rounding is against the sender.
//! - A message passes all buckets, or what it took from some is given back.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Limits, Quota, Verdict};
use crate::clock::Moment;

/// Time is counted in sixteenths of a nanosecond, so that what a byte takes at a gigabyte a second is
/// not rounded away; they last for 36 years.
const US: u64 = 16_000;
const MS: u64 = 1_000 * US;

/// What a peer with many connections has used of its [`Limits`]. A new one has used nothing.
#[derive(Debug, Default)]
pub struct Meter {
    messages_by_second: Cell,
    messages_by_minute: Cell,
    bytes: Cell,
    refusals: Cell,
    /// Until when nothing passes.
    banned_until: AtomicU64,
}

/// A bucket in one word: when it is full again.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Meter {
    /// Judges one message of `bytes` and counts it if it passes.
    pub fn take(&self, limits: &Limits, now: Moment, bytes: u32) -> Verdict {
        let now = now.us.saturating_mul(US);
        let banned_until = self.banned_until.load(Relaxed);
        if now < banned_until {
            let retry_after_ms = (banned_until - now).div_ceil(MS);
            return Verdict::Banned { retry_after_ms, began: false };
        }
        let wait = match self.pass(limits, now, bytes) {
            Ok(()) => return Verdict::Pass,
            Err(wait) => wait.div_ceil(MS).max(1),
        };
        if limits.ban_ms == 0 || self.refusals.take(limits.refusals, now, 1).is_ok() {
            return Verdict::Refused { retry_after_ms: wait };
        }
        let until = now.saturating_add(limits.ban_ms.saturating_mul(MS));
        // Of several cores that see the last straw, one begins the ban.
        let began = self.banned_until.fetch_max(until, Relaxed) <= now;
        if began {
            // After the ban the peer begins anew.
            self.refusals.0.store(0, Relaxed);
        }
        Verdict::Banned { retry_after_ms: limits.ban_ms, began }
    }

    /// Takes back what a message took that has not passed elsewhere.
    pub fn give_back(&self, limits: &Limits, bytes: u32) {
        self.messages_by_second.give_back(limits.messages_by_second, 1);
        self.messages_by_minute.give_back(limits.messages_by_minute, 1);
        self.bytes.give_back(limits.bytes, bytes);
    }

    /// Whether it has nothing left to remember, so that it may be forgotten.
    #[must_use]
    pub fn is_idle(&self, now: Moment) -> bool {
        let now = now.us.saturating_mul(US);
        let cells =
            [&self.messages_by_second, &self.messages_by_minute, &self.bytes, &self.refusals];
        self.banned_until.load(Relaxed) <= now
            && cells.into_iter().all(|cell| cell.0.load(Relaxed) <= now)
    }

    /// Takes from all buckets, or from none and says how long to wait for the slowest.
    fn pass(&self, limits: &Limits, now: u64, bytes: u32) -> Result<(), u64> {
        let wanted = [
            (&self.messages_by_second, limits.messages_by_second, 1),
            (&self.messages_by_minute, limits.messages_by_minute, 1),
            (&self.bytes, limits.bytes, bytes),
        ];
        for (at, (cell, quota, cost)) in wanted.iter().enumerate() {
            if cell.take(*quota, now, *cost).is_ok() {
                continue;
            }
            for (cell, quota, cost) in &wanted[..at] {
                cell.give_back(*quota, *cost);
            }
            let waits = wanted.iter().map(|(cell, quota, cost)| cell.wait(*quota, now, *cost));
            return Err(waits.max().unwrap_or(0));
        }
        Ok(())
    }
}

impl Cell {
    /// Takes `cost` tokens, if they are there.
    fn take(&self, quota: Quota, now: u64, cost: u32) -> Result<(), u64> {
        if quota.is_unlimited() {
            return Ok(());
        }
        let (spent, latest) = (quota.time_of(cost), quota.latest(now, cost));
        let spend = |full: u64| (full <= latest).then(|| full.max(now).saturating_add(spent));
        self.0.fetch_update(Relaxed, Relaxed, spend).map(|_| ())
    }

    /// In how long `cost` tokens are there, if nobody else takes any.
    fn wait(&self, quota: Quota, now: u64, cost: u32) -> u64 {
        if quota.is_unlimited() {
            return 0;
        }
        self.0.load(Relaxed).saturating_sub(quota.latest(now, cost))
    }

    fn give_back(&self, quota: Quota, cost: u32) {
        if !quota.is_unlimited() {
            // It was at least so late when this was taken, and has only become later.
            self.0.fetch_sub(quota.time_of(cost), Relaxed);
        }
    }
}

impl Quota {
    /// When a bucket must be full again, for `cost` tokens to be in it now. A single cost above what
    /// it holds needs a full one, and leaves a debt.
    fn latest(self, now: u64, cost: u32) -> u64 {
        now.saturating_add(self.time_of(self.burst - cost.min(self.burst)))
    }

    /// How long it takes until so many tokens have come back. A token's time is rounded up, and that
    /// of several is a multiple of it: so a burst is let through whole.
    fn time_of(self, tokens: u32) -> u64 {
        let token = (self.period_us * US).div_ceil(u64::from(self.rate.max(1)));
        token.saturating_mul(tokens.into())
    }
}
