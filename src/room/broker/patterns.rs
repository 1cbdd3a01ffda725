//! What nodes tell each other, through the broker, of patterns of rooms: who receives which, and in
//! which rooms somebody publishes that others receive by a pattern.
//!
//! Whoever publishes in a room that a pattern of another node matches *calls* the room before: the
//! broker keeps calls in one order, and the nodes that receive patterns read them.

use std::sync::Arc;

use crate::id::TenantId;
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;

/// Where in a room those begin who were not there: behind this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Which life of it.
    pub epoch: Arc<str>,
    /// The last offset that is not for them.
    pub offset: u64,
}

/// The place of a call among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// When it came, in Unix time by the broker's clock.
    pub at_ms: u64,
    /// Counts those of the same moment.
    pub number: u64,
}

/// Which calls a node wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// None: it receives no pattern.
    None,
    /// Those behind this.
    After(CallId),
    /// All that may still hold; those behind this, if there is one, as new.
    Live(Option<CallId>),
}

impl Calls {
    /// The one behind which they are new; none: all are old.
    #[must_use]
    pub fn last(self) -> Option<CallId> {
        match self {
            Self::None => None,
            Self::After(last) => Some(last),
            Self::Live(last) => last,
        }
    }
}

/// From a node to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternAsk {
    /// What do others receive, and what have they called?
    Read {
        /// What this node receives, where that is to be taken down.
        says: Option<Arc<[(TenantId, Pattern)]>>,
        /// How it knows what others receive.
        mark: Arc<str>,
        /// The calls that it wants.
        calls: Calls,
    },
    /// A room is about to be published in.
    Call {
        /// Which.
        room: RoomKey,
        /// Where it is; none: that is not known.
        place: Option<Beginning>,
    },
}

/// What others receive, and what they have called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    /// Which list it is, and how often it has changed, divided by a space.
    pub mark: Arc<str>,
    /// How old the list is: a young one may lack what was in one before that is lost.
    pub age_ms: u64,
    /// What the other nodes receive; none: what was known already.
    pub others: Option<Vec<(TenantId, Pattern)>>,
    /// What this node received was in the list, before it said anything now.
    pub had_own: bool,
    /// There are other nodes that take part.
    pub has_others: bool,
    /// There are nodes that know nothing of patterns.
    pub has_strangers: bool,
    /// What was called, in order.
    pub calls: Vec<Call>,
    /// The last call that there is.
    pub last: CallId,
    /// Some calls that were wanted are not there any more.
    pub is_cut: bool,
}

/// A room that was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub room: RoomKey,
    /// Where it was; none: that is not known.
    pub place: Option<Beginning>,
    /// It has not been told, and this node received something when it was made.
    pub is_new: bool,
}

impl Patterns {
    /// Which list it is.
    #[must_use]
    pub fn list(mark: &str) -> &str {
        mark.split(' ').next().unwrap_or_default()
    }
}
