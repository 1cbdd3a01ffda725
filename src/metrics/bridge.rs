//! The figures of the bridge to Redis.

use super::{ByReason, Figure, Histogram, Interop};

/// How the link to Redis is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// There is none: the node is a server by itself.
    #[default]
    Off,
    /// Not made yet.
    Connecting,
    /// It does its work.
    Up,
    /// Out of reach, or it did not answer in time.
    Lost,
    /// It does not accept the password.
    WrongPassword,
    /// Its rules do not allow what is needed.
    Denied,
    /// It reads its data.
    Loading,
    /// It takes no writes.
    ReadOnly,
    /// Its memory is full.
    OutOfMemory,
    /// It has fewer replicas than it wants to take writes.
    TooFewReplicas,
    /// It is older than 7.0.
    TooOld,
    /// It is a node of a cluster, and `redis.cluster` is not set.
    Cluster,
    /// `redis.cluster` is set, and it is none.
    NoCluster,
    /// No server of the cluster has some of its slots.
    ClusterDown,
    /// Some servers of the cluster are out of reach.
    Partial,
    /// No Sentinel is in reach that knows the primary.
    NoSentinel,
    /// One of both does not accept the other's certificate.
    Tls,
    /// The nodes there speak another version.
    OtherVersion,
}

impl LinkState {
    const ALL: [Self; 18] = [
        Self::Off,
        Self::Connecting,
        Self::Up,
        Self::Lost,
        Self::WrongPassword,
        Self::Denied,
        Self::Loading,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::TooFewReplicas,
        Self::TooOld,
        Self::Cluster,
        Self::NoCluster,
        Self::ClusterDown,
        Self::Partial,
        Self::NoSentinel,
        Self::Tls,
        Self::OtherVersion,
    ];

    /// Its word in health, metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Lost => "lost",
            Self::WrongPassword => "wrong_password",
            Self::Denied => "denied",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::TooFewReplicas => "too_few_replicas",
            Self::TooOld => "too_old",
            Self::Cluster => "cluster",
            Self::NoCluster => "no_cluster",
            Self::ClusterDown => "cluster_down",
            Self::Partial => "partial",
            Self::NoSentinel => "no_sentinel",
            Self::Tls => "tls",
            Self::OtherVersion => "other_version",
        }
    }
}

/// The figures of the bridge.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Bridge {
    link: Figure,
    /// The form in which the nodes on this Redis write; 0: that is not known yet.
    pub form: Figure,
    /// Rooms that are listened to.
    pub rooms: Figure,
    /// Publishes that wait for Redis.
    pub queue_messages: Figure,
    /// Their bytes.
    pub queue_bytes: Figure,
    /// Publishes that were placed.
    pub published: Figure,
    /// Publishes that were not, or of which it is not known.
    pub failed: Figure,
    /// News heard.
    pub heard: Figure,
    /// News that could not be read.
    pub unreadable: Figure,
    /// News that did not fit on the way to a core, which asked for them again.
    pub missed: Figure,
    /// Calls that were made again because their slot had moved.
    pub strayed: Figure,
    /// Subscriptions that Redis has ended by itself, and that were made again.
    pub silenced: Figure,
    /// Temporary rooms that were deleted, because nobody followed them any more.
    pub ended: Figure,
    /// Times a link was made.
    pub connects: Figure,
    /// 1 while backends that know only `PUBLISH` are listened to.
    pub interop_up: Figure,
    /// What backends have said by `PUBLISH` alone.
    pub interop: ByReason<Interop>,
    /// From a publish to its place.
    pub latency: Histogram,
}

impl Bridge {
    /// How the link is.
    #[must_use]
    pub fn link(&self) -> LinkState {
        let place = usize::try_from(self.link.get()).unwrap_or(usize::MAX);
        LinkState::ALL.get(place).copied().unwrap_or_default()
    }

    /// The link is another. Only for the owner.
    pub fn set_link(&self, link: LinkState) {
        let place = LinkState::ALL.iter().position(|other| *other == link).unwrap_or_default();
        self.link.set(place as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back() {
        let bridge = Bridge::default();
        assert_eq!(bridge.link(), LinkState::Off);
        for state in LinkState::ALL {
            bridge.set_link(state);
            assert_eq!(bridge.link(), state);
        }
    }
}
