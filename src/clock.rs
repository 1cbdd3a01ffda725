//! Time as a value. Pure layers are told what time it is; only drivers ask.

/// A point in monotonic time: microseconds since the process began. Never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Microseconds since the process began.
    pub us: u64,
}

impl Moment {
    /// The moment `ms` milliseconds after this one.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self { us: self.us.saturating_add(ms.saturating_mul(1_000)) }
    }

    /// Microseconds from `earlier` to this moment; 0 if it is later.
    #[must_use]
    pub fn since_us(self, earlier: Self) -> u64 {
        self.us.saturating_sub(earlier.us)
    }

    /// Milliseconds from `earlier` to this moment, rounded down.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.since_us(earlier) / 1_000
    }
}

/// When something happened, maybe before the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Past {
    /// Microseconds since the process began; below 0: before it did.
    us: i64,
}

impl Past {
    /// What was so long before `now`.
    #[must_use]
    pub fn before(now: Moment, age_us: u64) -> Self {
        Self { us: Self::from(now).us.saturating_sub_unsigned(age_us) }
    }

    /// The moment `ms` milliseconds after it; 0 where that is before the process began.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Moment {
        let us = self.us.saturating_add_unsigned(ms.saturating_mul(1_000));
        Moment { us: u64::try_from(us).unwrap_or(0) }
    }
}

impl From<Moment> for Past {
    fn from(moment: Moment) -> Self {
        Self { us: i64::try_from(moment.us).unwrap_or(i64::MAX) }
    }
}

/// Reads some clock, in microseconds. Only for figures of how long something took: nothing that a
/// pure layer does depends on what it says, so a test may give one that stands.
pub type Stopwatch = fn() -> u64;

/// What a driver tells a pure layer with every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For every timer and every interval.
    pub moment: Moment,
    /// For what people and tokens see; may jump.
    pub unix_ms: u64,
}
