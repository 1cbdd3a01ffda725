//! Settings of the engine: rooms, sessions, and what one peer, message or queue may hold.

use crate::config::Config;
use crate::config::setting::choices;
use crate::config::table::{DAY_MS, GIB, MIB, MINUTE_MS, range, section};

section! {
    /// Sessions that outlive a connection.
    pub Config.session: Session {
        /// How long after its last connection a session can be resumed; 0: not at all.
        ttl_ms: u64 = 120_000, range(0..=7 * DAY_MS), Milliseconds;
    }
}

section! {
    /// Presence.
    pub Config.presence: Presence {
        /// Between the end of a user's last connection and the notice of it, so that a reload is none.
        grace_ms: u64 = 2_000, range(0..=60 * MINUTE_MS), Milliseconds;
    }
}

section! {
    /// Rooms: what all may hold, and the defaults of one.
    pub Config.rooms: Rooms {
        /// After which an unacknowledged message of a guaranteed room goes out again.
        ack_timeout_ms: u64 = 30_000, range(10..=DAY_MS), Milliseconds;
        /// How long a receipt waits for the cores before it is partial.
        receipt_timeout_ms: u64 = 2_000, range(1..=10 * MINUTE_MS), Milliseconds;
        /// How long a publish key is remembered; 0: keys are not looked at.
        idempotency_window_ms: u64 = 300_000, range(0..=DAY_MS), Milliseconds;
        /// Publish keys that a room remembers at once, without Redis. One more is refused until the
        /// window of another is over.
        idempotency_keys: u32 = 100_000, range(1..=10_000_000), Count;
        /// Rooms of the whole process.
        count: u32 = 1_000_000, range(0..=100_000_000), Count;
        /// History of all rooms together.
        history_bytes: u64 = 256 * MIB, range(0..=1_024 * GIB), Bytes;
        /// Publications a best-effort room remembers unless it says otherwise.
        history_size: u32 = 0, range(0..=1_000_000), Count;
        /// Publications a reliable or guaranteed room remembers unless it says otherwise.
        reliable_history_size: u32 = 100, range(1..=1_000_000), Count;
        /// How long a room remembers unless it says otherwise.
        history_ttl_ms: u64 = 300_000, range(1..=365 * DAY_MS), Milliseconds;
        /// Users in a room unless it says otherwise.
        max_members: u32 = 100_000, range(1..=100_000_000), Count;
    }
}

section! {
    /// Namespaces: what stands in a room's name before the first colon.
    pub Config.namespaces: Namespaces {
        /// Whether a name in a namespace that is not configured is refused.
        strict: bool = false;
    }
}

choices! {
    /// What happens to one more connection of a user who has as many as may be.
    UserOverflow {
        /// It is refused.
        #[default]
        Refuse = "refuse",
        /// The oldest one ends.
        ReplaceOldest = "replace_oldest",
    }
}

section! {
    /// What one peer, message or queue may hold.
    pub Config.limits: Limits {
        /// A message, reassembled and inflated; more closes with 1009.
        message_bytes: u32 = 65_536, range(256..=256 * MIB), Bytes;
        /// A frame; more closes with 1009 before any of it is kept.
        frame_bytes: u32 = 65_536, range(125..=256 * MIB), Bytes;
        /// Frames of a message: the bound on what a stream of tiny ones can cost.
        fragments: u32 = 1_024, range(1..=16_777_216), Count;
        /// Messages of a batch.
        batch_messages: u16 = 100, range(1..=10_000), Count;
        /// Bad messages within a minute before the connection is closed.
        bad_messages: u16 = 10, range(1..=65_535), Count;
        /// Bytes queued for a connection; what is over is a slow consumer.
        outbox_bytes: u32 = 1_048_576, range(1_024..=GIB), Bytes;
        /// Bytes queued for all connections of the process. Each core has its share of it.
        outbox_total_bytes: u64 = GIB, range(1_024..=1_024 * GIB), Bytes;
        /// Bytes held of what all connections of the process have sent in part, or do not read the
        /// answers to: who sits on most of it for longest is closed with 1013 when more comes. Each core
        /// has its share of it.
        inbox_total_bytes: u64 = 256 * MIB, range(1_024..=1_024 * GIB), Bytes;
        /// The state a session keeps for its client.
        state_bytes: u32 = 4_096, range(0..=16 * MIB), Bytes;
        /// Rooms a connection may have joined; 0: none.
        rooms_per_connection: u16 = 128, range(0..=65_535), Count;
        /// Pattern subscriptions of a connection; 0: none.
        subscriptions_per_connection: u16 = 32, range(0..=65_535), Count;
        /// Messages of one recovery; a client that missed more starts anew.
        recovery_messages: u32 = 1_000, range(0..=1_000_000), Count;
        /// Bytes of one recovery; a client that missed more starts anew.
        recovery_bytes: u32 = 1_048_576, range(1_024..=GIB), Bytes;
        /// Connections of a user; 0: no limit.
        connections_per_user: u32 = 5, range(0..=1_000_000), Count;
        /// What happens to one more connection of a user who has as many as may be.
        user_overflow: UserOverflow = UserOverflow::Refuse;
        /// Rooms that a user, or an address without one, may make within a minute; 0: no limit.
        room_creations_per_minute: u32 = 60, range(0..=1_000_000), PerMinute;
        /// Nesting of a message: the bound on what a depth bomb can cost.
        depth: u8 = 32, range(4..=128), Count;
        /// Commands of a connection that wait for another core; at the bound its socket is not read.
        unanswered_commands: u16 = 64, range(1..=65_535), Count;
    }
}

/// Makes a section of token buckets. All have the same rows; each says for itself what is usual, and of
/// whom it is.
macro_rules! buckets {
    (
        $(#[doc = $about:literal])+
        $field:ident: $Section:ident {
            messages_per_second = $messages:literal;
            burst = $burst:literal;
            #[doc = $measured:literal]
            bytes_per_second = $bytes:literal;
            #[doc = $banned:literal]
            ban_ms;
        }
    ) => {
        section! {
            $(#[doc = $about])+
            pub Config.$field: $Section {
                /// Messages a second; 0: no limit.
                messages_per_second: u32 = $messages, range(0..=10_000_000), PerSecond;
                /// How many may come at once before that rate holds.
                burst: u32 = $burst, range(0..=10_000_000), Count;
                /// Messages a minute; 0: no limit.
                messages_per_minute: u32 = 0, range(0..=600_000_000), PerMinute;
                #[doc = $measured]
                bytes_per_second: u32 = $bytes, range(0..=GIB), BytesPerSecond;
                #[doc = $banned]
                ban_ms: u64 = 0, range(0..=DAY_MS), Milliseconds;
            }
        }

        impl From<&$Section> for Rate {
            fn from(section: &$Section) -> Self {
                let &$Section {
                    messages_per_second,
                    burst,
                    messages_per_minute,
                    bytes_per_second,
                    ban_ms,
                } = section;
                Self { messages_per_second, burst, messages_per_minute, bytes_per_second, ban_ms }
            }
        }
    };
}

buckets! {
    /// Token buckets of each connection; 0 is off.
    rate: Rate {
        messages_per_second = 100;
        burst = 200;
        /// Bytes a second, and 64 for each frame, pings as well as messages; 0: no limit.
        bytes_per_second = 1_048_576;
        /// How long a connection that keeps on is refused; 0: not at all.
        ban_ms;
    }
}

buckets! {
    /// Token buckets of each user, with all connections on all cores together; 0 is off.
    users: RatePerUser {
        messages_per_second = 100;
        burst = 200;
        /// Bytes a second, and 64 for each frame; 0: no limit.
        bytes_per_second = 1_048_576;
        /// How long a user that keeps on is refused; 0: not at all.
        ban_ms;
    }
}

buckets! {
    /// Token buckets of each address (IPv6: of each /64), behind which there may be many users; 0 is off.
    addresses: RatePerIp {
        messages_per_second = 1_000;
        burst = 2_000;
        /// Bytes a second, and 64 for each frame; 0: no limit.
        bytes_per_second = 10_485_760;
        /// How long an address that keeps on is refused; 0: not at all.
        ban_ms;
    }
}

section! {
    /// When queued bytes are written.
    pub Config.flush: Flush {
        /// How long a tick may grow under saturation, so that fewer, larger writes do the work.
        max_delay_us: u64 = 2_000, range(0..=1_000_000), Microseconds;
    }
}

section! {
    /// Between the cores.
    pub Config.mesh: Mesh {
        /// Batches an inbox holds before senders keep theirs.
        inbox_batches: u32 = 1_024, range(16..=1_048_576), Count;
        /// Bytes that may wait for a core whose inbox is full; past them publications become a gap.
        backlog_bytes: u64 = 64 * MIB, range(1_024..=1_024 * GIB), Bytes;
    }
}
