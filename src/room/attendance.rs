//! Who is in a room over all nodes, as its homes and the broker say it to each other.
//!
//! Each node says who is there of its own; the broker keeps what all have said, numbers the changes and
//! tells all who listen. So a home that has come as far as a [`Mark`] knows what all others know there.
//!
//! Invariants: a change follows its mark's predecessor, or is asked for again; what a node says of a
//! user stands until it says otherwise, or is found to be no more.

pub mod wire;

use std::sync::Arc;

use crate::protocol::OwnedData;

/// How far a home has come with who is in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Changes when the broker has forgotten what there was; empty: it knows nothing yet.
    pub life: Arc<str>,
    /// Counts changes.
    pub number: u64,
}

/// What a node says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub user: Arc<str>,
    /// With how many connections they are there; none: they are not there any more. 0 while it is
    /// open whether they come back.
    pub connections: Option<u32>,
    /// What they say about themselves is new.
    pub has_said: bool,
    /// What that is, then.
    pub info: Option<OwnedData>,
}

/// A user, as the broker knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendant {
    /// Who.
    pub user: Arc<str>,
    /// On which nodes, with how many connections.
    pub nodes: Vec<(u64, u32)>,
    /// What they have said about themselves.
    pub info: Option<OwnedData>,
}

/// All that the broker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// How far that goes.
    pub mark: Mark,
    /// How many connections of nobody are on which node; nodes without any that have said something
    /// are among them.
    pub anonymous: Vec<(u64, u32)>,
    /// Those of these nodes that have said nothing in the life of the mark: the broker is another since,
    /// and may lack what they have taken back.
    pub former: Vec<u64>,
    /// The users.
    pub users: Vec<Attendant>,
}

/// What a home wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttendanceAsk {
    /// All that is known, if it is more than this.
    Look(Mark),
    /// Keep what this node says, and tell all who listen.
    Say {
        /// Connections of nobody.
        anonymous: u32,
        /// Users of whom there is something new to say.
        users: Vec<Said>,
    },
    /// Nothing of what this node has said holds any more.
    Forget {
        /// Which.
        node: u64,
        /// Unless it has said so in this life.
        life: Option<Arc<str>>,
    },
}

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How far that goes: it follows on the number before.
    pub mark: Mark,
    /// Whose word it is, or was.
    pub node: u64,
    /// What that node said; none: nothing of what it has said holds any more.
    pub said: Option<(u32, Vec<Said>)>,
}

impl Mark {
    /// Whether what goes as far as `next` is what comes right after this.
    #[must_use]
    pub fn is_before(&self, next: &Self) -> bool {
        let same = self.life == next.life || self.life.is_empty();
        same && self.number.checked_add(1) == Some(next.number)
    }

    /// Whether this goes as far as `other`, or further.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.life == other.life && self.number >= other.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_each_other_within_a_life() {
        let mark = |life: &str, number| Mark { life: life.into(), number };
        assert!(mark("a", 1).is_before(&mark("a", 2)) && Mark::default().is_before(&mark("a", 1)));
        for (one, other) in [
            (mark("a", 1), mark("a", 3)),
            (mark("a", 1), mark("a", 1)),
            (mark("a", 1), mark("b", 2)),
            (Mark::default(), mark("a", 2)),
            (mark("a", u64::MAX), mark("a", 0)),
        ] {
            assert!(!one.is_before(&other), "{one:?} {other:?}");
        }
        assert!(mark("a", 2).covers(&mark("a", 2)) && mark("a", 2).covers(&mark("a", 1)));
        assert!(!mark("a", 2).covers(&mark("a", 3)) && !mark("a", 2).covers(&mark("b", 1)));
    }
}
