//! To an engine as a whole.

use crate::id::{ConnectionAddress, CoreId, TenantId};
use crate::room::pattern::Pattern;
use crate::room::publication::Form;
use crate::shard::Shard;

/// To an engine as a whole.
#[derive(Clone, Debug)]
pub enum ToEngine {
    /// To every core: this one has carried out an edict.
    Carried {
        /// Which.
        number: u64,
    },
    /// To every core: this core does, or does no longer, receive a pattern.
    Pattern {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// How messages are written to those who receive it; none: nobody does any more.
        form: Option<Form>,
        /// To be told again when it holds.
        number: u64,
    },
    /// From every core: a pattern holds from here on.
    PatternHolds {
        /// Whose rooms.
        tenant: TenantId,
        /// Which rooms.
        pattern: Pattern,
        /// As it was told.
        number: u64,
    },
    /// For the test suite: a message that an engine panics of.
    Fault {
        /// Who wants that.
        by: ConnectionAddress,
    },
}

impl Shard {
    /// Something for this engine as a whole.
    pub(super) fn on_engine(&mut self, from: CoreId, message: ToEngine) {
        match message {
            ToEngine::Carried { number } => self.on_carried(number),
            ToEngine::Pattern { tenant, pattern, form, number } => {
                self.on_pattern(from, tenant, pattern, form, number);
            }
            ToEngine::PatternHolds { tenant, pattern, number } => {
                self.on_pattern_holds(tenant, pattern, number);
            }
            ToEngine::Fault { .. } => panic!("a panic on request"),
        }
    }
}
