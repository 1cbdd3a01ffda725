//! What one receiver has seen of one publisher: finds loss, repeats and reordering.
//!
//! Sequence numbers run from 1 without a hole. A hole is loss until the missing number arrives,
//! and then it is reordering. Numbers more than 64 behind the newest count as repeats: a late one
//! among them stays on record as lost as well, so no fault is ever forgiven.

const ANYWHERE: u64 = u64::MAX;

/// The receiver's memory: the next number and which of the last 64 arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    next: u64,
    /// Bit i: number `next - 1 - i` arrived.
    seen: u64,
}

/// What an arrival means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The number that was due.
    InOrder,
    /// So many numbers before it have not arrived (yet).
    Skipped(u64),
    /// One of the skipped, late.
    Late,
    /// One that had arrived before.
    Repeated,
}

impl Track {
    /// A receiver that came later: its first arrival is in order, whatever its number.
    #[must_use]
    pub fn anywhere() -> Self {
        Self { next: ANYWHERE, seen: 0 }
    }

    /// Notes the arrival of `sequence`.
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if self.next == ANYWHERE {
            self.next = sequence;
        }
        let next = self.next.max(1);
        if sequence < next {
            return self.arrive_late(next - 1 - sequence);
        }
        let skipped = sequence - next;
        self.seen = match u32::try_from(skipped + 1) {
            Ok(shift @ ..64) => self.seen << shift | 1,
            _ => 1,
        };
        self.next = sequence + 1;
        if skipped == 0 { Arrival::InOrder } else { Arrival::Skipped(skipped) }
    }

    /// The highest number seen, 0 before the first. One that may begin anywhere has seen all.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    fn arrive_late(&mut self, age: u64) -> Arrival {
        let bit = match u32::try_from(age) {
            Ok(age @ ..64) => 1 << age,
            _ => return Arrival::Repeated,
        };
        if self.seen & bit != 0 {
            return Arrival::Repeated;
        }
        self.seen |= bit;
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrival::{InOrder, Late, Repeated, Skipped};

    #[test]
    fn tells_loss_from_reordering_from_repeats() {
        let mut track = Track::default();
        let story = [
            (1, InOrder),
            (2, InOrder),
            (2, Repeated),
            (5, Skipped(2)),
            (4, Late),
            (4, Repeated),
            (6, InOrder),
            (3, Late),
            (1, Repeated),
            (200, Skipped(193)),
            (7, Repeated),
            (199, Late),
            (200, Repeated),
        ];
        for (sequence, expected) in story {
            assert_eq!(track.arrive(sequence), expected, "number {sequence}");
        }
        assert_eq!(track.last(), 200);
    }

    #[test]
    fn a_first_number_past_one_is_loss_unless_it_came_later() {
        assert_eq!(Track::default().arrive(3), Skipped(2));
        let mut track = Track::anywhere();
        assert_eq!(track.arrive(3), InOrder);
        assert_eq!(track.arrive(5), Skipped(1));
    }

    #[test]
    fn exact_window_edges() {
        let mut track = Track::default();
        assert_eq!(track.arrive(64), Skipped(63));
        assert_eq!(track.arrive(1), Late);
        assert_eq!(track.arrive(65), InOrder);
        assert_eq!(track.arrive(1), Repeated);
        assert_eq!(track.arrive(2), Late);
    }
}
