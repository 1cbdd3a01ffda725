//! What the threads of this process count, for the control plane to read.
//!
//! Invariants: a figure has one writer, its core, and writing it is a plain store; figures of two
//! cores never share a cache line; what there is to count is fixed when the process starts, so no
//! peer can make a series.

mod bridge;
mod core;
mod figure;
mod histogram;
mod reason;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

pub use self::core::{Core, Deflate, DriverKind};
pub use bridge::{Bridge, LinkState};
pub use figure::Figure;
pub use histogram::{BUCKETS, Histogram};
pub use reason::{ByReason, Close, Gap, HandshakeFailure, Interop, Reason, Refusal};
pub use text::{ProcessFacts, TEXT_TYPE, text};

use crate::id::CoreId;

/// The figures of all cores.
#[derive(Clone, Debug)]
pub struct Registry {
    cores: Arc<[Arc<Core>]>,
    bridge: Arc<Bridge>,
}

impl Registry {
    /// Figures at zero for so many cores.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        Self { cores: (0..cores).map(|_| Arc::default()).collect(), bridge: Arc::default() }
    }

    /// The figures of one core, if there is such a core.
    #[must_use]
    pub fn core(&self, core: CoreId) -> Option<&Arc<Core>> {
        self.cores.get(core.index())
    }

    /// The figures of the bridge to Redis.
    #[must_use]
    pub fn bridge(&self) -> &Arc<Bridge> {
        &self.bridge
    }

    /// The figures of all cores, in the order of their ids.
    pub fn cores(&self) -> impl Iterator<Item = (CoreId, &Core)> {
        (0..).map(CoreId).zip(self.cores.iter().map(Arc::as_ref))
    }
}
