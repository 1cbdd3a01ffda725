//! The engine of one core: inputs in, effects out. It holds the connections' sessions and outboxes,
//! the rooms whose home this core is, and the local members of all other rooms.
//!
//! Invariants: it does no I/O and knows no time but the one it is given; the same inputs give the
//! same outputs; what it queues for a connection is bounded.

mod effect;
mod input;

pub use effect::Effects;
pub use input::{Input, Opened, Route};
