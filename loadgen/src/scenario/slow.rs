//! Publishes to rooms some of whose members stop reading. The others must not suffer; what
//! becomes of the slow ones is told.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Scenario;
use super::fanout::{FanningOut, Fanout};
use super::members::OverRooms;
use crate::dialect::{Event, Notice};
use crate::net::wire::{Phase, Wire};

/// Options of `slow`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// The rooms, as of `fanout`.
    #[command(flatten)]
    #[serde(flatten)]
    pub fanout: Fanout,
    /// Members of each room, counted from its end, that stop reading.
    #[arg(long, default_value_t = 5)]
    pub slow: usize,
}

impl Default for Slow {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl OverRooms for Slow {
    const NAME: &'static str = "slow";

    fn rooms(&self) -> &Fanout {
        &self.fanout
    }

    fn part(&self, wire: &Wire) -> Box<dyn Scenario> {
        let members = self.fanout.members;
        // A publisher that does not read would stop publishing in a closed loop.
        let slow = self.slow.min(members - self.fanout.publishers.min(members));
        Box::new(Slowing { inner: self.fanout.part(wire), members, slow, paused: false })
    }
}

struct Slowing {
    inner: FanningOut,
    members: usize,
    slow: usize,
    paused: bool,
}

impl Slowing {
    fn is_slow(&self, wire: &Wire, peer: usize) -> bool {
        (wire.first_peer + peer) % self.members >= self.members - self.slow
    }
}

impl Scenario for Slowing {
    fn begin(&mut self, wire: &mut Wire) {
        self.inner.begin(wire);
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>) {
        self.inner.opened(wire, peer, welcome);
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        // A slow consumer may be owed messages, and may be told of gaps: no books are kept.
        if !(self.is_slow(wire, peer) && matches!(event, Event::Message(_))) {
            self.inner.received(wire, peer, event);
        }
    }

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        if self.is_slow(wire, peer) && phase == Phase::Open {
            wire.recorder.counters.dropped -= 1;
            wire.recorder.counters.slow_ended += 1;
        }
        self.inner.closed(wire, peer, phase);
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.inner.is_ready(wire)
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        if !self.paused {
            self.paused = true;
            for peer in 0..wire.peers() {
                if self.is_slow(wire, peer) {
                    wire.pause(peer, true);
                }
            }
        }
        self.inner.run(wire)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        let keeps_up = |peer| !self.is_slow(wire, peer);
        self.inner.is_settled_among(wire, keeps_up)
    }

    fn finish(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            if !self.is_slow(wire, peer) {
                self.inner.finish_peer(wire, peer);
            }
        }
    }
}
