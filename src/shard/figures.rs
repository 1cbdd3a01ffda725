//! What an engine counts, for the control plane to read.

use crate::metrics::Figure;

/// The counters of one engine.
#[derive(Debug, Default)]
pub struct Figures {
    /// Connections that are open now.
    pub connections: Figure,
    /// Connections that the server closed.
    pub closed: Figure,
    /// Rooms whose home this core is.
    pub rooms: Figure,
    /// Sessions whose home this core is.
    pub sessions: Figure,
    /// Messages published in them.
    pub published: Figure,
    /// Messages queued for connections.
    pub delivered: Figure,
    /// Messages not queued for connections that read too slowly.
    pub withheld: Figure,
    /// Messages of clients that could not be understood.
    pub bad_messages: Figure,
    /// Messages of clients that came too fast.
    pub rate_limited: Figure,
    /// Bytes that reached the kernel.
    pub written_bytes: Figure,
}
