//! The open loop's clock: when each message is meant to be sent, whatever the server does.
//!
//! Moments are evenly spaced. One that is missed is sent late and keeps its intended time, so
//! that waiting shows as latency instead of vanishing from it.

/// One thread's timetable.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start_us: u64,
    per_second: f64,
    next: u64,
}

impl Pace {
    /// `per_second` moments a second from `start_us`; none at all if that is 0.
    #[must_use]
    pub fn new(start_us: u64, per_second: f64) -> Self {
        Self { start_us, per_second, next: 0 }
    }

    /// The next intended moment.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        if self.per_second <= 0.0 {
            return u64::MAX;
        }
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 messages")]
        let offset_us = self.next as f64 * 1e6 / self.per_second;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a float beyond u64 saturates"
        )]
        let offset_us = offset_us as u64;
        self.start_us.saturating_add(offset_us)
    }

    /// Takes the next moment if it has come.
    pub fn take(&mut self, now_us: u64) -> Option<u64> {
        let intended_us = self.next_us();
        if intended_us > now_us {
            return None;
        }
        self.next += 1;
        Some(intended_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_taker_gets_every_moment_with_its_own_time() {
        let mut pace = Pace::new(500, 1_000.0);
        let taken: Vec<u64> = std::iter::from_fn(|| pace.take(3_700)).collect();
        assert_eq!(taken, [500, 1_500, 2_500, 3_500]);
        assert_eq!(pace.next_us(), 4_500);
    }

    #[test]
    fn uneven_rates_do_not_drift() {
        let mut pace = Pace::new(0, 3.0);
        let last = std::iter::from_fn(|| pace.take(10_000_000)).last();
        assert_eq!(last, Some(10_000_000));
        assert_eq!(Pace::new(0, 0.0).next_us(), u64::MAX);
    }
}
