//! How long things took, in buckets that double.

use super::Figure;

/// Finite buckets of a histogram; the last holds up to 8.4 s. What took longer is only counted.
pub const BUCKETS: usize = 24;

const LONGEST_US: u64 = 1 << (BUCKETS - 1);

/// Durations in microseconds. Bucket `i` holds those of at most `2^i`; one writer, as any figure.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Figure; BUCKETS],
    longer: Figure,
    sum_us: Figure,
}

impl Histogram {
    /// Counts one duration. Only for the owner.
    pub fn record(&self, us: u64) {
        if us > LONGEST_US {
            self.longer.add(1);
        } else {
            let bucket = us.max(1).next_power_of_two().trailing_zeros();
            self.buckets[bucket as usize].add(1);
        }
        self.sum_us.add(us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Figure::get).sum::<u64>().wrapping_add(self.longer.get())
    }

    /// All durations together.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }

    /// For each bucket the longest duration it holds, infinity last, and how many it has.
    pub fn buckets_us(&self) -> impl Iterator<Item = (f64, u64)> {
        let finite = self.buckets.iter().enumerate();
        finite
            .map(|(index, count)| (f64::from(1_u32 << index), count.get()))
            .chain([(f64::INFINITY, self.longer.get())])
    }
}
