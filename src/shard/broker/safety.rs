//! Rooms that ask for more than Redis is configured for: they do not open, and say why.

use crate::protocol::{Durability, RoomPatch};
use crate::room::config::{ConfigError, RoomConfig};
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::shard::Shard;

use super::unavailable;

impl Shard {
    /// How a room is configured, or would be.
    pub(super) fn config_of(&self, room: &RoomKey) -> &RoomConfig {
        match self.homes.rooms.get(room) {
            Some(home) => &home.room.config,
            None => &self.homes.namespaces.of(room).config,
        }
    }

    /// Whether the broker keeps a room's messages as safely as it asks.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check_safety(&self, room: &RoomKey) -> Result<(), Refusal> {
        let durability = self.config_of(room).durability;
        if self.broker.kept.honours(durability) {
            return Ok(());
        }
        Err(unavailable(what_is_short_of(durability)))
    }

    /// Why a room is not configured so. What only Redis is short of is no fault of who asks.
    pub(in crate::shard) fn bad_config(&self, patch: &RoomPatch, error: ConfigError) -> Refusal {
        match (error, patch.durability) {
            (ConfigError::Durability, Some(durability)) if self.broker.is_there() => {
                unavailable(what_is_short_of(durability))
            }
            _ => error.refusal(),
        }
    }

    /// Whether a room may be opened to somebody. Where the broker is out of reach it is not known to be
    /// short of anything.
    ///
    /// # Errors
    /// The broker is in reach, and does not keep the room's messages as safely as it asks.
    pub(in crate::shard) fn may_open(&self, room: &RoomKey) -> Result<(), Refusal> {
        let is_severed = self.broker.rooms.get(room).is_some_and(|it| it.is_severed);
        if self.broker.is_up && !is_severed { self.check_safety(room) } else { Ok(()) }
    }
}

/// What Redis would have to be for that, in its own words.
fn what_is_short_of(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "Redis does not keep messages as safely as this room asks",
        Durability::Everysec => {
            "Redis does not keep messages as safely as this room asks: everysec needs appendonly yes, \
             appendfsync everysec or always, no-appendfsync-on-rewrite no and maxmemory-policy \
             noeviction"
        }
        Durability::Always => {
            "Redis does not keep messages as safely as this room asks: always needs appendonly yes, \
             appendfsync always, no-appendfsync-on-rewrite no and maxmemory-policy noeviction"
        }
        Durability::Replicas(_) => {
            "Redis does not keep messages as safely as this room asks: replicas:N needs N replicas \
             online and maxmemory-policy noeviction"
        }
    }
}
