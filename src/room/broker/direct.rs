//! What cores and the broker say of messages for single connections that other nodes hold.

use crate::id::{ConnectionName, TenantId};

use super::{Fault, Stamp};

/// From a core to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectAsk {
    /// Hand a message to the node that holds a connection.
    Send {
        /// For the answer.
        ticket: u64,
        /// Which connection.
        to: ConnectionName,
        /// The tenant that both must have.
        tenant: TenantId,
        /// The message, [written](crate::room::wire). It says whom to tell what became of it.
        wire: Box<[u8]>,
    },
    /// Tell the core that has sent a message what became of it.
    Answer {
        /// Which message.
        to: Stamp,
        /// Whether the connection's queue took it; none: there is no such connection.
        delivered: Option<bool>,
    },
}

/// From the broker to a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectNews {
    /// Another node has sent a message for a connection of this core.
    Sent {
        /// Which connection.
        to: ConnectionName,
        /// The tenant that it must have.
        tenant: TenantId,
        /// The message, as it was written.
        wire: Box<[u8]>,
    },
    /// What became of a message.
    Answered {
        /// As it was asked.
        ticket: u64,
        /// As the node that holds the connection says.
        outcome: Result<Option<bool>, Fault>,
    },
}
