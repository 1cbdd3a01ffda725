//! What the threads of this process say to each other.

pub mod relay;

use std::sync::Arc;

use crate::auth::{self, Policy};
use crate::config::Config;
use crate::decision::shared;
use crate::node::{Facts, Known};
use crate::origin::Origins;
use crate::record::Record;
use crate::shard::{Carried, Edict, Pages};

/// A message on the mesh. `M` is what the engines of cores say to each other.
#[derive(Debug)]
pub enum Letter<M> {
    /// From one core's engine to another's.
    Core(M),
    /// About a plain HTTP connection: between a core and the control plane.
    Relay(relay::Message),
    /// From the process to a core.
    Order(Order),
    /// From the control plane to every core: what the operator has decided.
    Edict {
        /// Names it in the answers.
        number: u64,
        /// What.
        edict: Edict,
    },
    /// From a core to the control plane: an edict is carried out.
    Carried(Carried),
    /// From a core to the control plane: something about a credential is to be found out.
    Question(Box<auth::Question>),
    /// From the control plane to a core: what was found out.
    Answer(Box<auth::Answer>),
    /// From the control plane to the bridge: what this node says of itself.
    Facts(Box<Facts>),
    /// From the bridge to the control plane: all nodes there are.
    Nodes(Arc<[Known]>),
    /// From the control plane to the bridge: about decisions for all nodes.
    Share(Box<shared::Ask>),
    /// From the bridge to the control plane: the same.
    Shared(Box<shared::News>),
    /// From a core to the control plane, for the audit trail.
    Record(Box<Record>),
    /// From a core to the control plane: so many records did not fit between the two.
    RecordsLost(u64),
}

/// What a core is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Stop accepting, and send all connections away.
    Drain {
        /// Over how long.
        window_ms: u64,
    },
    /// Let clients in: what the operator has decided on other nodes holds here.
    Admit,
    /// Go by these settings from now on, as far as they can change in a running process.
    Reload(Arc<Reload>),
    /// Do something no core should ever do. Cores obey only where `dev.faults` is set.
    Fault(Fault),
}

/// New settings, for what comes in from now on.
#[derive(Debug)]
pub struct Reload {
    /// The settings.
    pub config: Arc<Config>,
    /// Whose pages may connect.
    pub origins: Arc<Origins>,
    /// Whose pages may connect to which tenant.
    pub pages: Arc<Pages>,
    /// What credentials are checked against, where they are.
    pub policy: Option<Arc<Policy>>,
    /// What each listener encrypts with, if it does.
    pub tls: Vec<Option<Arc<rustls::ServerConfig>>>,
}

/// A fault on request, for the test suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Panic in the core's own loop.
    Panic,
    /// Believe that the wall clock has jumped.
    Clock {
        /// How far from where it is.
        by_ms: i64,
    },
    /// Do nothing else for so long.
    Wedge {
        /// For how long.
        for_ms: u64,
    },
}
