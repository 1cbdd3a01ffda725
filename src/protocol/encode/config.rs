//! A room's configuration, as `room.create` would read it; without the password.

use crate::protocol::json::JsonWriter;
use crate::protocol::write::{Map, Writer};
use crate::protocol::{FilterAction, Mode, Role, RoomPatch, RoomType, SlowConsumer, WordFilter};

/// A configuration by itself, as JSON.
#[must_use]
pub fn write_room_patch(config: &RoomPatch) -> String {
    let mut out = Vec::new();
    JsonWriter(&mut out).map(|map| write(config, map));
    String::from_utf8(out).expect("JSON of texts is text")
}

pub(super) fn write<W: Writer>(config: &RoomPatch, map: &mut Map<'_, W>) {
    map.optional_text("type", config.room_type.map(RoomType::as_str));
    map.optional_boolean("persistent", config.persistent);
    map.optional_unsigned("max_members", config.max_members.map(u64::from));
    map.optional_text("mode", config.mode.map(Mode::as_str));
    if let Some(durability) = config.durability {
        map.text("durability", &durability.to_string());
    }
    map.optional_unsigned("history_size", config.history_size.map(u64::from));
    map.optional_unsigned("history_bytes", config.history_bytes);
    map.optional_unsigned("history_ttl_ms", config.history_ttl_ms);
    map.optional_text("slow_consumer", config.slow_consumer.map(SlowConsumer::as_str));
    map.optional_boolean("presence", config.presence);
    map.optional_text("publish_role", config.publish_role.map(Role::as_str));
    map.optional_unsigned("message_bytes", config.message_bytes.map(u64::from));
    if let Some(rate) = config.rate {
        map.field("rate").map(|map| {
            map.unsigned("per_second", u64::from(rate.per_second));
            map.unsigned("burst", u64::from(rate.burst));
        });
    }
    map.optional_unsigned("slow_mode_ms", config.slow_mode_ms);
    if let Some(filter) = &config.word_filter {
        map.field("word_filter").map(|map| word_filter(filter, map));
    }
    map.optional_boolean("compress", config.compress);
    map.optional_data("metadata", config.metadata.as_ref().map(|metadata| metadata.as_data()));
    map.optional_boolean("parent_inherit", config.parent_inherit);
}

fn word_filter<W: Writer>(filter: &WordFilter, map: &mut Map<'_, W>) {
    map.field("words").list(&filter.words, |writer, word| writer.text(word));
    map.field("patterns").list(&filter.patterns, |writer, pattern| writer.text(pattern));
    map.text("action", FilterAction::as_str(filter.action));
}
