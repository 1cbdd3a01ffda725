//! What the scenarios share that add something to `fanout`: their plan is that of its rooms, and now
//! and then a member that does not publish has its turn.

use super::fanout::{FanningOut, Fanout};
use super::{Plan, Scenario};
use crate::clock;
use crate::net::wire::{Phase, Wire};
use crate::pace::Pace;

/// A plan for rooms as `fanout` has them, and something more.
pub(super) trait OverRooms {
    const NAME: &'static str;

    fn rooms(&self) -> &Fanout;

    /// The rate of what it adds, by the name of its option.
    fn added_rate(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// One thread's part.
    fn part(&self, wire: &Wire) -> Box<dyn Scenario>;
}

impl<T: OverRooms> Plan for T {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn peers(&self) -> usize {
        self.rooms().peers()
    }

    fn publishers(&self) -> usize {
        self.rooms().publishers()
    }

    fn size(&self) -> usize {
        self.rooms().size()
    }

    fn seconds(&self) -> f64 {
        self.rooms().seconds()
    }

    fn pairs(&self) -> usize {
        self.rooms().pairs()
    }

    fn rates(&self) -> Vec<(&'static str, f64)> {
        self.rooms().rates().into_iter().chain(self.added_rate()).collect()
    }

    fn in_flight(&self) -> Option<u32> {
        self.rooms().in_flight()
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        self.part(wire)
    }
}

/// Turns of members at a rate, one after the other.
pub(super) struct Turns {
    per_second: f64,
    pace: Option<Pace>,
    next_peer: usize,
}

impl Turns {
    /// This thread's share of so many turns a second over all `peers`.
    pub(super) fn new(per_second: f64, peers: usize, wire: &Wire) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 connections")]
        let share = wire.peers() as f64 / peers.max(1) as f64;
        Self { per_second: per_second * share, pace: None, next_peer: 0 }
    }

    /// Whether a turn is due, and when the next one will be.
    pub(super) fn is_due(&mut self, wire: &Wire) -> (bool, u64) {
        let start_us = wire.control.start_us();
        let pace = self.pace.get_or_insert_with(|| Pace::new(start_us, self.per_second));
        let due = pace.take(clock::now_us()).is_some();
        (due, pace.next_us())
    }

    /// The next member that is connected, `is_free`, and no publisher: those stay. So does one that was
    /// let in and has not heard anything since: if it left, it would be forgiven what it is owed.
    pub(super) fn take(
        &mut self,
        wire: &Wire,
        rooms: &FanningOut,
        is_free: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        for _ in 0..wire.peers() {
            let peer = self.next_peer;
            self.next_peer = (peer + 1) % wire.peers();
            let stays = rooms.layout.publisher(peer).is_some() || rooms.awaits_first(wire, peer);
            if !stays && wire.phase(peer) == Phase::Open && is_free(peer) {
                return Some(peer);
            }
        }
        None
    }
}
