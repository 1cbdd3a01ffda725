//! Commands about rooms.

use crate::protocol::command::{
    Ack, History, HistoryBound, Join, Leave, Moderate, ModerationTarget, PresenceSet,
    RoomConfigure, RoomDelete, RoomInfo,
};
use crate::protocol::fault::Fault;
use crate::protocol::fields::Fields;
use crate::protocol::name::Name;
use crate::protocol::{Data, ModerationAction, Role};

use super::{
    ANY_BYTES, EVENT_BYTES, EVENTS_MAX, USER_BYTES, config, limit, min_priority, position, secret,
};

pub(super) fn join<'a>(fields: &Fields<'a>) -> Result<Join<'a>, Fault> {
    Ok(Join {
        room: fields.text(Name::Room)?,
        token: fields.optional(Name::Token, secret)?,
        password: fields.optional(Name::Password, secret)?,
        since: position(fields, Name::Since)?,
        presence: fields.flag(Name::Presence)?,
        events: fields.texts(Name::Events, EVENTS_MAX, EVENT_BYTES)?,
        min_priority: min_priority(fields)?,
    })
}

pub(super) fn leave<'a>(fields: &Fields<'a>) -> Result<Leave<'a>, Fault> {
    Ok(Leave { room: fields.text(Name::Room)? })
}

pub(super) fn ack<'a>(fields: &Fields<'a>) -> Result<Ack<'a>, Fault> {
    Ok(Ack {
        room: fields.text(Name::Room)?,
        offset: fields.required(Name::Offset, Data::unsigned)?,
    })
}

pub(super) fn history<'a>(fields: &Fields<'a>) -> Result<History<'a>, Fault> {
    let bound = match (position(fields, Name::Since)?, position(fields, Name::Before)?) {
        (None, None) => None,
        (Some(since), None) => Some(HistoryBound::Since(since)),
        (None, Some(before)) => Some(HistoryBound::Before(before)),
        (Some(_), Some(_)) => return Err(Fault::NotOneOf(Name::Since, Name::Before)),
    };
    Ok(History {
        room: fields.text(Name::Room)?,
        bound,
        limit: limit(fields)?,
        reverse: fields.flag(Name::Reverse)?,
    })
}

pub(super) fn presence_set<'a>(fields: &Fields<'a>) -> Result<PresenceSet<'a>, Fault> {
    Ok(PresenceSet { room: fields.text(Name::Room)?, info: fields.data(Name::Info)? })
}

pub(super) fn configure<'a>(fields: &Fields<'a>) -> Result<RoomConfigure<'a>, Fault> {
    let room = fields.text(Name::Room)?;
    let given = fields.map(Name::Config)?;
    let config = given.map(|given| config::patch(&given)).transpose()?.unwrap_or_default();
    Ok(RoomConfigure { room, config: Box::new(config) })
}

pub(super) fn delete<'a>(fields: &Fields<'a>) -> Result<RoomDelete<'a>, Fault> {
    Ok(RoomDelete { room: fields.text(Name::Room)? })
}

pub(super) fn info<'a>(fields: &Fields<'a>) -> Result<RoomInfo<'a>, Fault> {
    Ok(RoomInfo { room: fields.text(Name::Room)? })
}

pub(super) fn moderate<'a>(
    fields: &Fields<'a>,
    action: ModerationAction,
) -> Result<Moderate<'a>, Fault> {
    let role = fields.word(Name::Role, Role::parse)?;
    if action == ModerationAction::Role && role.is_none() {
        return Err(Fault::Missing(Name::Role));
    }
    Ok(Moderate {
        action,
        room: fields.text(Name::Room)?,
        target: target(fields, action)?,
        for_ms: fields.number(Name::ForMs)?,
        role,
        reason: fields.optional_text(Name::Reason, ANY_BYTES)?,
    })
}

fn target<'a>(
    fields: &Fields<'a>,
    action: ModerationAction,
) -> Result<ModerationTarget<'a>, Fault> {
    let takes_address = matches!(action, ModerationAction::Ban | ModerationAction::Unban);
    let user = fields.optional_text(Name::User, USER_BYTES)?;
    let address = match takes_address {
        true => fields.word(Name::Ip, |text| text.parse().ok())?,
        false => None,
    };
    match (user, address) {
        (Some(user), None) => Ok(ModerationTarget::User(user)),
        (None, Some(address)) => Ok(ModerationTarget::Address(address)),
        (Some(_), Some(_)) => Err(Fault::NotOneOf(Name::User, Name::Ip)),
        (None, None) => Err(Fault::Missing(Name::User)),
    }
}
