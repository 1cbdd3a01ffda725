//! `[namespaces.NAME]`: the defaults of the rooms whose names begin with `NAME:`, and of the two
//! reserved kinds, which have the namespaces `@all` and `@user`.
//!
//! A row has the name that the setting has in a room's `config`. What is not set here has the
//! general default. A password, a word filter and metadata are set for single rooms only.

use crate::config::Config;
use crate::config::setting::{Given, Setting, Wrong, choices};
use crate::config::table::{Bounds, DAY_MS, GIB, MIB, range, section};

choices! {
    /// Who joins a room.
    RoomType {
        /// Anyone.
        #[default]
        Public = "public",
        /// Whoever has the password or a room token.
        Protected = "protected",
        /// Members, and others do not see it.
        Private = "private",
        /// The invited.
        InviteOnly = "invite_only",
    }
}

choices! {
    /// What a room promises about delivery.
    RoomMode {
        /// Losses are announced.
        #[default]
        BestEffort = "best_effort",
        /// Losses are recovered.
        Reliable = "reliable",
        /// Losses do not happen: sent until acknowledged.
        Guaranteed = "guaranteed",
    }
}

/// When a publish of a guaranteed room is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomDurability {
    /// When it is in memory.
    #[default]
    Memory,
    /// When Redis has it, which writes its log every second.
    Everysec,
    /// When Redis has written its log.
    Always,
    /// When so many replicas of Redis have it.
    Replicas(u8),
}

impl RoomDurability {
    /// As it stands in a file.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Everysec => "everysec".to_owned(),
            Self::Always => "always".to_owned(),
            Self::Replicas(count) => format!("replicas:{count}"),
        }
    }

    fn of(word: &str) -> Option<Self> {
        let plain = [Self::Memory, Self::Everysec, Self::Always].into_iter();
        let count = |word: &str| word.strip_prefix("replicas:")?.parse().ok();
        let replicas = count(word).filter(|count| *count > 0).map(Self::Replicas);
        // "replicas:01" and "replicas:+1" are numbers, but no words for it.
        plain.chain(replicas).find(|durability| durability.word() == word)
    }
}

impl Setting for RoomDurability {
    fn wanted(_: &Bounds) -> String {
        "one of \"memory\", \"everysec\", \"always\", \"replicas:N\" with N from 1 to 255"
            .to_owned()
    }
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        given.text().and_then(Self::of).ok_or_else(|| given.wrong(Self::wanted(bounds)))
    }
    fn show(&self) -> Option<String> {
        Some(format!("\"{}\"", self.word()))
    }
}

choices! {
    /// What a room does to a connection that reads too slowly.
    RoomSlowConsumer {
        /// Close it.
        #[default]
        Disconnect = "disconnect",
        /// Drop what has waited longest.
        DropOldest = "drop_oldest",
        /// Drop what comes.
        DropNewest = "drop_newest",
        /// Keep the newest of each event.
        Latest = "latest",
    }
}

choices! {
    /// What a user may do in a room.
    RoomRole {
        /// Joined, not a member.
        #[default]
        Guest = "guest",
        /// A member.
        Member = "member",
        /// Keeps order.
        Moderator = "moderator",
        /// Configures.
        Admin = "admin",
        /// Everything.
        Owner = "owner",
    }
}

/// How often a user publishes in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomRate {
    /// Lasting.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Setting for RoomRate {
    fn wanted(_: &Bounds) -> String {
        "{ per_second = N, burst = N }, and a burst above 0 where there is a rate".to_owned()
    }

    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let wrong = || given.wrong(Self::wanted(bounds));
        let rows = given.table().filter(|rows| rows.len() == 2).ok_or_else(wrong)?;
        let number = |name: &str| {
            let (_, value) = rows.iter().find(|(row, _)| *row == name).ok_or_else(wrong)?;
            u32::read(value, &range(0..=10_000_000))
        };
        let rate = Self { per_second: number("per_second")?, burst: number("burst")? };
        if rate.per_second > 0 && rate.burst == 0 { Err(wrong()) } else { Ok(rate) }
    }

    fn show(&self) -> Option<String> {
        Some(format!("{{ per_second = {}, burst = {} }}", self.per_second, self.burst))
    }
}

section! {
    /// Defaults of the rooms in a namespace; a row that is not set has the general default.
    pub NamespaceDraft.namespace: RoomDefaults {
        /// Who joins.
        r#type: Option<RoomType> = None;
        /// Whether a room stays when it is empty.
        persistent: Option<bool> = None;
        /// Users in a room.
        max_members: Option<u32> = None, range(1..=100_000_000), Count;
        /// What is promised about delivery.
        mode: Option<RoomMode> = None;
        /// When a publish counts as stored; more than `memory` needs Redis.
        durability: Option<RoomDurability> = None;
        /// Publications a room remembers.
        history_size: Option<u32> = None, range(0..=100_000), Count;
        /// Bytes a room remembers; the rooms of the process together have `rooms.history_bytes`.
        history_bytes: Option<u64> = None, range(1..=1_024 * GIB), Bytes;
        /// How long a room remembers.
        history_ttl_ms: Option<u64> = None, range(1..=365 * DAY_MS), Milliseconds;
        /// What happens to slow readers.
        slow_consumer: Option<RoomSlowConsumer> = None;
        /// Whether a room tells who is there.
        presence: Option<bool> = None;
        /// The least role that publishes.
        publish_role: Option<RoomRole> = None;
        /// The longest `data`.
        message_bytes: Option<u32> = None, range(1..=256 * MIB), Bytes;
        /// How often a user publishes.
        rate: Option<RoomRate> = None;
        /// Least time between two messages of a user; 0: none.
        slow_mode_ms: Option<u64> = None, range(0..=DAY_MS), Milliseconds;
        /// Whether messages are deflated where the connection can.
        compress: Option<bool> = None;
        /// Whether what is not set for a room comes from its parent, whose members and bans hold too.
        parent_inherit: Option<bool> = None;
    }
}

/// A `[namespaces.NAME]` table as far as it was read.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct NamespaceDraft {
    pub(in crate::config) namespace: RoomDefaults,
}

impl RoomDefaults {
    /// The first setting that does not go with the others, what was found, and what may be there.
    pub(in crate::config) fn conflict(
        &self,
        config: &Config,
    ) -> Option<(&'static str, String, String)> {
        let recovers = self.mode.is_some_and(|mode| mode != RoomMode::BestEffort);
        if recovers && self.history_size == Some(0) {
            let wanted = "1 or more, because the mode recovers from history";
            return Some(("history_size", "0".to_owned(), wanted.to_owned()));
        }
        let durability = self.durability.filter(|it| *it != RoomDurability::Memory);
        if let Some(word) = durability.filter(|_| !config.redis.is_on()) {
            let wanted = "\"memory\", because there is no Redis".to_owned();
            return Some(("durability", format!("\"{}\"", word.word()), wanted));
        }
        let most = u64::from(config.limits.message_bytes);
        if let Some(bytes) = self.message_bytes.filter(|bytes| u64::from(*bytes) > most) {
            let wanted = format!("at most limits.message_bytes, {most}");
            return Some(("message_bytes", bytes.to_string(), wanted));
        }
        let most = config.rooms.history_bytes;
        if let Some(bytes) = self.history_bytes.filter(|bytes| *bytes > most) {
            let wanted = format!("at most rooms.history_bytes, {most}");
            return Some(("history_bytes", bytes.to_string(), wanted));
        }
        None
    }
}
