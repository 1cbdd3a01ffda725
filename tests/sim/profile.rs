//! What a run is like: drawn once from its seed.

use ringroom::config::Config;

use crate::random::Random;

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
    outbox_bytes: u32,
    recovery_messages: u32,
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
        config.rate.messages_per_second = if self.refuses { 20 } else { 0 };
        config.rate.burst = 40;
        config.rate.bytes_per_second = 0;
        config.users.messages_per_second = if self.refuses { 30 } else { 0 };
        config.users.burst = 60;
        config.users.bytes_per_second = 0;
        config
    }

    /// The most that may wait for a connection: what the limit says, a run that began below it, a
    /// recovery, and the answers that may be under way.
    pub(crate) fn outbox_bound(&self, config: &Config) -> usize {
        let limits = &config.limits;
        let answers = usize::from(limits.unanswered_commands) * 4_096;
        limits.outbox_bytes as usize + 65_536 + 4 * limits.recovery_bytes as usize + answers
    }
}
