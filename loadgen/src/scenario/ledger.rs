//! The books of a thread's receivers: what each should have seen of each publisher.

use crate::dialect::Arrived;
use crate::net::wire::Wire;
use crate::payload::{Fault, Stamp};
use crate::track::{Arrival, Track};

/// Tracks of receivers, each of which hears the same number of publishers.
pub struct Ledger {
    tracks: Vec<Track>,
    /// By receiver: the highest number in its room, where the dialect numbers.
    offsets: Vec<u64>,
    per_receiver: usize,
    /// Whether the rooms are such that what is marked as sent again may come again.
    redelivers: bool,
}

impl Ledger {
    /// For so many receivers with so many publishers each, in rooms that are `guaranteed` or not.
    #[must_use]
    pub fn new(receivers: usize, per_receiver: usize, guaranteed: bool) -> Self {
        Self {
            tracks: vec![Track::default(); receivers * per_receiver],
            offsets: vec![0; receivers],
            per_receiver,
            redelivers: guaranteed,
        }
    }

    /// Checks a received payload against its publisher's numbers. `first_publisher` is the first one
    /// that this receiver hears. Gives the stamp if it is sound and new.
    #[inline]
    pub fn arrive(
        &mut self,
        wire: &mut Wire,
        receiver: usize,
        first_publisher: usize,
        arrived: Arrived<'_>,
    ) -> Option<Stamp> {
        let (stamp, index) = self.sound(wire, first_publisher, arrived.payload)?;
        match self.tracks[receiver * self.per_receiver + index].arrive(stamp.sequence) {
            // In its publisher's order, and yet perhaps not in the room's.
            Arrival::InOrder if self.is_out_of_order(receiver, arrived.offset) => {
                if self.may_come_again(wire, arrived) {
                    wire.recorder.counters.redelivered += 1;
                } else {
                    wire.recorder.counters.reordered += 1;
                }
            }
            Arrival::InOrder => {}
            Arrival::Skipped(count) => wire.recorder.counters.lost += count,
            Arrival::Late => {
                let lost = &mut wire.recorder.counters.lost;
                *lost = lost.saturating_sub(1);
                wire.recorder.counters.reordered += 1;
            }
            Arrival::Repeated if self.may_come_again(wire, arrived) => {
                wire.recorder.counters.redelivered += 1;
                return None;
            }
            Arrival::Repeated => {
                wire.recorder.counters.repeated += 1;
                return None;
            }
        }
        wire.recorder.counters.received += 1;
        Some(stamp)
    }

    /// The stamp of a payload that is what a publisher wrote whom this receiver hears, and the index of
    /// that publisher among them.
    #[inline]
    pub fn sound(
        &self,
        wire: &mut Wire,
        first_publisher: usize,
        payload: &[u8],
    ) -> Option<(Stamp, usize)> {
        let stamp = match wire.payload.check(payload) {
            Ok(stamp) => stamp,
            Err(fault) => {
                match fault {
                    Fault::Corrupt => wire.recorder.counters.corrupt += 1,
                    Fault::Foreign => wire.recorder.counters.foreign += 1,
                }
                return None;
            }
        };
        let index = (stamp.publisher as usize).wrapping_sub(first_publisher);
        if index >= self.per_receiver {
            // Sound, but not meant for this receiver.
            wire.recorder.counters.misdelivered += 1;
            return None;
        }
        Some((stamp, index))
    }

    /// Whether the receiver has seen its publishers' latest messages.
    #[must_use]
    pub fn is_settled(&self, wire: &Wire, receiver: usize, first_publisher: usize) -> bool {
        self.owed(wire, receiver, first_publisher) == 0
    }

    /// Messages that the receiver's publishers sent after the last it saw.
    #[must_use]
    pub fn owed(&self, wire: &Wire, receiver: usize, first_publisher: usize) -> u64 {
        self.row(receiver)
            .iter()
            .enumerate()
            .map(|(index, track)| {
                wire.control.sent(first_publisher + index).saturating_sub(track.last())
            })
            .sum()
    }

    /// Whether the receiver has been let in, was sent something since, and has heard nothing yet.
    #[must_use]
    pub fn awaits_first(&self, wire: &Wire, receiver: usize, first_publisher: usize) -> bool {
        self.row(receiver).iter().enumerate().any(|(index, track)| {
            track.awaits_first() && wire.control.sent(first_publisher + index) > track.last()
        })
    }

    /// Begins a receiver's books anew, for it has just been let in: what its publishers send from now
    /// on is owed.
    pub fn begin_anew(&mut self, wire: &Wire, receiver: usize, first_publisher: usize) {
        let start = receiver * self.per_receiver;
        for (index, track) in self.tracks[start..start + self.per_receiver].iter_mut().enumerate() {
            *track = Track::later(wire.control.sent(first_publisher + index));
        }
        self.offsets[receiver] = 0;
    }

    /// Whether a server may send this again: it says so, of a room in which it has to.
    fn may_come_again(&self, wire: &Wire, arrived: Arrived<'_>) -> bool {
        self.redelivers && wire.dialect.is_redelivery(arrived.whole)
    }

    fn is_out_of_order(&mut self, receiver: usize, offset: Option<u64>) -> bool {
        let Some(offset) = offset else { return false };
        let highest = &mut self.offsets[receiver];
        let behind = offset <= *highest;
        *highest = offset.max(*highest);
        behind
    }

    fn row(&self, receiver: usize) -> &[Track] {
        let start = receiver * self.per_receiver;
        &self.tracks[start..start + self.per_receiver]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use std::sync::Arc;

    use super::*;
    use crate::control::Control;
    use crate::dialect::DialectName;
    use crate::net::wire::Place;
    use crate::payload::{Payload, STAMP_LEN};
    use crate::plan::Settings;
    use crate::stats::{Counters, Recorder, Shared};
    use crate::target::Target;

    const MESSAGES: u64 = 100_000;

    #[derive(Clone, Copy, Debug)]
    enum Lie {
        Lose,
        Repeat,
        Reorder,
        Corrupt(usize),
        Misdeliver,
    }

    /// One of 100,000 messages, at `place`, is a lie.
    fn count(lie: Lie, place: u64) -> Counters {
        let settings =
            Settings::new(Target::resolve("ws://127.0.0.1:1/").unwrap(), DialectName::Raw);
        let control = Arc::new(Control::new(1));
        control.note_sent(0, MESSAGES);
        let recorder = Recorder::new(Arc::new(Shared::default()));
        let payload = Payload::new(7, 40);
        let thread = Place { thread: 0, threads: 1, first_peer: 0, peers: 1 };
        let mut wire = Wire::new(thread, settings.shared(), control, recorder, payload);
        let mut ledger = Ledger::new(1, 1, false);
        let mut bytes = wire.payload.blank();
        let mut say = |wire: &mut Wire, publisher, sequence, flip: Option<usize>| {
            bytes[..STAMP_LEN].copy_from_slice(&wire.payload.stamp(publisher, sequence, 1));
            if let Some(index) = flip {
                bytes[index] ^= 1;
            }
            let arrived = Arrived { payload: &bytes, offset: None, whole: &bytes };
            ledger.arrive(wire, 0, 0, arrived);
            if let Some(index) = flip {
                bytes[index] ^= 1;
            }
        };
        for sequence in 1..=MESSAGES {
            match lie {
                Lie::Lose if sequence == place => continue,
                Lie::Repeat if sequence == place => say(&mut wire, 0, sequence, None),
                Lie::Reorder if sequence == place => say(&mut wire, 0, sequence + 1, None),
                Lie::Reorder if sequence == place + 1 => {
                    say(&mut wire, 0, place, None);
                    continue;
                }
                Lie::Corrupt(index) if sequence == place => {
                    say(&mut wire, 0, sequence, Some(index));
                    continue;
                }
                Lie::Misdeliver if sequence == place => say(&mut wire, 1, 1, None),
                _ => {}
            }
            if !(matches!(lie, Lie::Reorder) && sequence == place) {
                say(&mut wire, 0, sequence, None);
            }
        }
        wire.recorder.counters.lost += ledger.owed(&wire, 0, 0);
        wire.recorder.counters
    }

    #[test]
    fn one_lie_in_a_hundred_thousand_is_found_wherever_it_is() {
        for place in [1, 64, MESSAGES - 1] {
            assert_eq!(count(Lie::Lose, place).lost, 1, "{place}");
            assert_eq!(count(Lie::Repeat, place).repeated, 1, "{place}");
            let reordered = count(Lie::Reorder, place);
            assert_eq!((reordered.reordered, reordered.lost), (1, 0), "{place}");
            for index in [0, 29, 39] {
                let corrupt = count(Lie::Corrupt(index), place);
                assert!(corrupt.corrupt + corrupt.foreign == 1 && corrupt.lost == 1, "{index}");
            }
            assert_eq!(count(Lie::Misdeliver, place).misdelivered, 1, "{place}");
        }
        assert_eq!(count(Lie::Lose, MESSAGES).lost, 1);
        let honest = count(Lie::Lose, 0);
        assert_eq!((honest.received, honest.lost), (MESSAGES, 0));
    }
}
