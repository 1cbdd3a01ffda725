//! Connects as fast as is allowed: the time until all are open, and of each handshake.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::{Plan, Scenario};
use crate::net::wire::Wire;

/// Options of `storm`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Connections.
    #[arg(short = 'n', long, default_value_t = 5_000)]
    pub connections: usize,
    /// How long they must last once all are open.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
}

impl Default for Storm {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Storm {
    fn name(&self) -> &'static str {
        "storm"
    }

    fn peers(&self) -> usize {
        self.connections
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn expects_messages(&self) -> bool {
        false
    }

    fn measures_connecting(&self) -> bool {
        true
    }

    /// The storm is how they get there: what follows is holding them.
    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        Hold { connections: self.connections, seconds: self.seconds, members: 0 }.scenario(wire)
    }
}
