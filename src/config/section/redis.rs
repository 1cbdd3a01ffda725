//! Settings of the Redis bridge, which makes many nodes one server.

use crate::config::Config;
use crate::config::secret::Secret;
use crate::config::table::{DAY_MS, GIB, MIB, MINUTE_MS, range, section};

section! {
    /// Redis, through which many nodes are one server.
    pub Config.redis: Redis {
        /// Where Redis is, `redis://HOST:PORT/DB` or `unix:///PATH`; none: this node is by itself.
        url: Option<String> = None;
        /// The ACL user; none: the default user.
        username: Option<String> = None;
        /// The password of that user.
        password: Option<Secret> = None;
        /// What all keys and channels begin with: letters, digits, `-`, `_` and `:`.
        prefix: String = "ringroom".to_owned();
        /// How long Redis may take to answer before a publish is refused and the link counts as lost.
        timeout_ms: u64 = 2_000, range(50..=10 * MINUTE_MS), Milliseconds;
        /// The longest pause between two attempts to connect; each pause is a random part of it.
        reconnect_max_ms: u64 = 5_000, range(10..=10 * MINUTE_MS), Milliseconds;
        /// How long a room that nobody here has joined is still listened to.
        grace_ms: u64 = 10_000, range(0..=60 * MINUTE_MS), Milliseconds;
        /// How long after the end of a node without a farewell its users are gone on all others.
        lease_ms: u64 = 10_000, range(1_000..=10 * MINUTE_MS), Milliseconds;
        /// How long Redis remembers a room in which nothing happens.
        room_ttl_ms: u64 = 7 * DAY_MS, range(MINUTE_MS..=365 * DAY_MS), Milliseconds;
        /// Publishes that may wait for Redis; more are refused.
        queue_messages: u32 = 65_536, range(16..=16_777_216), Count;
        /// Bytes of publishes that may wait for Redis; more are refused.
        queue_bytes: u64 = 64 * MIB, range(1_024..=64 * GIB), Bytes;
        /// Whether the node is ready while Redis is out of reach.
        ready_without: bool = true;
    }
}
