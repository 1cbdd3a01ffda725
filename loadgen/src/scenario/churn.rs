//! Holds connections while some of them, in turn, end and are made anew.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::turns::Turns;
use super::{BURST_MAX, IDLE_US, Plan, Scenario, Settled};
use crate::dialect::{Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};

/// Options of `churn`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Connections.
    #[arg(short = 'n', long, default_value_t = 1_000)]
    pub connections: usize,
    /// Connections that end, and are made anew, in a second.
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Every so manieth ends without a close, as when a network is lost (0: none).
    #[arg(long, default_value_t = 4)]
    pub cut_every: u32,
    /// How long to go on.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
}

impl Default for Churn {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Churn {
    fn name(&self) -> &'static str {
        "churn"
    }

    fn peers(&self) -> usize {
        self.connections
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn rates(&self) -> Vec<(&'static str, f64)> {
        vec![("--rate", self.rate)]
    }

    fn renews_connections(&self) -> bool {
        true
    }

    fn turns(&self) -> Option<(&'static str, f64)> {
        Some(("renewals", self.rate))
    }

    fn expects_messages(&self) -> bool {
        false
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        let settled = Settled::new(wire.peers());
        let turns = Turns::new(self.rate, wire.peers(), self.connections);
        Box::new(Churning { turns, cut_every: self.cut_every, ended: 0, settled })
    }
}

struct Churning {
    turns: Turns,
    cut_every: u32,
    ended: u32,
    settled: Settled,
}

impl Churning {
    fn end(&mut self, wire: &mut Wire, peer: usize) {
        self.ended = self.ended.wrapping_add(1);
        if self.cut_every > 0 && self.ended.is_multiple_of(self.cut_every) {
            wire.cut(peer);
        } else {
            wire.close(peer);
        }
    }
}

impl Scenario for Churning {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            wire.open(Opening { peer, ..Opening::default() });
        }
    }

    fn opened(&mut self, _wire: &mut Wire, peer: usize, _welcome: Option<Notice>) {
        self.settled.note(peer);
    }

    fn received(&mut self, _wire: &mut Wire, _peer: usize, _event: Event<'_>) {}

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        if phase == Phase::Closing && wire.is_running() {
            wire.open(Opening { peer, ..Opening::default() });
        } else {
            self.settled.note(peer);
        }
    }

    fn is_ready(&self, _wire: &Wire) -> bool {
        self.settled.all()
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        for _ in 0..BURST_MAX {
            let is_open = |wire: &Wire, peer| wire.phase(peer) == Phase::Open;
            let Some(peer) = self.turns.take(wire, is_open) else { break };
            self.end(wire, peer);
            wire.recorder.counters.turns += 1;
        }
        self.turns.next_us().min(wire.now_us + IDLE_US)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        (0..wire.peers()).all(|peer| {
            !matches!(wire.phase(peer), Phase::Connecting | Phase::Greeting | Phase::Closing)
        })
    }

    fn finish(&mut self, wire: &mut Wire) {
        self.turns.finish(wire);
    }
}
