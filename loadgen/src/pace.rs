//! The open loop's clock: when each message is meant to be sent, whatever the server does.
//!
//! Moments are evenly spaced. One that is missed is sent late and keeps its intended time, so
//! that waiting shows as latency instead of vanishing from it.

/// One thread's timetable.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start_us: u64,
    end_us: u64,
    per_second: f64,
    next: u64,
}

impl Pace {
    /// `per_second` moments a second from `start_us` to `end_us`; none at all if that is 0.
    #[must_use]
    pub fn new(start_us: u64, end_us: u64, per_second: f64) -> Self {
        Self { start_us, end_us, per_second, next: 0 }
    }

    /// The next intended moment; far away when there is no other.
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
        let next_us = self.start_us.saturating_add(offset_us);
        if next_us > self.end_us { u64::MAX } else { next_us }
    }

    /// Moments that have come and were not taken.
    #[must_use]
    pub fn due(&self, now_us: u64) -> u64 {
        if self.next_us() > now_us {
            return 0;
        }
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 microseconds")]
        let come = (now_us.min(self.end_us) - self.start_us) as f64 * self.per_second / 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a float beyond u64 saturates"
        )]
        let come = come as u64;
        (come + 1).saturating_sub(self.next)
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
        let mut pace = Pace::new(500, u64::MAX, 1_000.0);
        let taken: Vec<u64> = std::iter::from_fn(|| pace.take(3_700)).collect();
        assert_eq!(taken, [500, 1_500, 2_500, 3_500]);
        assert_eq!([3_700, 4_499, 4_500, 6_600].map(|now_us| pace.due(now_us)), [0, 0, 1, 3]);
        assert_eq!(pace.next_us(), 4_500);
    }

    #[test]
    fn a_timetable_ends_however_late_it_is_looked_at() {
        let mut pace = Pace::new(500, 2_500, 1_000.0);
        assert_eq!(pace.due(9_000), 3);
        let taken: Vec<u64> = std::iter::from_fn(|| pace.take(9_000)).collect();
        assert_eq!(taken, [500, 1_500, 2_500]);
        assert_eq!((pace.next_us(), pace.due(9_000)), (u64::MAX, 0));
    }

    #[test]
    fn uneven_rates_do_not_drift() {
        let mut pace = Pace::new(0, u64::MAX, 3.0);
        let last = std::iter::from_fn(|| pace.take(10_000_000)).last();
        assert_eq!(last, Some(10_000_000));
        let never = Pace::new(0, u64::MAX, 0.0);
        assert_eq!((never.next_us(), never.due(10_000_000)), (u64::MAX, 0));
    }
}
