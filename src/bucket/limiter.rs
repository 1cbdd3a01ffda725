//! All limits on what one peer sends, and the ban for those who keep on.
//!
//! Invariants: a message passes all buckets or leaves none of them changed. Refused messages have a
//! bucket of their own, as large and as fast as that of messages; one refusal too many begins a ban.
//! So a peer that waits as it was told is never banned, one that goes on at more than twice what it
//! may is banned soon, and during a ban nothing is counted.
//! Control frames have a bucket of their own, too, as large and as fast as that of bytes: however much
//! a peer says, its signs of life are answered.

#[cfg(test)]
mod tests;

use super::{Bucket, Quota};
use crate::clock::Moment;
use crate::config::{Rate, TenantRows};

/// What one peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(super) messages_by_second: Quota,
    pub(super) messages_by_minute: Quota,
    pub(super) bytes: Quota,
    pub(super) refusals: Quota,
    /// How long a ban lasts; 0: nobody is banned.
    pub(super) ban_ms: u64,
}

/// What one peer has sent, as far as its [`Limits`] still care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limiter {
    messages_by_second: Bucket,
    messages_by_minute: Bucket,
    bytes: Bucket,
    control: Bucket,
    refusals: Bucket,
    banned_until: Moment,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the limits and was counted.
    Pass,
    /// It is over a limit.
    Refused {
        /// When the same message would pass.
        retry_after_ms: u64,
    },
    /// The peer is banned.
    Banned {
        /// How much longer.
        retry_after_ms: u64,
        /// This message brought the ban about.
        began: bool,
    },
}

impl Limits {
    /// The limits that a configuration asks for.
    #[must_use]
    pub fn new(rate: impl Into<Rate>) -> Self {
        let Rate { messages_per_second, burst, messages_per_minute, bytes_per_second, ban_ms } =
            rate.into();
        let by_second = Quota::per_second(messages_per_second, burst);
        let by_minute = Quota::per_minute(messages_per_minute);
        // Where only bytes are limited, refusals still need a measure: this is the default one.
        let fallback = Quota::per_second(100, 200);
        let refusals = [by_second, by_minute].into_iter().find(|quota| !quota.is_unlimited());
        Self {
            messages_by_second: by_second,
            messages_by_minute: by_minute,
            bytes: Quota::per_second(bytes_per_second, bytes_per_second),
            refusals: refusals.unwrap_or(fallback),
            ban_ms,
        }
    }

    /// So many in a second, all of which may come at once; 0: no limit.
    #[must_use]
    pub fn per_second(rate: u32) -> Self {
        Self::new(Rate {
            messages_per_second: rate,
            burst: rate,
            messages_per_minute: 0,
            bytes_per_second: 0,
            ban_ms: 0,
        })
    }

    /// So many in a minute; 0: no limit.
    #[must_use]
    pub fn per_minute(rate: u32) -> Self {
        Self::new(Rate {
            messages_per_second: 0,
            burst: 1,
            messages_per_minute: rate,
            bytes_per_second: 0,
            ban_ms: 0,
        })
    }

    /// Those of a tenant.
    #[must_use]
    pub fn of_tenant(rows: &TenantRows) -> Self {
        let &TenantRows {
            messages_per_second,
            burst,
            messages_per_minute,
            bytes_per_second,
            ban_ms,
            ..
        } = rows;
        Self::new(Rate {
            messages_per_second,
            burst: if burst == 0 { messages_per_second } else { burst },
            messages_per_minute,
            bytes_per_second,
            ban_ms,
        })
    }

    /// Whether it matters to them how much is sent, and not only how often.
    #[must_use]
    pub fn measures_bytes(&self) -> bool {
        !self.bytes.is_unlimited()
    }

    /// Whether they refuse nothing, so that nobody needs a [`Limiter`].
    #[must_use]
    pub fn are_off(&self) -> bool {
        [self.messages_by_second, self.messages_by_minute, self.bytes]
            .into_iter()
            .all(Quota::is_unlimited)
    }
}

impl Limiter {
    /// Judges one message of `bytes` and counts it if it passes.
    pub fn take(&mut self, limits: &Limits, now: Moment, bytes: u32) -> Verdict {
        let verdict = self.check(limits, now, bytes);
        if verdict == Verdict::Pass {
            self.spend(limits, bytes);
        }
        verdict
    }

    /// Judges one message of `bytes`, which counts only if it is refused: what passes here may be
    /// refused elsewhere.
    pub fn check(&mut self, limits: &Limits, now: Moment, bytes: u32) -> Verdict {
        if now < self.banned_until {
            return Verdict::Banned { retry_after_ms: self.ban_left_ms(now), began: false };
        }
        let waits = [
            self.messages_by_second.check(limits.messages_by_second, now, 1),
            self.messages_by_minute.check(limits.messages_by_minute, now, 1),
            self.bytes.check(limits.bytes, now, bytes),
        ];
        if let Some(retry_after_ms) = waits.into_iter().filter_map(Result::err).max() {
            return self.refuse(limits, now, retry_after_ms);
        }
        Verdict::Pass
    }

    /// Judges a control frame of `bytes` and counts it if it passes.
    pub fn take_control(&mut self, limits: &Limits, now: Moment, bytes: u32) -> Verdict {
        if now < self.banned_until {
            return Verdict::Banned { retry_after_ms: self.ban_left_ms(now), began: false };
        }
        match self.control.take(limits.bytes, now, bytes) {
            Ok(()) => Verdict::Pass,
            Err(retry_after_ms) => self.refuse(limits, now, retry_after_ms),
        }
    }

    /// Counts a message that [`check`](Self::check) has let pass.
    pub fn spend(&mut self, limits: &Limits, bytes: u32) {
        self.messages_by_second.spend(limits.messages_by_second, 1);
        self.messages_by_minute.spend(limits.messages_by_minute, 1);
        self.bytes.spend(limits.bytes, bytes);
    }

    /// Whether it has nothing left to remember, so that it may be forgotten.
    #[must_use]
    pub fn is_idle(&self, limits: &Limits, now: Moment) -> bool {
        self.banned_until <= now
            && self.messages_by_second.is_full(limits.messages_by_second, now)
            && self.messages_by_minute.is_full(limits.messages_by_minute, now)
            && self.bytes.is_full(limits.bytes, now)
            && self.control.is_full(limits.bytes, now)
            && self.refusals.is_full(limits.refusals, now)
    }

    fn refuse(&mut self, limits: &Limits, now: Moment, retry_after_ms: u64) -> Verdict {
        let tolerated = self.refusals.take(limits.refusals, now, 1).is_ok();
        if tolerated || limits.ban_ms == 0 {
            return Verdict::Refused { retry_after_ms };
        }
        self.banned_until = now.plus_ms(limits.ban_ms);
        // After the ban the peer begins anew.
        self.refusals = Bucket::default();
        Verdict::Banned { retry_after_ms: limits.ban_ms, began: true }
    }

    fn ban_left_ms(&self, now: Moment) -> u64 {
        self.banned_until.since_us(now).div_ceil(1_000)
    }
}
