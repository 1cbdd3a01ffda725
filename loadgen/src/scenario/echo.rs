//! Sends messages that come back to their sender: open loop at a rate, or closed loop.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{BURST_MAX, IDLE_US, Ledger, Plan, Scenario, Settled};
use crate::clock;
use crate::dialect::{Dialect, Event, Notice};
use crate::frame::Template;
use crate::net::wire::{Opening, Phase, Wire};
use crate::pace::Pace;

/// Options of `echo`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Connections.
    #[arg(short = 'n', long, default_value_t = 200)]
    pub connections: usize,
    /// How long to send.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Messages a second over all connections (open loop).
    #[arg(long, default_value_t = 10_000.0)]
    pub rate: f64,
    /// Closed loop: so many messages in flight on each connection, `--rate` does not count.
    #[arg(long)]
    pub in_flight: Option<u32>,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 32)]
    pub size: usize,
}

impl Default for Echo {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn peers(&self) -> usize {
        self.connections
    }

    fn publishers(&self) -> usize {
        self.connections
    }

    fn size(&self) -> usize {
        self.size
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn rates(&self) -> Vec<(&'static str, f64)> {
        vec![("--rate", self.rate)]
    }

    fn in_flight(&self) -> Option<u32> {
        self.in_flight
    }

    fn lacks(&self, dialect: &dyn Dialect) -> Option<&'static str> {
        let lacks = dialect.echo(&[]).is_none();
        lacks.then_some("send to oneself (a `fanout` with `--members 1` comes near)")
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        let message = wire.dialect.echo(&wire.payload.blank());
        let message = message.expect("a dialect without an echo is refused before");
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 connections")]
        let share = wire.peers() as f64 / self.connections.max(1) as f64;
        Box::new(Echoing {
            template: wire.template(&message),
            ledger: Ledger::new(wire.peers(), 1, false),
            sequences: vec![0; wire.peers()],
            rate: if self.in_flight.is_some() { 0.0 } else { self.rate * share },
            in_flight: self.in_flight.unwrap_or(0),
            pace: None,
            next_peer: 0,
            settled: Settled::new(wire.peers()),
        })
    }
}

struct Echoing {
    template: Template,
    ledger: Ledger,
    /// By peer: the last number sent.
    sequences: Vec<u64>,
    rate: f64,
    in_flight: u32,
    pace: Option<Pace>,
    next_peer: usize,
    settled: Settled,
}

impl Echoing {
    fn send(&mut self, wire: &mut Wire, peer: usize, intended_us: u64) {
        let sequence = self.sequences[peer] + 1;
        let publisher = wire.first_peer + peer;
        if wire.publish(peer, &mut self.template, publisher, sequence, intended_us) {
            self.sequences[peer] = sequence;
        }
    }

    fn start(&mut self, wire: &mut Wire) -> Pace {
        for peer in 0..wire.peers() {
            for _ in 0..self.in_flight {
                self.send(wire, peer, clock::now_us());
            }
        }
        let stagger_us = 1_000 * wire.thread as u64 / wire.threads as u64;
        let control = &wire.control;
        Pace::new(control.start_us() + stagger_us, control.end_us(), self.rate)
    }
}

impl Scenario for Echoing {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            wire.open(Opening { peer, ..Opening::default() });
        }
    }

    fn opened(&mut self, _wire: &mut Wire, peer: usize, _welcome: Option<Notice>) {
        self.settled.note(peer);
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        let Event::Message(arrived) = event else { return };
        let publisher = wire.first_peer + peer;
        let Some(stamp) = self.ledger.arrive(wire, peer, publisher, arrived) else { return };
        wire.time(&stamp);
        if self.in_flight > 0 && wire.is_running() {
            // A clock read per batch of answers: they were all there at the same moment.
            self.send(wire, peer, wire.now_us);
        }
    }

    fn closed(&mut self, _wire: &mut Wire, peer: usize, _phase: Phase) {
        self.settled.note(peer);
    }

    fn is_ready(&self, _wire: &Wire) -> bool {
        self.settled.all()
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        if wire.now_us < wire.control.start_us() {
            return wire.control.start_us();
        }
        let mut pace = match self.pace {
            Some(pace) => pace,
            None => self.start(wire),
        };
        for _ in 0..BURST_MAX {
            let now_us = clock::now_us();
            let Some(intended_us) = pace.take(now_us) else { break };
            wire.recorder.lateness.saturating_record(now_us - intended_us);
            self.send(wire, self.next_peer, intended_us);
            self.next_peer = (self.next_peer + 1) % wire.peers();
        }
        self.pace = Some(pace);
        pace.next_us().min(wire.now_us + IDLE_US)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        (0..wire.peers()).all(|peer| {
            wire.phase(peer) != Phase::Open
                || self.ledger.is_settled(wire, peer, wire.first_peer + peer)
        })
    }

    fn finish(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            if wire.phase(peer) == Phase::Open {
                let owed = self.ledger.owed(wire, peer, wire.first_peer + peer);
                wire.recorder.counters.lost += owed;
            }
        }
    }
}
