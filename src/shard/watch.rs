//! What cores of a node say to each other of patterns that are received over nodes: core 0 speaks with
//! the broker for all of them.

use std::sync::Arc;

use crate::clock::Moment;
use crate::id::TenantId;
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;

/// A word of that.
#[derive(Clone, Debug)]
pub enum Watch {
    /// To core 0: this core receives a pattern, as all cores here know.
    Hold {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// To be told again when all nodes know; none: it does no longer.
        number: Option<u64>,
    },
    /// From core 0: all nodes know.
    Holds {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// As it was told.
        number: u64,
    },
    /// From core 0 to all: what other nodes receive.
    Known {
        /// When the broker was asked.
        asked_at: Moment,
        /// Whether nothing can be missing.
        is_sure: bool,
        /// What; none: what was known already.
        others: Option<Arc<[(TenantId, Pattern)]>>,
    },
    /// From core 0 to all: calls that were noted may be lost.
    Doubt,
    /// From core 0 to all: say when the rooms that were called so far are followed.
    Check {
        /// To be told again.
        number: u64,
    },
    /// To core 0: they are.
    Checked {
        /// As it was told.
        number: u64,
    },
    /// To core 0: a room is about to begin here: has it been called?
    Heed {
        /// Which.
        room: RoomKey,
        /// To be told again.
        number: u64,
    },
    /// From core 0: if it has, that was told.
    Heeded {
        /// Which.
        room: RoomKey,
        /// As it was told.
        number: u64,
    },
    /// To all: something was missed that connections here receive by patterns.
    Missed {
        /// Of which room; none: nobody can know any more of which.
        room: Option<RoomKey>,
    },
}
