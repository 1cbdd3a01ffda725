//! What the scenarios share that add something to `fanout`: their plan is that of its rooms, and now
//! and then a member that does not publish has its turn.

use super::fanout::{FanningOut, Fanout};
use super::turns::Turns;
use super::{Plan, Scenario};
use crate::dialect::Dialect;
use crate::net::wire::{Phase, Wire};

/// A plan for rooms as `fanout` has them, and something more.
pub(super) trait OverRooms {
    const NAME: &'static str;
    /// The option of the rate of what it adds.
    const RATE: &'static str = "";

    /// Whether connections end on purpose, and are made anew.
    const RENEWS: bool = false;

    fn rooms(&self) -> &Fanout;

    /// What it has members do, in a word, and how often.
    fn added(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// What it would have to say and the dialect has no words for.
    fn lacks(&self, _dialect: &dyn Dialect) -> Option<&'static str> {
        None
    }

    /// One thread's part.
    fn part(&self, wire: &Wire) -> Box<dyn Scenario>;
}

impl<T: OverRooms> Plan for T {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn peers(&self) -> usize {
        self.rooms().peers()
    }

    fn publishers(&self) -> usize {
        self.rooms().publishers()
    }

    fn size(&self) -> usize {
        self.rooms().size()
    }

    fn seconds(&self) -> f64 {
        self.rooms().seconds()
    }

    fn pairs(&self) -> usize {
        self.rooms().pairs()
    }

    fn rates(&self) -> Vec<(&'static str, f64)> {
        self.rooms()
            .rates()
            .into_iter()
            .chain(self.added().map(|(_, rate)| (Self::RATE, rate)))
            .collect()
    }

    fn renews_connections(&self) -> bool {
        Self::RENEWS
    }

    fn turns(&self) -> Option<(&'static str, f64)> {
        self.added()
    }

    fn in_flight(&self) -> Option<u32> {
        self.rooms().in_flight()
    }

    fn lacks(&self, dialect: &dyn Dialect) -> Option<&'static str> {
        OverRooms::lacks(self, dialect)
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        self.part(wire)
    }
}

/// This thread's share of so many turns a second over all members but publishers.
pub(super) fn turns(per_second: f64, plan: &Fanout, rooms: &FanningOut, wire: &Wire) -> Turns {
    let part = (0..wire.peers()).filter(|&peer| rooms.layout.publisher(peer).is_none()).count();
    let all = plan.peers() - plan.publishers();
    if all == 0 {
        // Nobody may: all that is asked for will be missed.
        return Turns::new(per_second, wire.peers(), plan.peers());
    }
    Turns::new(per_second, part, all)
}

/// Whether a member may take a turn: it is connected and no publisher, for those stay. So does one that was
/// let in and has not heard anything since: if it left, it would be forgiven what it is owed.
pub(super) fn may_leave(wire: &Wire, rooms: &FanningOut, peer: usize) -> bool {
    let stays = rooms.layout.publisher(peer).is_some() || rooms.awaits_first(wire, peer);
    !stays && wire.phase(peer) == Phase::Open
}
