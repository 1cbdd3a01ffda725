//! What a run is like: drawn once from its seed.

use ringroom::config::{Config, RoomDefaults, RoomMode};

use crate::random::Random;

/// After that long, a guaranteed room sends again what was not acknowledged.
pub(crate) const ACK_TIMEOUT_MS: u64 = 2_000;
/// Messages a second of a connection, and at once, where that is limited: one in no whole number of
/// milliseconds, so that it matters how waiting times are rounded.
pub(crate) const RATE: (u32, u32) = (16, 40);
/// The same of a user with all connections.
pub(crate) const USER_RATE: (u32, u32) = (30, 60);

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) cores: u16,
    pub(crate) inbox_batches: usize,
    pub(crate) backlog_bytes: usize,
    pub(crate) deflates: bool,
    /// Rooms are deleted and people sent out.
    pub(crate) moderates: bool,
    /// Rates are limited and rooms are small.
    pub(crate) refuses: bool,
    /// How often a write is under way while the engine goes on.
    pub(crate) flight_percent: u64,
    /// How often clients do not read.
    pub(crate) stall_percent: u64,
    /// How long a turn of time may be.
    pub(crate) long_ms: u64,
    pub(crate) population: usize,
    pub(crate) steps: usize,
    pub(crate) drains: bool,
    /// Some rooms are guaranteed, and are looked at by themselves.
    pub(crate) guarantees: bool,
    /// Messages that a guaranteed room keeps.
    pub(crate) guaranteed_history: u32,
    outbox_bytes: u32,
    pub(crate) recovery_messages: u32,
    grace_ms: u64,
    session_ttl_ms: u64,
}

impl Profile {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            cores: u16::try_from(1 + random.below(4)).expect("at most four"),
            inbox_batches: *random.pick(&[1, 2, 64]),
            backlog_bytes: *random.pick(&[2_000, usize::MAX, usize::MAX]),
            deflates: random.percent(20),
            moderates: random.percent(30),
            refuses: random.percent(20),
            flight_percent: *random.pick(&[0, 20, 60]),
            stall_percent: *random.pick(&[0, 10, 60]),
            long_ms: *random.pick(&[50, 3_000, 40_000]),
            population: 2 + random.below(9),
            steps: *random.pick(&[300, 600, 1_200]),
            drains: random.percent(10),
            guarantees: random.percent(50),
            guaranteed_history: *random.pick(&[3, 12, 60]),
            outbox_bytes: *random.pick(&[2_048, 8_192, 65_536]),
            recovery_messages: *random.pick(&[5, 40, 1_000]),
            grace_ms: *random.pick(&[0, 400, 2_000]),
            session_ttl_ms: *random.pick(&[15_000, 120_000]),
        }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.limits.outbox_bytes = self.outbox_bytes;
        config.limits.recovery_messages = self.recovery_messages;
        config.limits.recovery_bytes = 16_384;
        config.limits.rooms_per_connection = 20;
        config.deflate.min_bytes = 128;
        config.presence.grace_ms = self.grace_ms;
        config.session.ttl_ms = self.session_ttl_ms;
        config.heartbeat.interval_ms = 8_000;
        config.heartbeat.max_missed = 2;
        config.rooms.idempotency_window_ms = 10_000;
        config.rooms.ack_timeout_ms = ACK_TIMEOUT_MS;
        let guaranteed = RoomDefaults {
            mode: Some(RoomMode::Guaranteed),
            history_size: Some(self.guaranteed_history),
            history_ttl_ms: Some(3_600_000),
            ..RoomDefaults::default()
        };
        config.namespace_rooms.insert("safe".to_owned(), guaranteed);
        config.rate.messages_per_second = if self.refuses { RATE.0 } else { 0 };
        config.rate.burst = RATE.1;
        config.rate.bytes_per_second = 0;
        config.users.messages_per_second = if self.refuses { USER_RATE.0 } else { 0 };
        config.users.burst = USER_RATE.1;
        config.users.bytes_per_second = 0;
        config
    }

    /// The most that may wait for a connection: of messages what the limit says, or a run that found
    /// nothing waiting; half the limit of answers; and behind them those that were under way, of which
    /// one may be a page.
    pub(crate) fn outbox_bound(&self, config: &Config) -> usize {
        let limits = &config.limits;
        let limit = limits.outbox_bytes as usize;
        let page = limits.recovery_bytes as usize + 16_384;
        let answers = limit / 2 + page + usize::from(limits.unanswered_commands) * 1_024;
        limit.max(65_536 + 4_096) + answers
    }
}
