//! From the fields of a message to its command: the one place that knows which fields each has.

mod config;
mod post;
mod room;

use std::ops::RangeInclusive;

pub use config::read_room_patch;

use super::command::{
    Application, Auth, Command, Envelope, Failure, Page, Ping, Position, Response, StateSet,
    Subscribe, Unsubscribe,
};
use super::fault::Fault;
use super::fields::Fields;
use super::name::Name;
use super::parse::{Bad, Messages, ParseLimits};
use super::{Data, ModerationAction, Priority, RequestId, Secret};

/// How long the name of an event may be.
const EVENT_BYTES: RangeInclusive<usize> = 1..=128;
/// How long the name of a user may be.
const USER_BYTES: RangeInclusive<usize> = 1..=128;
/// Text that has no bound of its own but the message's.
const ANY_BYTES: RangeInclusive<usize> = 0..=usize::MAX;
/// Event names that a join or subscription keeps.
const EVENTS_MAX: usize = 64;
/// Users, words and patterns of one list.
const LIST_MAX: usize = 1_000;

/// Reads a message. `batch` are the limits of one within it; none where it is in one already.
pub(super) fn envelope<'a>(
    fields: &Fields<'a>,
    batch: Option<ParseLimits>,
) -> Result<Envelope<'a>, Bad> {
    let kind = fields.text(Name::Type);
    let is_response = kind.as_deref() == Ok("response");
    let id = request_id(fields);
    if let Some(fault) = fields.fault {
        // Of two ids neither is the one to answer; a response is never answered.
        let is_unclear = is_response || fault == Fault::Twice(Name::Id);
        return Err(Bad::new(id.ok().flatten().filter(|_| !is_unclear), fault));
    }
    let id = id.map_err(|fault| Bad::new(None, fault))?;
    if is_response {
        let command = response(fields, id).map_err(|fault| Bad::new(None, fault))?;
        return Ok(Envelope { id: None, command: Command::Response(command) });
    }
    match kind.and_then(|kind| command(&kind, fields, batch)) {
        Ok(command) => Ok(Envelope { id, command }),
        Err(fault) => Err(Bad::new(id, fault)),
    }
}

/// Reads the message by its type.
fn command<'a>(
    kind: &str,
    fields: &Fields<'a>,
    batch: Option<ParseLimits>,
) -> Result<Command<'a>, Fault> {
    Ok(match kind.as_bytes() {
        b"publish" => Command::Publish(post::publish(fields, Name::Data)?),
        b"send_message" => Command::Publish(post::publish(fields, Name::Content)?),
        b"send" => Command::Send(post::send(fields)?),
        b"broadcast" => Command::Broadcast(post::post(fields, Name::Data)?),
        b"ack" => Command::Ack(room::ack(fields)?),
        b"join" | b"join_room" => Command::Join(Box::new(room::join(fields)?)),
        b"leave" | b"leave_room" => Command::Leave(room::leave(fields)?),
        b"history" => Command::History(room::history(fields)?),
        b"presence" => Command::Presence(page(fields)?),
        b"presence.set" => Command::PresenceSet(room::presence_set(fields)?),
        b"rooms" => Command::Rooms,
        b"ping" => Command::Ping(Ping { data: fields.get(Name::Data) }),
        b"auth" => Command::Auth(Auth { token: fields.required(Name::Token, secret)? }),
        b"state.set" => Command::StateSet(StateSet { data: fields.data(Name::Data)? }),
        b"state.get" => Command::StateGet,
        b"subscribe" => Command::Subscribe(subscribe(fields)?),
        b"unsubscribe" => {
            Command::Unsubscribe(Unsubscribe { pattern: fields.text(Name::Pattern)? })
        }
        b"batch" => Command::Batch(messages(fields, batch)?),
        b"room.create" => Command::RoomCreate(room::configure(fields)?),
        b"room.update" => Command::RoomUpdate(room::configure(fields)?),
        b"room.delete" => Command::RoomDelete(room::delete(fields)?),
        b"room.info" => Command::RoomInfo(room::info(fields)?),
        b"room.members" => Command::RoomMembers(page(fields)?),
        _ => match kind.strip_prefix("room.").and_then(ModerationAction::parse) {
            Some(action) => Command::Moderate(room::moderate(fields, action)?),
            None => Command::Application(application(fields)?),
        },
    })
}

/// The message's `id`.
fn request_id(fields: &Fields<'_>) -> Result<Option<RequestId>, Fault> {
    let Some(value) = fields.get(Name::Id) else {
        return Ok(None);
    };
    if let Some(number) = value.unsigned() {
        return RequestId::number(number).map(Some).ok_or(Fault::BadValue(Name::Id));
    }
    let text = value.text().ok_or(Fault::WrongKind(Name::Id))?;
    RequestId::text(&text).map(Some).ok_or(Fault::BadValue(Name::Id))
}

/// A token or a password.
fn secret(value: Data<'_>) -> Option<Secret<'_>> {
    value.text().map(Secret)
}

/// `{epoch, offset}`
fn position<'a>(fields: &Fields<'a>, name: Name) -> Result<Option<Position<'a>>, Fault> {
    let Some(position) = fields.map(name)? else {
        return Ok(None);
    };
    Ok(Some(Position {
        epoch: position.text(Name::Epoch)?,
        offset: position.required(Name::Offset, Data::unsigned)?,
    }))
}

/// `min_priority?`
fn min_priority(fields: &Fields<'_>) -> Result<Priority, Fault> {
    Ok(fields.word(Name::MinPriority, Priority::parse)?.unwrap_or(Priority::Low))
}

/// `limit?`
fn limit(fields: &Fields<'_>) -> Result<u32, Fault> {
    match fields.number(Name::Limit)? {
        None => Ok(Page::DEFAULT_LIMIT),
        Some(limit @ 1..=Page::LIMIT_MAX) => Ok(limit),
        Some(_) => Err(Fault::BadValue(Name::Limit)),
    }
}

fn page<'a>(fields: &Fields<'a>) -> Result<Page<'a>, Fault> {
    Ok(Page {
        room: fields.text(Name::Room)?,
        limit: limit(fields)?,
        after: fields.optional_text(Name::After, ANY_BYTES)?,
    })
}

fn subscribe<'a>(fields: &Fields<'a>) -> Result<Subscribe<'a>, Fault> {
    Ok(Subscribe {
        pattern: fields.text(Name::Pattern)?,
        events: fields.texts(Name::Events, EVENTS_MAX, EVENT_BYTES)?,
        min_priority: min_priority(fields)?,
    })
}

fn messages<'a>(fields: &Fields<'a>, batch: Option<ParseLimits>) -> Result<Messages<'a>, Fault> {
    Messages::of_batch(fields.data(Name::Messages)?, batch.ok_or(Fault::NestedBatch)?)
}

fn response<'a>(fields: &Fields<'a>, id: Option<RequestId>) -> Result<Response<'a>, Fault> {
    let id = id.ok_or(Fault::Missing(Name::Id))?;
    let outcome = match (fields.get(Name::Data), fields.map(Name::Error)?) {
        (Some(data), None) => Ok(data),
        (None, Some(error)) => {
            Err(Failure { code: error.text(Name::Code)?, message: error.text(Name::Message)? })
        }
        _ => return Err(Fault::NotOneOf(Name::Data, Name::Error)),
    };
    Ok(Response { id, outcome })
}

fn application<'a>(fields: &Fields<'a>) -> Result<Application<'a>, Fault> {
    Ok(Application {
        event: fields.optional_text(Name::Type, EVENT_BYTES)?.ok_or(Fault::Missing(Name::Type))?,
        data: fields.get(Name::Data),
        room: fields.optional_text(Name::Room, ANY_BYTES)?,
    })
}
