//! `config` of `room.create` and `room.update`.

use crate::protocol::fault::Fault;
use crate::protocol::fields::Fields;
use crate::protocol::name::Name;
use crate::protocol::{
    Codec, Data, Durability, FilterAction, Mode, Role, RoomPatch, RoomRate, RoomType, SlowConsumer,
    WordFilter,
};

use super::{LIST_MAX, secret};

/// A configuration that stands by itself, as JSON; none if it is none.
#[must_use]
pub fn read_room_patch(text: &str) -> Option<RoomPatch> {
    let value = Data::new(Codec::Json, text.as_bytes(), Data::DEPTH_MAX)?;
    patch(&Fields::of(value)?.ok()?).ok()
}

pub(super) fn patch(fields: &Fields<'_>) -> Result<RoomPatch, Fault> {
    Ok(RoomPatch {
        room_type: fields.word(Name::Type, RoomType::parse)?,
        persistent: fields.optional(Name::Persistent, Data::boolean)?,
        password: fields
            .optional(Name::Password, |value| secret(value).map(super::Secret::into_owned))?,
        max_members: fields.number(Name::MaxMembers)?,
        mode: fields.word(Name::Mode, Mode::parse)?,
        durability: fields.word(Name::Durability, Durability::parse)?,
        history_size: fields.number(Name::HistorySize)?,
        history_bytes: fields.number(Name::HistoryBytes)?,
        history_ttl_ms: fields.number(Name::HistoryTtlMs)?,
        slow_consumer: fields.word(Name::SlowConsumer, SlowConsumer::parse)?,
        presence: fields.optional(Name::Presence, Data::boolean)?,
        publish_role: fields.word(Name::PublishRole, Role::parse)?,
        message_bytes: fields.number(Name::MessageBytes)?,
        rate: fields.map(Name::Rate)?.map(|given| rate(&given)).transpose()?,
        slow_mode_ms: fields.number(Name::SlowModeMs)?,
        word_filter: fields.map(Name::WordFilter)?.map(|given| words(&given)).transpose()?,
        compress: fields.optional(Name::Compress, Data::boolean)?,
        metadata: fields
            .optional(Name::Metadata, |value| value.is_map().then(|| value.to_owned()))?,
        parent_inherit: fields.optional(Name::ParentInherit, Data::boolean)?,
    })
}

fn rate(fields: &Fields<'_>) -> Result<RoomRate, Fault> {
    let number = |name| fields.number(name)?.ok_or(Fault::Missing(name));
    Ok(RoomRate { per_second: number(Name::PerSecond)?, burst: number(Name::Burst)? })
}

fn words(fields: &Fields<'_>) -> Result<WordFilter, Fault> {
    let list = |name| -> Result<Vec<String>, Fault> {
        let texts = fields.texts(name, LIST_MAX, 1..=256)?.unwrap_or_default();
        Ok(texts.into_iter().map(std::borrow::Cow::into_owned).collect())
    };
    Ok(WordFilter {
        words: list(Name::Words)?,
        patterns: list(Name::Patterns)?,
        action: fields.word(Name::Action, FilterAction::parse)?.unwrap_or_default(),
    })
}
