//! The namespaces that are configured, and what a room in each of them is.
//!
//! Invariant: the two reserved kinds of rooms always have their namespace; without a word in the
//! configuration they tell nobody's presence and keep no history.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, RoomDefaults};
use crate::protocol::{Durability, Mode, Role, RoomPatch, RoomRate, RoomType, SlowConsumer};
use crate::room::broker::Kept;
use crate::room::name::RoomName;

use super::{Bounds, Layers, RoomConfig, Salt, Settings};

/// Namespaces of the reserved rooms.
const RESERVED: [&str; 2] = ["@all", "@user"];

/// What the rooms of a namespace have in common.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// What is set for it.
    pub settings: Settings,
    /// What a room is there for which nothing is set.
    pub config: Arc<RoomConfig>,
}

/// All that are configured.
#[derive(Clone, Debug)]
pub struct Namespaces {
    by_name: BTreeMap<Box<str>, Arc<Namespace>>,
    general: Arc<Namespace>,
    is_strict: bool,
}

impl Namespace {
    /// One with these settings.
    #[must_use]
    pub fn new(settings: Settings, bounds: &Bounds) -> Self {
        let own = Settings::default();
        let layers = Layers { own: &own, parents: &[], namespace: &settings };
        let config = Arc::new(RoomConfig::resolve(layers, bounds));
        Self { settings, config }
    }
}

impl Namespaces {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        // What Redis keeps is only known when there is a link; until then rooms do not promise it.
        let kept = if config.redis.is_on() { Kept::BEST } else { Kept::default() };
        let bounds = Bounds { kept, ..Bounds::new(config) };
        let make = |patch: &RoomPatch| {
            let mut settings = Settings::default();
            // A namespace sets no password.
            let applied = settings.apply(patch, &bounds, Salt([0; 16]));
            applied.expect("the configuration was checked when it was read");
            Arc::new(Namespace::new(settings, &bounds))
        };
        let configured = config.namespace_rooms.iter();
        let mut by_name: BTreeMap<Box<str>, Arc<Namespace>> = configured
            .map(|(name, rooms)| (name.as_str().into(), make(&patch(name, rooms))))
            .collect();
        for name in RESERVED {
            by_name
                .entry(name.into())
                .or_insert_with(|| make(&patch(name, &RoomDefaults::default())));
        }
        let general = make(&RoomPatch::default());
        Self { by_name, general, is_strict: config.namespaces.strict }
    }

    /// What a room of this name has from its namespace.
    #[must_use]
    pub fn of(&self, room: &RoomName) -> &Arc<Namespace> {
        let configured = room.namespace().and_then(|name| self.by_name.get(name));
        configured.unwrap_or(&self.general)
    }

    /// Whether a room may have this name: not if its namespace is unknown and all must be known.
    #[must_use]
    pub fn admit(&self, room: &RoomName) -> bool {
        !self.is_strict || room.namespace().is_none_or(|name| self.by_name.contains_key(name))
    }
}

/// What a table of the configuration sets.
fn patch(name: &str, rooms: &RoomDefaults) -> RoomPatch {
    let reserved = RESERVED.contains(&name);
    RoomPatch {
        room_type: rooms.r#type.and_then(|word| RoomType::parse(word.word())),
        persistent: rooms.persistent,
        password: None,
        max_members: rooms.max_members,
        mode: rooms.mode.and_then(|word| Mode::parse(word.word())),
        durability: rooms.durability.and_then(|word| Durability::parse(&word.word())),
        history_size: rooms.history_size,
        history_bytes: rooms.history_bytes,
        history_ttl_ms: rooms.history_ttl_ms,
        slow_consumer: rooms.slow_consumer.and_then(|word| SlowConsumer::parse(word.word())),
        presence: rooms.presence.or(reserved.then_some(false)),
        publish_role: rooms.publish_role.and_then(|word| Role::parse(word.word())),
        message_bytes: rooms.message_bytes,
        rate: rooms.rate.map(|rate| RoomRate { per_second: rate.per_second, burst: rate.burst }),
        slow_mode_ms: rooms.slow_mode_ms,
        word_filter: None,
        compress: rooms.compress,
        metadata: None,
        parent_inherit: rooms.parent_inherit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RoomMode, RoomRole, RoomSlowConsumer};

    fn name(text: &str) -> RoomName {
        RoomName::parse(text).expect("a good name")
    }

    #[test]
    fn a_namespace_gives_its_rooms_what_is_set_for_it() {
        let mut config = Config::default();
        config.rooms.max_members = 7;
        let rooms = RoomDefaults {
            mode: Some(RoomMode::Reliable),
            r#type: Some(crate::config::RoomType::InviteOnly),
            slow_consumer: Some(RoomSlowConsumer::DropOldest),
            publish_role: Some(RoomRole::Moderator),
            ..RoomDefaults::default()
        };
        config.namespace_rooms.insert("chat".to_owned(), rooms);
        let namespaces = Namespaces::new(&config);
        let chat = &namespaces.of(&name("chat:1")).config;
        assert_eq!((chat.mode, chat.history.size, chat.max_members), (Mode::Reliable, 100, 7));
        assert_eq!((chat.room_type, chat.publish_role), (RoomType::InviteOnly, Role::Moderator));
        assert_eq!(chat.slow_consumer, SlowConsumer::DropOldest);
        for other in ["chat", "chatter:1", "other:1"] {
            assert_eq!(namespaces.of(&name(other)).config.mode, Mode::BestEffort, "{other}");
        }
    }

    #[test]
    fn reserved_rooms_tell_no_presence_unless_asked_to() {
        let mut config = Config::default();
        let all =
            |config: &Config| Namespaces::new(config).of(&RoomName::everyone()).config.clone();
        assert!(!all(&config).presence);
        assert_eq!(all(&config).history.size, 0);
        let rooms = RoomDefaults { history_size: Some(5), ..RoomDefaults::default() };
        config.namespace_rooms.insert("@all".to_owned(), rooms);
        assert_eq!((all(&config).presence, all(&config).history.size), (false, 5));
    }

    #[test]
    fn strict_refuses_only_unknown_namespaces() {
        let mut config = Config::default();
        config.namespace_rooms.insert("chat".to_owned(), RoomDefaults::default());
        for (strict, expected) in [(false, [true, true, true]), (true, [true, true, false])] {
            config.namespaces.strict = strict;
            let namespaces = Namespaces::new(&config);
            let admitted = ["chat:1", "plain", "other:1"].map(|room| namespaces.admit(&name(room)));
            assert_eq!(admitted, expected);
        }
        assert!(Namespaces::new(&config).admit(&RoomName::everyone()));
    }
}
