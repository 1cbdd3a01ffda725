//! Cuts members' connections and takes up where they ended: what was published meanwhile must
//! come in order, and once. A session alone may repeat, and no more than the protocol lets it: what
//! was written since the last ping that was answered.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::fanout::{FanningOut, Fanout};
use super::members::{self, OverRooms};
use super::turns::Turns;
use super::{BURST_MAX, Scenario, room_name};
use crate::dialect::{Arrived, Command, Dialect, Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};

/// Options of `resume`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The session: what came since the last ping that was answered may come again.
    Session,
}

impl Default for Resume {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl OverRooms for Resume {
    const NAME: &'static str = "resume";
    const RATE: &'static str = "--cuts";
    const RENEWS: bool = true;

    fn rooms(&self) -> &Fanout {
        &self.fanout
    }

    fn added(&self) -> Option<(&'static str, f64)> {
        Some(("cuts", self.cuts))
    }

    fn lacks(&self, dialect: &dyn Dialect) -> Option<&'static str> {
        let since = Command::Join { room: "", since: Some(("", 0)) };
        dialect.command(since).is_none().then_some("take up where a connection ended")
    }

    fn part(&self, wire: &Wire) -> Box<dyn Scenario> {
        let inner = self.fanout.part(wire);
        Box::new(Resuming {
            turns: members::turns(self.cuts, &self.fanout, &inner, wire),
            inner,
            by: self.by,
            places: vec![Place::default(); wire.peers()],
        })
    }
}

/// Where a member's connection ended.
#[derive(Clone, Debug, Default)]
struct Place {
    session: Option<String>,
    epoch: Option<String>,
    seen: Seen,
    resuming: bool,
}

/// Offsets of its room that a member has seen, and which of them may come again.
///
/// A session goes on from what was written before the last ping that was answered. The answer to the
/// very last may have been lost with the connection, so it is the one before that is certain; a server
/// pings no more while it waits for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The highest on any connection.
    highest: u64,
    /// The highest on this one; when it begins, where the server begins at the earliest.
    here: u64,
    /// `here` at the last ping answered.
    answered: u64,
    /// And at the one before.
    certain: u64,
}

impl Seen {
    /// One that begins after this offset.
    fn after(offset: u64) -> Self {
        Self { highest: offset, here: offset, answered: offset, certain: offset }
    }

    fn answer_ping(&mut self) {
        (self.certain, self.answered) = (self.answered, self.here);
    }

    /// A new connection goes on with the session.
    fn come_back(&mut self) {
        (self.here, self.answered) = (self.certain, self.certain);
    }

    /// Notes an offset; whether it was seen before and may come again, here, in its turn.
    fn is_repetition(&mut self, offset: u64) -> bool {
        let in_turn = offset > self.here;
        self.here = self.here.max(offset);
        let is_new = offset > self.highest;
        self.highest = self.highest.max(offset);
        in_turn && !is_new
    }
}

struct Resuming {
    inner: FanningOut,
    by: By,
    turns: Turns,
    places: Vec<Place>,
}

impl Resuming {
    /// The server says that nothing is missed: the books go on.
    fn recovered(&mut self, wire: &mut Wire, peer: usize) {
        let place = &mut self.places[peer];
        place.resuming = false;
        if self.by == By::Session {
            place.seen.come_back();
        }
        wire.recorder.counters.resumed += 1;
    }

    /// The server said that it could not, and let the member in at `offset`: what was missed is no
    /// silent loss, what is sent from now on is owed.
    fn not_recovered(&mut self, wire: &mut Wire, peer: usize, offset: u64) {
        let place = &mut self.places[peer];
        place.resuming = false;
        place.seen = Seen::after(offset);
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
            (By::Offset, _) => place.epoch.as_deref().map(|epoch| (epoch, place.seen.highest)),
        };
        let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
        if !wire.command(peer, Command::Join { room: &room, since }) {
            self.not_recovered(wire, peer, 0);
        }
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        if let Event::Message(Arrived { offset: Some(offset), payload, .. }) = &event
            && self.places[peer].seen.is_repetition(*offset)
        {
            if self.inner.is_sound(wire, peer, payload) {
                wire.recorder.counters.redelivered += 1;
            }
            return;
        }
        if let Event::Notice(Notice::Joined { epoch, recovered, offset }) = &event {
            let place = &mut self.places[peer];
            place.epoch = Some(epoch.clone());
            if place.resuming {
                return match self.by {
                    By::Offset if *recovered => self.recovered(wire, peer),
                    _ => self.not_recovered(wire, peer, *offset),
                };
            }
            place.seen = Seen::after(*offset);
        }
        self.inner.received(wire, peer, event);
    }

    fn answered_ping(&mut self, peer: usize) {
        self.places[peer].seen.answer_ping();
    }

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        if self.places[peer].resuming {
            let session = match self.by {
                By::Session => self.places[peer].session.clone(),
                By::Offset => None,
            };
            let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
            let server = self.inner.layout.server(peer, &wire.settings);
            return wire.open(Opening { peer, server, room, session, ..Opening::default() });
        }
        self.inner.closed(wire, peer, phase);
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.inner.is_ready(wire)
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        for _ in 0..BURST_MAX {
            let is_free = |wire: &Wire, peer: usize| {
                !self.places[peer].resuming && members::may_leave(wire, &self.inner, peer)
            };
            let Some(peer) = self.turns.take(wire, is_free) else { break };
            self.places[peer].resuming = true;
            wire.cut(peer);
            wire.recorder.counters.turns += 1;
        }
        self.inner.run(wire).min(self.turns.next_us())
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        self.places.iter().all(|place| !place.resuming) && self.inner.is_settled(wire)
    }

    fn finish(&mut self, wire: &mut Wire) {
        self.turns.finish(wire);
        for (peer, place) in self.places.iter().enumerate() {
            // It never came back, and is owed all the same.
            if place.resuming && wire.phase(peer) != Phase::Open {
                self.inner.lose(wire, peer);
            }
        }
        self.inner.finish(wire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets in the order they come; whether each is a repetition that is let pass.
    fn told(seen: &mut Seen, offsets: &[u64]) -> Vec<bool> {
        offsets.iter().map(|offset| seen.is_repetition(*offset)).collect()
    }

    #[test]
    fn a_session_repeats_once_in_order_and_from_the_last_certain_place() {
        let mut seen = Seen::after(4);
        assert_eq!(told(&mut seen, &[5, 6, 6, 7]), [false; 4]);
        // Two pings answered: the first of them for certain.
        seen.answer_ping();
        assert_eq!(told(&mut seen, &[8, 9]), [false; 2]);
        seen.answer_ping();
        assert_eq!(told(&mut seen, &[10]), [false]);
        let before = seen;
        seen.come_back();
        assert_eq!(told(&mut seen, &[8, 9, 10, 11]), [true, true, true, false]);
        // Not again once it has gone on, and nothing twice.
        assert_eq!(told(&mut seen, &[10, 11, 12]), [false; 3]);
        let mut again = before;
        again.come_back();
        assert_eq!(told(&mut again, &[7, 9, 9, 8, 10]), [false, true, false, false, true]);
    }

    #[test]
    fn what_is_certain_outlives_connections() {
        let mut seen = Seen::after(0);
        assert_eq!(told(&mut seen, &[1, 2, 3]), [false; 3]);
        seen.answer_ping();
        seen.answer_ping();
        assert_eq!(told(&mut seen, &[4, 5]), [false; 2]);
        // Cut before a ping, twice: again from there.
        seen.come_back();
        seen.come_back();
        // One ping on the new connection may have been lost like that on the old one.
        assert_eq!(told(&mut seen, &[4, 5]), [true, true]);
        seen.answer_ping();
        seen.come_back();
        assert_eq!(told(&mut seen, &[4, 5]), [true, true]);
    }
}
