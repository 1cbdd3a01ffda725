//! Holds connections while some of them, in turn, end and are made anew.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{BURST_MAX, IDLE_US, Plan, Scenario};
use crate::clock;
use crate::dialect::{Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};
use crate::pace::Pace;

/// Options of `churn`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

    fn expects_messages(&self) -> bool {
        false
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 connections")]
        let share = wire.peers() as f64 / self.connections.max(1) as f64;
        Box::new(Churning {
            rate: self.rate * share,
            cut_every: self.cut_every,
            pace: None,
            next_peer: 0,
            ended: 0,
            settled: 0,
        })
    }
}

struct Churning {
    rate: f64,
    cut_every: u32,
    pace: Option<Pace>,
    next_peer: usize,
    ended: u32,
    settled: usize,
}

impl Churning {
    /// Ends the next connection that is open.
    fn end_one(&mut self, wire: &mut Wire) {
        for _ in 0..wire.peers() {
            let peer = self.next_peer;
            self.next_peer = (peer + 1) % wire.peers();
            if wire.phase(peer) != Phase::Open {
                continue;
            }
            self.ended = self.ended.wrapping_add(1);
            if self.cut_every > 0 && self.ended.is_multiple_of(self.cut_every) {
                wire.cut(peer);
            } else {
                wire.close(peer);
            }
            return;
        }
    }
}

impl Scenario for Churning {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            wire.open(Opening { peer, ..Opening::default() });
        }
    }

    fn opened(&mut self, _wire: &mut Wire, _peer: usize, _welcome: Option<Notice>) {
        self.settled += 1;
    }

    fn received(&mut self, _wire: &mut Wire, _peer: usize, _event: Event<'_>) {}

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        if phase == Phase::Closing && wire.is_running() {
            wire.open(Opening { peer, ..Opening::default() });
        } else if phase != Phase::Open {
            self.settled += 1;
        }
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.settled >= wire.peers()
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        let start_us = wire.control.start_us();
        let mut pace = self.pace.unwrap_or_else(|| Pace::new(start_us, self.rate));
        for _ in 0..BURST_MAX {
            let Some(intended_us) = pace.take(clock::now_us()) else { break };
            let late_us = clock::now_us().saturating_sub(intended_us);
            wire.recorder.lateness.saturating_record(late_us);
            self.end_one(wire);
        }
        self.pace = Some(pace);
        pace.next_us().min(wire.now_us + IDLE_US)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        (0..wire.peers()).all(|peer| {
            !matches!(wire.phase(peer), Phase::Connecting | Phase::Greeting | Phase::Closing)
        })
    }
}
