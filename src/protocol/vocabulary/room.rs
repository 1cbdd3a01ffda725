//! What a room can be told to be: the words and the patch of `room.create` and `room.update`.

use crate::protocol::{OwnedData, Secret};

super::words! {
    /// Who joins a room.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum RoomType {
        /// Anyone.
        #[default]
        Public => "public",
        /// Whoever has the password or a room token.
        Protected => "protected",
        /// Members, and others do not see it.
        Private => "private",
        /// The invited.
        InviteOnly => "invite_only",
    }
}

super::words! {
    /// What a room promises about delivery.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Mode {
        /// Losses are announced.
        #[default]
        BestEffort => "best_effort",
        /// Losses are recovered.
        Reliable => "reliable",
        /// Losses do not happen: sent until acknowledged.
        Guaranteed => "guaranteed",
    }
}

super::words! {
    /// What a room does to a connection that reads too slowly.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum SlowConsumer {
        /// Close it.
        #[default]
        Disconnect => "disconnect",
        /// Drop what has waited longest.
        DropOldest => "drop_oldest",
        /// Drop what comes.
        DropNewest => "drop_newest",
        /// Keep the newest of each event.
        Latest => "latest",
    }
}

super::words! {
    /// What a user may do in a room; the order of variants is the order of power.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Role {
        /// Joined, not a member.
        #[default]
        Guest => "guest",
        /// A member.
        Member => "member",
        /// Keeps order.
        Moderator => "moderator",
        /// Configures.
        Admin => "admin",
        /// Everything; the creator.
        Owner => "owner",
    }
}

super::words! {
    /// What a word filter does to a message it finds something in.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum FilterAction {
        /// Refuses it.
        #[default]
        Block => "block",
        /// Covers what it found.
        Mask => "mask",
    }
}

/// When a publish counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// In this process.
    #[default]
    Memory,
    /// Redis writes its log every second.
    Everysec,
    /// Redis has written its log.
    Always,
    /// So many replicas have it.
    Replicas(u8),
}

impl Durability {
    /// The durability spelled so: `memory`, `everysec`, `always`, `replicas:N` with N from 1 to 255.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "memory" => Some(Self::Memory),
            "everysec" => Some(Self::Everysec),
            "always" => Some(Self::Always),
            _ => {
                let digits = text.strip_prefix("replicas:")?;
                // `parse` alone would take "+1" and "01".
                if !digits.starts_with(|c: char| matches!(c, '1'..='9')) {
                    return None;
                }
                digits.parse().ok().map(Self::Replicas)
            }
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Everysec => f.write_str("everysec"),
            Self::Always => f.write_str("always"),
            Self::Replicas(count) => write!(f, "replicas:{count}"),
        }
    }
}

/// How often a user may publish in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomRate {
    /// Lasting.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// What may not be said in a room: `{words?, patterns?, action?}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordFilter {
    /// Found as whole words, in any case.
    pub words: Vec<String>,
    /// Found as regular expressions.
    pub patterns: Vec<String>,
    /// What is done then.
    pub action: FilterAction,
}

/// A room's configuration as it travels: what is given. Read from a command it says what to
/// change; written into an answer it says how the room is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomPatch {
    /// Who joins.
    pub room_type: Option<RoomType>,
    /// Whether the room stays when empty.
    pub persistent: Option<bool>,
    /// Read only, never written; empty: none.
    pub password: Option<Secret<'static>>,
    /// Users.
    pub max_members: Option<u32>,
    /// What is promised about delivery.
    pub mode: Option<Mode>,
    /// When a publish counts as stored.
    pub durability: Option<Durability>,
    /// Publications kept.
    pub history_size: Option<u32>,
    /// Bytes kept.
    pub history_bytes: Option<u64>,
    /// For how long.
    pub history_ttl_ms: Option<u64>,
    /// What happens to slow readers.
    pub slow_consumer: Option<SlowConsumer>,
    /// Whether the room tells who is there.
    pub presence: Option<bool>,
    /// The least role that publishes.
    pub publish_role: Option<Role>,
    /// The longest `data`.
    pub message_bytes: Option<u32>,
    /// How often a user publishes.
    pub rate: Option<RoomRate>,
    /// Least time between two messages of a user; 0: none.
    pub slow_mode_ms: Option<u64>,
    /// What may not be said.
    pub word_filter: Option<WordFilter>,
    /// Whether messages are deflated where the connection can.
    pub compress: Option<bool>,
    /// The owner's own; a map.
    pub metadata: Option<OwnedData>,
    /// Whether what is not set comes from the parent room.
    pub parent_inherit: Option<bool>,
}
