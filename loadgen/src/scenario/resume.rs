//! Cuts members' connections and takes up where they ended: what was published meanwhile must
//! come, once and in order.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::fanout::{FanningOut, Fanout};
use super::{Plan, Scenario, room_name};
use crate::clock;
use crate::dialect::{Arrived, Command, Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};
use crate::pace::Pace;

/// Options of `resume`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Resume {
    /// The rooms, as of `fanout`.
    #[command(flatten)]
    #[serde(flatten)]
    pub fanout: Fanout,
    /// Connections cut in a second. Publishers are spared.
    #[arg(long, default_value_t = 10.0)]
    pub cuts: f64,
    /// How to take up.
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
}

/// What a new connection refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The last offset seen, in the join: exact.
    #[default]
    Offset,
    /// The session: a few messages may come twice.
    Session,
}

impl Default for Resume {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Resume {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn peers(&self) -> usize {
        self.fanout.peers()
    }

    fn publishers(&self) -> usize {
        self.fanout.publishers()
    }

    fn size(&self) -> usize {
        self.fanout.size()
    }

    fn seconds(&self) -> f64 {
        self.fanout.seconds
    }

    fn is_closed_loop(&self) -> bool {
        self.fanout.is_closed_loop()
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 connections")]
        let share = wire.peers() as f64 / self.peers().max(1) as f64;
        Box::new(Resuming {
            inner: self.fanout.part(wire),
            by: self.by,
            rate: self.cuts * share,
            pace: None,
            next_peer: 0,
            places: vec![Place::default(); wire.peers()],
        })
    }
}

/// Where a member's connection ended.
#[derive(Clone, Debug, Default)]
struct Place {
    session: Option<String>,
    epoch: Option<String>,
    offset: u64,
    resuming: bool,
}

struct Resuming {
    inner: FanningOut,
    by: By,
    rate: f64,
    pace: Option<Pace>,
    next_peer: usize,
    places: Vec<Place>,
}

impl Resuming {
    /// Cuts the next member that is connected and no publisher.
    fn cut_one(&mut self, wire: &mut Wire) {
        for _ in 0..wire.peers() {
            let peer = self.next_peer;
            self.next_peer = (peer + 1) % wire.peers();
            let spared = self.inner.layout.publisher(peer).is_some();
            if !spared && wire.phase(peer) == Phase::Open && !self.places[peer].resuming {
                self.places[peer].resuming = true;
                return wire.cut(peer);
            }
        }
    }

    fn resumed(&mut self, wire: &mut Wire, peer: usize, recovered: bool) {
        self.places[peer].resuming = false;
        if recovered {
            wire.recorder.counters.resumed += 1;
        } else {
            // The server said so: what was missed is no silent loss.
            wire.recorder.counters.not_recovered += 1;
            self.inner.ledger.forget(peer);
        }
    }
}

impl Scenario for Resuming {
    fn begin(&mut self, wire: &mut Wire) {
        self.inner.begin(wire);
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>) {
        let recovered = match welcome {
            Some(Notice::Welcome { session, recovered }) => {
                self.places[peer].session = session;
                recovered
            }
            _ => false,
        };
        let place = &self.places[peer];
        if !place.resuming {
            return self.inner.opened(wire, peer, None);
        }
        if self.by == By::Session {
            return self.resumed(wire, peer, recovered);
        }
        let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
        let since = place.epoch.as_deref().map(|epoch| (epoch, place.offset));
        if !wire.command(peer, Command::Join { room: &room, since }) {
            self.resumed(wire, peer, false);
        }
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        match &event {
            Event::Message(Arrived { offset: Some(offset), .. }) => {
                let seen = self.places[peer].offset;
                if *offset <= seen && self.by == By::Session {
                    return;
                }
                self.places[peer].offset = seen.max(*offset);
            }
            Event::Notice(Notice::Joined { epoch, recovered, offset }) => {
                let place = &mut self.places[peer];
                place.epoch = Some(epoch.clone());
                if place.resuming {
                    return self.resumed(wire, peer, *recovered);
                }
                place.offset = *offset;
            }
            _ => {}
        }
        self.inner.received(wire, peer, event);
    }

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        if self.places[peer].resuming {
            let session = match self.by {
                By::Session => self.places[peer].session.clone(),
                By::Offset => None,
            };
            let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
            return wire.open(Opening { peer, room, session, intended_us: None });
        }
        self.inner.closed(wire, peer, phase);
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.inner.is_ready(wire)
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        let start_us = wire.control.start_us();
        let mut pace = self.pace.unwrap_or_else(|| Pace::new(start_us, self.rate));
        if pace.take(clock::now_us()).is_some() {
            self.cut_one(wire);
        }
        self.pace = Some(pace);
        self.inner.run(wire).min(pace.next_us())
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        self.places.iter().all(|place| !place.resuming) && self.inner.is_settled(wire)
    }

    fn finish(&mut self, wire: &mut Wire) {
        self.inner.finish(wire);
    }
}
