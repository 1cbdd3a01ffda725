//! How the threads of this process talk: one bounded inbox a party, one batch per peer and tick,
//! and a doorbell for a party that sleeps.
//!
//! Invariants: nobody ever waits for a peer; from one party to another, messages arrive in the
//! order they were posted; a party that has something to take, or room for what it could not send,
//! is never left asleep; a doorbell is rung at most once for each time its owner fell asleep.

mod doorbell;
mod port;
mod sleep;
#[cfg(test)]
mod tests;

use std::io;

pub use port::{Batch, Delivery, MESSAGES_PER_BATCH, Port, PostError};

/// What `sleep` is made of; its loom test puts loom's own in this place.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

/// How large a mesh is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Who takes part: the cores first, then the other threads.
    pub parties: u16,
    /// Batches an inbox holds.
    pub inbox_batches: usize,
    /// Bytes that may be on their way from one party to another before [`Port::is_over`].
    pub backlog_bytes: u64,
}

/// Makes the mesh: one port for each party, in the order of their ids.
///
/// Opens a descriptor for each party. Call it before any thread unshares its descriptor table; a
/// thread that closes what it inherited must keep [`Port::doorbells`].
///
/// # Errors
///
/// The kernel refuses a descriptor.
pub fn build<T: Send>(plan: Plan) -> io::Result<Vec<Port<T>>> {
    port::build(plan)
}
