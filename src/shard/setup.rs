//! What an engine is given when it is made: everything that would make two runs differ.

use std::fmt;
use std::sync::Arc;

use crate::auth::Policy;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::hash::Seed;
use crate::id::CoreId;
use crate::metrics;
use crate::tenant::Tenants;

use super::pace::Senders;

/// Where unguessable bytes come from: the operating system, or a simulation's seed.
pub trait Entropy: fmt::Debug {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// What an engine is given when it is made.
#[derive(Debug)]
pub struct Setup {
    /// Which core it is.
    pub core: CoreId,
    /// How many there are.
    pub cores: u16,
    /// The settings, one for all cores.
    pub config: Arc<Config>,
    /// The key of all maps; the same on all cores, because they agree by it where a room lives.
    pub seed: Seed,
    /// For ids and epochs.
    pub entropy: Box<dyn Entropy>,
    /// Where it counts.
    pub metrics: Arc<metrics::Core>,
    /// What credentials are checked against; none: nothing is configured, and everyone is let in.
    pub policy: Option<Arc<Policy>>,
    /// The tenants, one for all cores.
    pub tenants: Arc<Tenants>,
    /// What users and addresses send, counted by all cores.
    pub senders: Arc<Senders>,
    /// For how long something took.
    pub stopwatch: Stopwatch,
}
