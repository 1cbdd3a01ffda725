//! From events to bytes: the one place that knows which fields each has.

mod config;
mod reply;

pub use config::write_room_patch;

use super::event::{
    Error, Event, Gap, JoinedRoom, Message, Place, Presence, RoomChange, Sender, Welcome,
};
use super::json::JsonWriter;
use super::msgpack::MessagePackWriter;
use super::write::{Map, Writer};
use super::{CloseReason, Codec, Priority, RequestId, Secret};

/// Writes an event to the end of `out`, as the payload of one WebSocket message.
pub fn encode(event: &Event<'_>, codec: Codec, out: &mut Vec<u8>) {
    match codec {
        Codec::Json => JsonWriter(out).map(|map| write(event, map)),
        Codec::MessagePack => MessagePackWriter(out).map(|map| write(event, map)),
    }
}

fn write<W: Writer>(event: &Event<'_>, map: &mut Map<'_, W>) {
    match event {
        Event::Message(event) => message(event, map),
        Event::Ok { id, reply } => {
            map.text("type", "ok");
            request_id(id, map);
            reply::write(reply, map);
        }
        Event::Error(event) => error(event, map),
        Event::Presence(event) => presence(event, map),
        Event::Gap(event) => gap(event, map),
        Event::Pong { id, data, at_ms } => {
            map.text("type", "pong");
            if let Some(id) = id {
                request_id(id, map);
            }
            map.optional_data("data", *data);
            map.unsigned("at", *at_ms);
        }
        Event::Left { room, reason, by } => {
            map.text("type", "left");
            map.text("room", room);
            map.text("reason", reason.as_str());
            map.optional_text("by", *by);
        }
        Event::Room { room, change } => room_change(room, change, map),
        Event::Welcome(event) => welcome(event, map),
        Event::AuthRequired { within_ms } => {
            map.text("type", "auth_required");
            map.unsigned("within_ms", *within_ms);
        }
        Event::Request { id, event, data, within_ms } => {
            map.text("type", "request");
            request_id(id, map);
            map.text("event", event);
            map.field("data").data(*data);
            map.unsigned("within_ms", *within_ms);
        }
        Event::Expiring { at_ms } => {
            map.text("type", "expiring");
            map.unsigned("at", *at_ms);
        }
        Event::Disconnect { reason, retry_after_ms } => disconnect(*reason, *retry_after_ms, map),
    }
}

fn message<W: Writer>(message: &Message<'_>, map: &mut Map<'_, W>) {
    map.text("type", "message");
    map.text("room", message.room);
    if let Some(at) = message.at {
        place(at, map);
    }
    map.optional_text("event", message.event);
    if let Some(from) = message.from {
        map.field("from").map(|map| sender(from, map));
    }
    map.unsigned("at", message.at_ms);
    if message.priority != Priority::Normal {
        map.text("priority", message.priority.as_str());
    }
    map.flag("redelivered", message.redelivered);
    map.field("data").data(message.data);
}

fn sender<W: Writer>(sender: Sender<'_>, map: &mut Map<'_, W>) {
    map.nullable_text("user", sender.user);
    map.text("connection", sender.connection);
}

fn welcome<W: Writer>(welcome: &Welcome<'_>, map: &mut Map<'_, W>) {
    map.text("type", "welcome");
    map.unsigned("protocol", 1);
    map.text("connection", welcome.connection);
    map.optional_text("session", welcome.session.as_ref().map(Secret::expose));
    map.nullable_text("user", welcome.user);
    map.text("tenant", welcome.tenant);
    map.unsigned("heartbeat_ms", welcome.heartbeat_ms);
    map.optional_unsigned("expires_at", welcome.expires_at_ms);
    map.boolean("recovered", welcome.recovered);
    map.field("rooms").list(welcome.rooms, |writer, room| {
        writer.map(|map| {
            joined(room.joined, map);
            map.boolean("recovered", room.recovered);
            map.flag("local", room.local);
        });
    });
}

fn error<W: Writer>(error: &Error<'_>, map: &mut Map<'_, W>) {
    map.text("type", "error");
    if let Some(id) = error.id {
        request_id(id, map);
    }
    map.text("code", error.code.as_str());
    map.text("message", error.message);
    map.optional_unsigned("retry_after_ms", error.retry_after_ms);
}

fn presence<W: Writer>(presence: &Presence<'_>, map: &mut Map<'_, W>) {
    map.text("type", "presence");
    map.text("room", presence.room);
    map.text("action", presence.action.as_str());
    map.text("user", presence.user);
    map.optional_data("info", presence.info);
}

fn gap<W: Writer>(gap: &Gap<'_>, map: &mut Map<'_, W>) {
    map.text("type", "gap");
    map.text("room", gap.room);
    map.text("epoch", gap.epoch);
    map.unsigned("from", gap.from);
    map.unsigned("to", gap.to);
    map.text("reason", gap.reason.as_str());
}

fn room_change<W: Writer>(room: &str, change: &RoomChange<'_>, map: &mut Map<'_, W>) {
    map.text("type", "room");
    map.text("room", room);
    match change {
        RoomChange::Updated { config } => {
            map.text("change", "updated");
            map.field("config").map(|map| config::write(config, map));
        }
        RoomChange::Invited { by, role } => {
            map.text("change", "invited");
            map.optional_text("role", role.map(super::Role::as_str));
            map.optional_text("by", *by);
        }
        RoomChange::Muted { until_ms, by, reason } => {
            map.text("change", "muted");
            map.optional_unsigned("until", *until_ms);
            map.optional_text("by", *by);
            map.optional_text("reason", *reason);
        }
        RoomChange::Unmuted { by } => {
            map.text("change", "unmuted");
            map.optional_text("by", *by);
        }
        RoomChange::Role { role, by } => {
            map.text("change", "role");
            map.text("role", role.as_str());
            map.optional_text("by", *by);
        }
    }
}

fn disconnect<W: Writer>(reason: CloseReason, retry_after_ms: Option<u64>, map: &mut Map<'_, W>) {
    map.text("type", "disconnect");
    map.text("reason", reason.as_str());
    map.boolean("reconnect", reason.reconnect());
    map.optional_unsigned("retry_after_ms", retry_after_ms);
}

/// `id`
fn request_id<W: Writer>(id: &RequestId, map: &mut Map<'_, W>) {
    match id {
        RequestId::Number(number) => map.unsigned("id", *number),
        RequestId::Text(text) => map.text("id", text),
    }
}

/// `epoch`, `offset`
fn place<W: Writer>(place: Place<'_>, map: &mut Map<'_, W>) {
    map.text("epoch", place.epoch);
    map.unsigned("offset", place.offset);
}

/// `room`, `role`, `epoch`, `offset`
fn joined<W: Writer>(joined: JoinedRoom<'_>, map: &mut Map<'_, W>) {
    map.text("room", joined.room);
    map.text("role", joined.role.as_str());
    place(joined.at, map);
}

#[cfg(test)]
mod tests;
