//! Publishes to rooms some of whose members stop reading. The others must not suffer; what
//! becomes of the slow ones is told.
//!
//! What is sent to a slow one first fills buffers of both kernels, so that its own is small, and more is
//! published by default than `fanout` does: until those are full the server cannot know that it is slow.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Scenario;
use super::fanout::{FanningOut, Fanout};
use super::members::OverRooms;
use crate::dialect::{Event, Notice};
use crate::net::wire::{Phase, Wire};

/// The kernel's receive buffer of a slow consumer.
const RECEIVE_BUFFER: u32 = 4 * 1_024;
/// Of each publisher in ten seconds: 8 MB for each member, twice what the kernel of a server takes by default.
const RATE: &str = "100";
const SIZE: &str = "8192";

/// Options of `slow`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[command(mut_arg("rate", |rate| rate.default_value(RATE)))]
#[command(mut_arg("size", |size| size.default_value(SIZE)))]
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
        let up_to_date = vec![false; wire.peers()];
        Box::new(Slowing {
            inner: self.fanout.part(wire),
            members,
            slow,
            paused: false,
            up_to_date,
        })
    }
}

struct Slowing {
    inner: FanningOut,
    members: usize,
    slow: usize,
    paused: bool,
    /// By peer: whether a slow one has read on to the latest message.
    up_to_date: Vec<bool>,
}

impl Slowing {
    fn is_slow(&self, wire: &Wire, peer: usize) -> bool {
        (wire.first_peer + peer) % self.members >= self.members - self.slow
    }
}

impl Scenario for Slowing {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            let mut opening = self.inner.opening(wire, peer);
            opening.receive_buffer = self.is_slow(wire, peer).then_some(RECEIVE_BUFFER);
            wire.open(opening);
        }
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>) {
        self.inner.opened(wire, peer, welcome);
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        // A slow consumer may be owed messages, and may be told of gaps: no books are kept.
        match event {
            Event::Message(arrived) if self.is_slow(wire, peer) => {
                self.up_to_date[peer] = self.inner.is_latest(wire, peer, arrived.payload);
            }
            _ => self.inner.received(wire, peer, event),
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
        // What the server made of a slow one shows when that has read to the end, or was ended.
        let has_read = |peer| self.up_to_date[peer] || wire.phase(peer) != Phase::Open;
        let keeps_up = |peer| !self.is_slow(wire, peer);
        let slow = (0..wire.peers()).filter(|&peer| self.is_slow(wire, peer));
        slow.into_iter().all(has_read) && self.inner.is_settled_among(wire, keeps_up)
    }

    fn finish(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            if !self.is_slow(wire, peer) {
                self.inner.finish_peer(wire, peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_published_than_buffers_hold_unless_told_otherwise() {
        let fanout = Slow::default().fanout;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let bytes = fanout.rate * fanout.seconds * fanout.size as f64;
        assert!(bytes > 8e6, "{bytes}");
        assert_eq!((Fanout::default().rate, Fanout::default().size), (10.0, 64));
    }
}
