//! What one receiver has seen of one publisher: finds loss, repeats and reordering.
//!
//! Sequence numbers run from 1 without a hole. A hole is loss until the missing number arrives,
//! and then it is reordering. Numbers more than 64 behind the newest count as repeats: a late one
//! among them stays on record as lost as well, so no fault is ever forgiven.

/// Set in [`Track::next`] until the first arrival, where the numbers before it are not owed.
const COMES_LATER: u64 = 1 << 63;

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
    /// A receiver that came when its publisher had sent so many: those that follow are owed, and of
    /// the others, which may have been on their way, it may get all from any number on.
    #[must_use]
    pub fn later(sent: u64) -> Self {
        // What is not owed counts as seen: it can be neither missing nor late.
        Self { next: (sent + 1) | COMES_LATER, seen: u64::MAX }
    }

    /// Notes the arrival of `sequence`.
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if self.next & COMES_LATER != 0 {
            self.next = sequence.min(self.next & !COMES_LATER);
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

    /// The highest number seen, 0 before the first: what was sent after it is owed. To one that came
    /// later nothing is owed that was sent before.
    #[must_use]
    pub fn last(&self) -> u64 {
        (self.next & !COMES_LATER).saturating_sub(1)
    }

    /// Whether it came later and has not seen anything yet.
    #[must_use]
    pub fn awaits_first(&self) -> bool {
        self.next & COMES_LATER != 0
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
        let mut track = Track::later(4);
        assert_eq!(track.arrive(3), InOrder);
        assert_eq!(track.arrive(5), Skipped(1));
    }

    #[test]
    fn who_came_later_is_owed_what_was_sent_since_and_nothing_before() {
        assert_eq!(Track::later(10).last(), 10);
        assert!(Track::later(10).awaits_first() && !Track::default().awaits_first());
        let table: [(&[u64], &[Arrival], u64); 6] = [
            (&[11, 12], &[InOrder, InOrder], 12),
            // On their way when it came: from any of them on, all.
            (&[1, 2, 4], &[InOrder, InOrder, Skipped(1)], 4),
            (&[10, 12], &[InOrder, Skipped(1)], 12),
            (&[12, 11, 13], &[Skipped(1), Late, InOrder], 13),
            (&[80, 11, 10], &[Skipped(69), Repeated, Repeated], 80),
            // Not owed, so never lost, and too late to be anything else than a fault.
            (&[9, 8], &[InOrder, Repeated], 9),
        ];
        for (numbers, arrivals, last) in table {
            let mut track = Track::later(10);
            let told: Vec<_> = numbers.iter().map(|number| track.arrive(*number)).collect();
            assert!(!track.awaits_first());
            assert_eq!((&*told, track.last()), (arrivals, last), "{numbers:?}");
        }
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
