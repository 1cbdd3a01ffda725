//! Things that are to be done at a rate, each by a connection that is free: a connection that ends, a
//! command, a cut.
//!
//! A turn that finds nobody waits for somebody, and keeps its moment. What waits when the load ends was
//! asked for and not done: it is counted, so that a rate that was not reached shows as such.

use crate::clock;
use crate::net::wire::Wire;
use crate::pace::Pace;

/// After what time somebody may be free again.
const RETRY_US: u64 = 2_000;

/// One thread's turns.
pub(super) struct Turns {
    per_second: f64,
    pace: Option<Pace>,
    next_peer: usize,
    next_us: u64,
    /// When was looked last.
    looked_us: u64,
    /// When last nobody was free.
    waited_us: u64,
}

impl Turns {
    /// This thread's share of so many turns a second, `part` of `all` by whom they may be taken.
    pub(super) fn new(per_second: f64, part: usize, all: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 connections")]
        let share = part as f64 / all.max(1) as f64;
        let per_second = per_second * share;
        Self { per_second, pace: None, next_peer: 0, next_us: 0, looked_us: 0, waited_us: 0 }
    }

    /// The peer that is to do what is due, if something is and somebody is free.
    pub(super) fn take(
        &mut self,
        wire: &mut Wire,
        is_free: impl Fn(&Wire, usize) -> bool,
    ) -> Option<usize> {
        let (start_us, end_us) = (wire.control.start_us(), wire.control.end_us());
        let pace = self.pace.get_or_insert_with(|| Pace::new(start_us, end_us, self.per_second));
        self.looked_us = clock::now_us();
        self.next_us = pace.next_us();
        if self.next_us > self.looked_us {
            return None;
        }
        // What came while nobody was free is not late by this tool's fault.
        if self.next_us > self.waited_us {
            wire.recorder.lateness.saturating_record(self.looked_us - self.next_us);
        }
        let peers = wire.peers();
        let mut turn = (0..peers).map(|step| (self.next_peer + step) % peers);
        let Some(peer) = turn.find(|&peer| is_free(wire, peer)) else {
            self.waited_us = self.looked_us;
            self.next_us = self.looked_us + RETRY_US;
            return None;
        };
        self.next_peer = (peer + 1) % peers;
        pace.take(self.looked_us);
        self.next_us = pace.next_us();
        Some(peer)
    }

    /// When to ask again.
    pub(super) fn next_us(&self) -> u64 {
        self.next_us
    }

    /// Counts what was due when the load ended, and waited.
    pub(super) fn finish(&self, wire: &mut Wire) {
        wire.recorder.counters.missed += self.pace.map_or(0, |pace| pace.due(self.looked_us));
    }
}
