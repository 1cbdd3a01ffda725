//! Publishes to rooms; every member, the publisher too, receives every message of its room.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{BURST_MAX, IDLE_US, Ledger, Plan, Scenario, Settled, room_name};
use crate::clock;
use crate::dialect::{Command, Event, Notice};
use crate::frame::Template;
use crate::net::wire::{Opening, Phase, Wire};
use crate::pace::Pace;
use crate::plan::Settings;

/// Options of `fanout`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fanout {
    /// Rooms. With a raw dialect there is one, unless the URL has `{room}` in it.
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Members of each room.
    #[arg(long, default_value_t = 100)]
    pub members: usize,
    /// Publishers among the members of each room.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Messages a second of each publisher (open loop).
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Closed loop: each publisher has so many messages in flight, `--rate` does not count.
    #[arg(long)]
    pub in_flight: Option<u32>,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// The rooms are guaranteed ones: what the server marks as sent again may come again, and is no fault.
    #[arg(long)]
    pub guaranteed: bool,
    /// How long to publish.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
}

impl Default for Fanout {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Fanout {
    fn name(&self) -> &'static str {
        "fanout"
    }

    fn peers(&self) -> usize {
        self.rooms.saturating_mul(self.members)
    }

    fn publishers(&self) -> usize {
        self.rooms.saturating_mul(self.publishers.min(self.members))
    }

    fn pairs(&self) -> usize {
        self.peers().saturating_mul(self.publishers.min(self.members))
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

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        Box::new(self.part(wire))
    }
}

impl Fanout {
    /// One thread's part, for scenarios that add something to it.
    pub(super) fn part(&self, wire: &Wire) -> FanningOut {
        let layout = Layout {
            first_peer: wire.first_peer,
            members: self.members,
            publishers: self.publishers.min(self.members),
        };
        let blank = wire.payload.blank();
        let publishers: Vec<Publisher> = (0..wire.peers())
            .filter_map(|peer| {
                let id = layout.publisher(peer)?;
                let room = room_name(wire.payload.run(), layout.room(peer));
                let template = wire.template(&wire.dialect.publish(&room, &blank));
                Some(Publisher { peer, id, sequence: 0, template })
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 publishers")]
        let rate = self.rate * publishers.len() as f64;
        FanningOut {
            layout,
            ledger: Ledger::new(wire.peers(), layout.publishers, self.guaranteed),
            publishers,
            rate: if self.in_flight.is_some() { 0.0 } else { rate },
            in_flight: self.in_flight.unwrap_or(0),
            pace: None,
            next: 0,
            settled: Settled::new(wire.peers()),
        }
    }
}

/// Who is in which room.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    first_peer: usize,
    members: usize,
    publishers: usize,
}

impl Layout {
    pub(super) fn room(&self, peer: usize) -> usize {
        (self.first_peer + peer) / self.members
    }

    /// The number of the peer's server: publishers are on the first.
    pub(super) fn server(&self, peer: usize, settings: &Settings) -> usize {
        if self.publisher(peer).is_some() {
            return 0;
        }
        // Listeners are counted on through all rooms, so that rooms of one spread as well.
        let member = (self.first_peer + peer) % self.members;
        let listeners = self.members - self.publishers;
        settings.server_of_listener(self.room(peer) * listeners + member - self.publishers)
    }

    /// The first of the publishers that this peer hears.
    pub(super) fn first_publisher(&self, peer: usize) -> usize {
        self.room(peer) * self.publishers
    }

    /// The peer as a publisher, if it is one.
    pub(super) fn publisher(&self, peer: usize) -> Option<usize> {
        let member = (self.first_peer + peer) % self.members;
        (member < self.publishers).then(|| self.first_publisher(peer) + member)
    }
}

struct Publisher {
    peer: usize,
    id: usize,
    sequence: u64,
    template: Template,
}

impl Publisher {
    fn send(&mut self, wire: &mut Wire, intended_us: u64) {
        let sequence = self.sequence + 1;
        if wire.publish(self.peer, &mut self.template, self.id, sequence, intended_us) {
            self.sequence = sequence;
        }
    }
}

pub(super) struct FanningOut {
    pub(super) layout: Layout,
    ledger: Ledger,
    /// This thread's, by ascending peer.
    publishers: Vec<Publisher>,
    rate: f64,
    in_flight: u32,
    pace: Option<Pace>,
    next: usize,
    settled: Settled,
}

impl FanningOut {
    fn start(&mut self, wire: &mut Wire) -> Pace {
        for publisher in &mut self.publishers {
            for _ in 0..self.in_flight {
                publisher.send(wire, clock::now_us());
            }
        }
        let stagger_us = 1_000 * wire.thread as u64 / wire.threads as u64;
        let control = &wire.control;
        Pace::new(control.start_us() + stagger_us, control.end_us(), self.rate)
    }
}

impl FanningOut {
    /// Whether those peers that `counts` names have all they are owed.
    pub(super) fn is_settled_among(&self, wire: &Wire, counts: impl Fn(usize) -> bool) -> bool {
        (0..wire.peers()).filter(|&peer| counts(peer)).all(|peer| {
            wire.phase(peer) != Phase::Open
                || self.ledger.is_settled(wire, peer, self.layout.first_publisher(peer))
        })
    }

    /// Whether a peer was let in anew and waits for its first message since, which has been sent.
    pub(super) fn awaits_first(&self, wire: &Wire, peer: usize) -> bool {
        self.ledger.awaits_first(wire, peer, self.layout.first_publisher(peer))
    }

    /// Begins a peer's books anew, for it has just been let in.
    pub(super) fn begin_anew(&mut self, wire: &Wire, peer: usize) {
        self.ledger.begin_anew(wire, peer, self.layout.first_publisher(peer));
    }

    /// Whether a payload is sound and one that the peer may get; if not, it is counted.
    pub(super) fn is_sound(&self, wire: &mut Wire, peer: usize, payload: &[u8]) -> bool {
        self.ledger.sound(wire, self.layout.first_publisher(peer), payload).is_some()
    }

    /// Whether a sound payload is the latest of its publisher.
    pub(super) fn is_latest(&self, wire: &mut Wire, peer: usize, payload: &[u8]) -> bool {
        let first = self.layout.first_publisher(peer);
        let sound = self.ledger.sound(wire, first, payload);
        sound.is_some_and(|(stamp, index)| stamp.sequence == wire.control.sent(first + index))
    }

    /// Counts what a peer is owed.
    pub(super) fn lose(&self, wire: &mut Wire, peer: usize) {
        let first = self.layout.first_publisher(peer);
        wire.recorder.counters.lost += self.ledger.owed(wire, peer, first);
    }

    /// Counts what a peer was owed to the end, if it is there.
    pub(super) fn finish_peer(&self, wire: &mut Wire, peer: usize) {
        if wire.phase(peer) == Phase::Open {
            self.lose(wire, peer);
        }
    }
}

impl FanningOut {
    /// What to ask for so that a peer gets its connection.
    pub(super) fn opening(&self, wire: &Wire, peer: usize) -> Opening {
        let room = room_name(wire.payload.run(), self.layout.room(peer));
        let server = self.layout.server(peer, &wire.settings);
        Opening { peer, room, server, ..Opening::default() }
    }
}

impl Scenario for FanningOut {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            wire.open(self.opening(wire, peer));
        }
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, _welcome: Option<Notice>) {
        let room = room_name(wire.payload.run(), self.layout.room(peer));
        if !wire.command(peer, Command::Join { room: &room, since: None }) {
            self.settled.note(peer);
        }
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        match event {
            Event::Message(arrived) => {
                let first = self.layout.first_publisher(peer);
                let Some(stamp) = self.ledger.arrive(wire, peer, first, arrived) else { return };
                let publisher = self.layout.publisher(peer);
                // From one server to another, if there are several.
                if wire.settings.others.is_empty() || publisher.is_none() {
                    wire.time(&stamp);
                }
                let own = self.in_flight > 0 && publisher == Some(stamp.publisher as usize);
                if own && wire.is_running() {
                    let index = self.publishers.partition_point(|other| other.peer < peer);
                    let intended_us = wire.now_us;
                    self.publishers[index].send(wire, intended_us);
                }
            }
            Event::Notice(Notice::Joined { .. } | Notice::Done) => {
                wire.recorder.counters.answered += 1;
                self.settled.note(peer);
            }
            Event::Notice(Notice::Failed { .. }) => self.settled.note(peer),
            _ => {}
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
            self.publishers[self.next].send(wire, intended_us);
            self.next = (self.next + 1) % self.publishers.len();
        }
        self.pace = Some(pace);
        pace.next_us().min(wire.now_us + IDLE_US)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        self.is_settled_among(wire, |_| true)
    }

    fn finish(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            self.finish_peer(wire, peer);
        }
    }
}
