//! Token buckets in whole numbers: how often something may happen, and what becomes of those who do
//! not listen.
//!
//! Invariants:
//! - Exact: nothing is rounded until a waiting time is told, and that is rounded up. Whoever waits as
//!   long as told, and is alone, is let through.
//! - Over any stretch of time, a bucket lets through at most its burst and what its rate yields in
//!   that time; a single cost above the burst needs a full bucket and leaves a debt.
//! - What is refused costs nothing.

mod limiter;
mod meter;
mod meters;
#[cfg(test)]
mod tests;

use crate::clock::Moment;

pub use limiter::{Limiter, Limits, Verdict};
pub use meter::Meter;
pub use meters::{METERS_MAX, Meters};

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// How much a bucket yields, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens that come back in a period; 0: no limit.
    rate: u32,
    /// Tokens a full bucket holds; at least 1.
    burst: u32,
    /// The period.
    period_us: u64,
}

impl Quota {
    /// Refuses nothing.
    pub const UNLIMITED: Self = Self { rate: 0, burst: 1, period_us: SECOND_US };

    /// `rate` a second, and `burst` at once (at least one); a rate of 0 is no limit.
    #[must_use]
    pub fn per_second(rate: u32, burst: u32) -> Self {
        Self { rate, burst: burst.max(1), period_us: SECOND_US }
    }

    /// `rate` a minute, all of which may come at once; a rate of 0 is no limit.
    #[must_use]
    pub fn per_minute(rate: u32) -> Self {
        Self { rate, burst: rate.max(1), period_us: MINUTE_US }
    }

    /// Whether it refuses nothing.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.rate == 0
    }

    /// What the bucket holds, in shares: a token is `period_us` of them, a microsecond yields `rate`.
    fn capacity(self) -> u64 {
        u64::from(self.burst) * self.period_us
    }
}

/// What one peer has used of a [`Quota`]. A new one is full of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Shares missing from a full bucket; above its capacity is a debt.
    spent: u64,
    /// When that was so.
    at: Moment,
}

impl Bucket {
    /// Takes `cost` tokens.
    ///
    /// # Errors
    /// If there are not enough: the milliseconds after which there are, if nobody else takes any.
    pub fn take(&mut self, quota: Quota, now: Moment, cost: u32) -> Result<(), u64> {
        self.check(quota, now, cost)?;
        self.spend(quota, cost);
        Ok(())
    }

    /// Whether `cost` tokens are there, without taking them. Brings the bucket up to `now`.
    ///
    /// # Errors
    /// If there are not enough: the milliseconds after which there are, if nobody else takes any.
    pub fn check(&mut self, quota: Quota, now: Moment, cost: u32) -> Result<(), u64> {
        if quota.is_unlimited() {
            return Ok(());
        }
        let rate = u64::from(quota.rate);
        self.spent = self.spent.saturating_sub(now.since_us(self.at).saturating_mul(rate));
        self.at = self.at.max(now);

        let needed = u64::from(cost.min(quota.burst)) * quota.period_us;
        let missing = (self.spent + needed).saturating_sub(quota.capacity());
        if missing == 0 { Ok(()) } else { Err(missing.div_ceil(rate).div_ceil(1_000)) }
    }

    /// Takes what [`check`](Self::check) has found to be there.
    fn spend(&mut self, quota: Quota, cost: u32) {
        if !quota.is_unlimited() {
            self.spent += u64::from(cost) * quota.period_us;
        }
    }

    /// Whether it is full again at `now`, and so no different from a new one.
    #[must_use]
    pub fn is_full(&self, quota: Quota, now: Moment) -> bool {
        let yielded = now.since_us(self.at).saturating_mul(u64::from(quota.rate));
        quota.is_unlimited() || self.spent <= yielded
    }
}
