//! What a room is configured to be: what was set for it, and what follows from that.
//!
//! [`Settings`] are what somebody set: for a room, for a namespace, for a parent. A [`RoomConfig`] is
//! the answer to every question, resolved from several of them.
//!
//! Invariants: [`Settings`] hold only what was validated, field by field and against each other; a
//! [`RoomConfig`] that promises recovery keeps history, whatever its layers say together; the text
//! of a password is never kept.

mod namespace;
mod settings;
#[cfg(test)]
mod tests;

use crate::bucket::Quota;
use crate::protocol::{
    Durability, Mode, OwnedData, Role, RoomPatch, RoomRate, RoomType, SlowConsumer, WordFilter,
};

use super::history;

pub use namespace::{Namespace, Namespaces};
pub use settings::{Bounds, ConfigError, General, Password, Salt, Settings};

/// Bytes kept where nothing is set.
const HISTORY_BYTES: u64 = 1 << 20;

/// How a room is.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// Who joins.
    pub room_type: RoomType,
    /// Whether the room stays when empty.
    pub persistent: bool,
    /// What lets into a protected room.
    pub password: Option<Password>,
    /// Users; never 0.
    pub max_members: u32,
    /// What is promised about delivery.
    pub mode: Mode,
    /// When a publish counts as stored.
    pub durability: Durability,
    /// What is kept.
    pub history: history::Bounds,
    /// What happens to slow readers.
    pub slow_consumer: SlowConsumer,
    /// Whether the room tells who is there.
    pub presence: bool,
    /// The least role that publishes.
    pub publish_role: Role,
    /// The longest `data`.
    pub message_bytes: u32,
    /// How often a user publishes.
    pub rate: Quota,
    /// The same as it was set.
    rate_as_set: Option<RoomRate>,
    /// Least time between two messages of a user; 0: none.
    pub slow_mode_ms: u64,
    /// What may not be said.
    pub word_filter: Option<WordFilter>,
    /// Whether messages are deflated where the connection can.
    pub compress: bool,
    /// The owner's own; a map.
    pub metadata: Option<OwnedData>,
    /// Whether what is not set comes from the parent room.
    pub parent_inherit: bool,
}

/// What a room's configuration comes from; the nearest wins.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What was set for the room itself.
    pub own: &'a Settings,
    /// What was set for its parents, the nearest first, as far as each inherits from the next.
    pub parents: &'a [&'a Settings],
    /// What was set for its namespace.
    pub namespace: &'a Settings,
}

impl RoomConfig {
    /// What follows from `layers`: each field from the first layer that sets it, else the default of
    /// the mode. `parent_inherit` alone never comes from a parent; where it is not set, nothing does.
    #[must_use]
    pub fn resolve(layers: Layers<'_>, bounds: &Bounds) -> Self {
        let Layers { own, parents, namespace } = layers;
        let inherits = own.parent_inherit().or(namespace.parent_inherit()).unwrap_or(false);
        let mut all = own.clone();
        for parent in parents.iter().filter(|_| inherits) {
            all.fill(parent);
        }
        all.fill(namespace);
        let (set, password) = all.into_parts();

        let general = &bounds.general;
        let mode = set.mode.unwrap_or_default();
        // A layer may ask for recovery and another for no history; the promise wins.
        let (least, usual) = if mode == Mode::BestEffort {
            (0, general.history_size)
        } else {
            (1, general.reliable_history_size)
        };
        let size = set.history_size.filter(|size| *size >= least).unwrap_or(usual);
        Self {
            room_type: set.room_type.unwrap_or_default(),
            persistent: set.persistent.unwrap_or(false),
            password,
            max_members: set.max_members.unwrap_or(general.max_members),
            mode,
            durability: set.durability.unwrap_or_default(),
            history: history::Bounds {
                size,
                bytes: set.history_bytes.unwrap_or(HISTORY_BYTES).min(bounds.history_bytes),
                ttl_ms: set.history_ttl_ms.unwrap_or(general.history_ttl_ms),
            },
            slow_consumer: set.slow_consumer.unwrap_or_default(),
            presence: set.presence.unwrap_or(true),
            publish_role: set.publish_role.unwrap_or_default(),
            message_bytes: set.message_bytes.unwrap_or(bounds.message_bytes),
            rate: set
                .rate
                .map_or(Quota::UNLIMITED, |rate| Quota::per_second(rate.per_second, rate.burst)),
            rate_as_set: set.rate,
            slow_mode_ms: set.slow_mode_ms.unwrap_or(0),
            word_filter: set.word_filter,
            compress: set.compress.unwrap_or(true),
            metadata: set.metadata,
            parent_inherit: inherits,
        }
    }

    /// The same as an answer carries it: every field that has a value, the password left out.
    #[must_use]
    pub fn describe(&self) -> RoomPatch {
        RoomPatch {
            room_type: Some(self.room_type),
            persistent: Some(self.persistent),
            password: None,
            max_members: Some(self.max_members),
            mode: Some(self.mode),
            durability: Some(self.durability),
            history_size: Some(self.history.size),
            history_bytes: Some(self.history.bytes),
            history_ttl_ms: Some(self.history.ttl_ms),
            slow_consumer: Some(self.slow_consumer),
            presence: Some(self.presence),
            publish_role: Some(self.publish_role),
            message_bytes: Some(self.message_bytes),
            rate: self.rate_as_set,
            slow_mode_ms: Some(self.slow_mode_ms),
            word_filter: self.word_filter.clone(),
            compress: Some(self.compress),
            metadata: self.metadata.clone(),
            parent_inherit: Some(self.parent_inherit),
        }
    }
}
