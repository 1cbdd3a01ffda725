//! What an engine counts, for the control plane to read.

use crate::metrics::Figure;

/// The counters of one engine.
#[derive(Debug, Default)]
pub struct Figures {
    /// Connections that are open now.
    pub connections: Figure,
    /// Connections that the server closed.
    pub closed: Figure,
    /// Bytes that reached the kernel.
    pub written_bytes: Figure,
}
