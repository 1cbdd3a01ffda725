//! Cuts members' connections and takes up where they ended: what was published meanwhile must
//! come, once and in order.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::fanout::{FanningOut, Fanout};
use super::members::{OverRooms, Turns};
use super::{Plan as _, Scenario, room_name};
use crate::dialect::{Arrived, Command, Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};

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

impl OverRooms for Resume {
    const NAME: &'static str = "resume";

    fn rooms(&self) -> &Fanout {
        &self.fanout
    }

    fn part(&self, wire: &Wire) -> Box<dyn Scenario> {
        Box::new(Resuming {
            inner: self.fanout.part(wire),
            by: self.by,
            turns: Turns::new(self.cuts, self.fanout.peers(), wire),
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
    turns: Turns,
    places: Vec<Place>,
}

impl Resuming {
    /// Cuts the next member that is connected and no publisher.
    fn cut_one(&mut self, wire: &mut Wire) {
        let is_free = |peer: usize| !self.places[peer].resuming;
        let Some(peer) = self.turns.take(wire, &self.inner, is_free) else { return };
        self.places[peer].resuming = true;
        wire.cut(peer);
    }

    /// The server says that nothing is missed: the books go on.
    fn recovered(&mut self, wire: &mut Wire, peer: usize) {
        self.places[peer].resuming = false;
        wire.recorder.counters.resumed += 1;
    }

    /// The server said that it could not, and let the member in at `offset`: what was missed is no
    /// silent loss, what is sent from now on is owed.
    fn not_recovered(&mut self, wire: &mut Wire, peer: usize, offset: u64) {
        let place = &mut self.places[peer];
        place.resuming = false;
        place.offset = offset;
        wire.recorder.counters.not_recovered += 1;
        self.inner.begin_anew(wire, peer);
    }
}

impl Scenario for Resuming {
    fn begin(&mut self, wire: &mut Wire) {
        self.inner.begin(wire);
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>) {
        let place = &mut self.places[peer];
        let (recovered, offset) = match welcome {
            Some(Notice::Welcome { session, recovered, offset }) => {
                place.session = session;
                (recovered, offset)
            }
            _ => (false, None),
        };
        if !place.resuming {
            return self.inner.opened(wire, peer, None);
        }
        let since = match (self.by, offset) {
            (By::Session, _) if recovered => return self.recovered(wire, peer),
            (By::Session, Some(offset)) => return self.not_recovered(wire, peer, offset),
            // The session is over, and the member in no room: it comes as a new one.
            (By::Session, None) => None,
            (By::Offset, _) => place.epoch.as_deref().map(|epoch| (epoch, place.offset)),
        };
        let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
        if !wire.command(peer, Command::Join { room: &room, since }) {
            self.not_recovered(wire, peer, 0);
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
                    return match self.by {
                        By::Offset if *recovered => self.recovered(wire, peer),
                        _ => self.not_recovered(wire, peer, *offset),
                    };
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
            let server = self.inner.layout.server(peer, &wire.settings);
            return wire.open(Opening { peer, server, room, session, intended_us: None });
        }
        self.inner.closed(wire, peer, phase);
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.inner.is_ready(wire)
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        let (due, next_us) = self.turns.is_due(wire);
        if due {
            self.cut_one(wire);
        }
        self.inner.run(wire).min(next_us)
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        self.places.iter().all(|place| !place.resuming) && self.inner.is_settled(wire)
    }

    fn finish(&mut self, wire: &mut Wire) {
        for (peer, place) in self.places.iter().enumerate() {
            // It never came back, and is owed all the same.
            if place.resuming && wire.phase(peer) != Phase::Open {
                self.inner.lose(wire, peer);
            }
        }
        self.inner.finish(wire);
    }
}
