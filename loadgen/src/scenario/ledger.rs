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
}

impl Ledger {
    /// For so many receivers with so many publishers each.
    #[must_use]
    pub fn new(receivers: usize, per_receiver: usize) -> Self {
        Self {
            tracks: vec![Track::default(); receivers * per_receiver],
            offsets: vec![0; receivers],
            per_receiver,
        }
    }

    /// Checks a received payload against its publisher's numbers, and times it. `first_publisher`
    /// is the first one that this receiver hears. Gives the stamp if it is sound and new.
    #[inline]
    pub fn arrive(
        &mut self,
        wire: &mut Wire,
        receiver: usize,
        first_publisher: usize,
        arrived: Arrived<'_>,
    ) -> Option<Stamp> {
        let stamp = match wire.payload.check(arrived.payload) {
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
        match self.tracks[receiver * self.per_receiver + index].arrive(stamp.sequence) {
            // In its publisher's order, and yet perhaps not in the room's.
            Arrival::InOrder if self.is_out_of_order(receiver, arrived.offset) => {
                if !wire.dialect.is_redelivery(arrived.whole) {
                    wire.recorder.counters.reordered += 1;
                }
            }
            Arrival::InOrder => {}
            Arrival::Skipped(count) => wire.recorder.counters.lost += count,
            Arrival::Late => {
                wire.recorder.counters.lost -= 1;
                wire.recorder.counters.reordered += 1;
            }
            Arrival::Repeated if wire.dialect.is_redelivery(arrived.whole) => return None,
            Arrival::Repeated => {
                wire.recorder.counters.repeated += 1;
                return None;
            }
        }
        let latency_us = wire.now_us.saturating_sub(stamp.intended_us);
        wire.recorder.latency.saturating_record(latency_us.max(1));
        wire.recorder.counters.received += 1;
        Some(stamp)
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

    /// Begins a receiver's books anew, wherever its publishers are by now.
    pub fn forget(&mut self, receiver: usize) {
        let start = receiver * self.per_receiver;
        self.tracks[start..start + self.per_receiver].fill(Track::anywhere());
        self.offsets[receiver] = 0;
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
