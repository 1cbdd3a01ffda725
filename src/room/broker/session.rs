//! What cores and the broker say of sessions, so that any node can go on with one.
//!
//! Invariant: a session belongs to the node that last fetched it, or began it, or went on with it while it
//! could not ask; only that node's word is kept, also by a broker that has lost which that is.

use crate::clock::Moment;

use super::Fault;

/// From a core to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSessions {
    /// Keep what a session of this node has.
    Keep {
        /// Which. Secret.
        session: [u8; 16],
        /// Whose it is.
        owner: Box<[u8]>,
        /// Since when it is this node's.
        since: Since,
        /// For how long, in milliseconds.
        ttl_ms: u64,
        /// What it has.
        written: Box<[u8]>,
        /// The node that is to be told when that is done.
        wanted_by: Option<Box<str>>,
    },
    /// Tell a node that this one has let go of a session, or never had it.
    Free {
        /// Which.
        session: [u8; 16],
        /// Which node.
        wanted_by: Box<str>,
    },
    /// Make a session this node's, and say what it has. Another node that has it is made to let go.
    Fetch {
        /// Which.
        session: [u8; 16],
        /// Who asks for it.
        owner: Box<[u8]>,
        /// How long it is kept from now on, in milliseconds.
        ttl_ms: u64,
    },
}

/// Since when a session is a node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// By the broker's clock; 0: it began there.
    pub at: u64,
    /// When a client came back to it there, if the broker has not said since whose it is: it is that
    /// node's since then, unless another one has fetched it later.
    pub came_at: Option<Moment>,
}

impl Since {
    /// The broker has said that it is the node's since then.
    #[must_use]
    pub fn told(at: u64) -> Self {
        Self { at, came_at: None }
    }

    /// As its home knows. True if the broker has said that since it was left.
    pub fn note(&mut self, at: u64) -> bool {
        let is_new = at > self.at;
        if is_new {
            *self = Self::told(at);
        }
        is_new
    }

    /// A client comes back to it; none: no broker says whose it is.
    pub fn come_back(&mut self, at: u64, now: Option<Moment>) {
        if !self.note(at) {
            self.came_at = now;
        }
    }
}

/// What the broker had of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// This node had it: what it knows itself is newer.
    pub is_own: bool,
    /// Since when it is this node's, later than any other's.
    pub since: u64,
    /// What it had.
    pub written: Box<[u8]>,
}

/// A node wants a session that another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// It is to be told when the session is free.
    pub node: Box<str>,
    /// Since when the other has it, as far as this node knows: if since later, it knew too little.
    pub since: u64,
}

/// From the broker to a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSessions {
    /// To the core that fetched a session.
    Fetched {
        /// Which.
        session: [u8; 16],
        /// None: it is nobody's, or not that owner's.
        outcome: Result<Option<Found>, Fault>,
    },
    /// To the core that fetched a session: while one node was asked to let go of it, another one has
    /// taken it.
    Taken {
        /// Which.
        session: [u8; 16],
    },
    /// To all cores: another node has a session, or wants it.
    Lost {
        /// Which.
        session: [u8; 16],
        /// By whom it is wanted, if it is.
        claim: Option<Claim>,
    },
}

impl ToSessions {
    /// What of a client it holds in memory.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Keep { written, .. } => written.len(),
            Self::Free { .. } | Self::Fetch { .. } => 0,
        }
    }
}

impl FromSessions {
    /// What of a client it holds in memory.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Fetched { outcome: Ok(Some(found)), .. } => found.written.len(),
            Self::Fetched { .. } | Self::Taken { .. } | Self::Lost { .. } => 0,
        }
    }
}
