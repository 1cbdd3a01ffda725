//! What engines say to each other.

/// A message from one core's engine to another's.
#[derive(Clone, Debug)]
pub enum CoreMessage {}
