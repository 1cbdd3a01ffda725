//! What engines say to each other.

/// A message from one core's engine to another's.
#[derive(Clone, Debug)]
pub enum CoreMessage {}

impl CoreMessage {
    /// What it counts on the mesh.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        size_of::<Self>()
    }
}
