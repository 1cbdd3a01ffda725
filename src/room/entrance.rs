//! A user's connections over all nodes, as the user's home and the broker say it to each other, where
//! their number is limited.

use std::sync::Arc;

use crate::id::{ConnectionAddress, TenantId};

/// A connection of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub tenant: TenantId,
    /// Who.
    pub user: Arc<str>,
    /// Which, on this node.
    pub at: ConnectionAddress,
}

/// What a user's home wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntranceAsk {
    /// May one more be? It is counted if it may.
    Enter {
        /// How many there may be.
        most: u32,
        /// Whether the oldest goes if there are too many.
        replaces: bool,
        /// Which one on this node it takes the place of.
        instead: Option<ConnectionAddress>,
    },
    /// It is gone.
    Exit,
}
