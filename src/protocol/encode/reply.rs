//! What an `ok` carries.

use crate::protocol::Data;
use crate::protocol::event::{Member, PresentUser, Published, Reply, RoomInfo};
use crate::protocol::write::{Map, Writer};

use super::{config, joined, message, place};

pub(super) fn write<W: Writer>(reply: &Reply<'_>, map: &mut Map<'_, W>) {
    match reply {
        Reply::Done => {}
        Reply::Publish(reply) => published(reply, map),
        Reply::Send { delivered } => map.unsigned("delivered", *delivered),
        Reply::Auth { user, expires_at_ms } => {
            map.nullable_text("user", *user);
            map.optional_unsigned("expires_at", *expires_at_ms);
        }
        Reply::Join { joined: room, recovered, user_count, local } => {
            joined(*room, map);
            map.boolean("recovered", *recovered);
            map.unsigned("user_count", *user_count);
            map.flag("local", *local);
        }
        Reply::Leave { room } => map.text("room", room),
        Reply::History { room, at, messages, truncated } => {
            map.text("room", room);
            place(*at, map);
            map.boolean("truncated", *truncated);
            map.field("messages")
                .list(messages, |writer, each| writer.map(|map| message(each, map)));
        }
        Reply::Rooms(rooms) => {
            map.field("rooms").list(rooms, |writer, room| writer.map(|map| joined(*room, map)));
        }
        Reply::Data(data) => map.field("data").data(data.unwrap_or(Data::null(W::CODEC))),
        Reply::Room { room, config, role } => {
            map.text("room", room);
            map.field("config").map(|map| config::write(config, map));
            map.text("role", role.as_str());
        }
        Reply::RoomInfo(info) => room_info(info, map),
        Reply::Pattern(pattern) => map.text("pattern", pattern),
        Reply::Presence { room, count, users, next } => {
            map.text("room", room);
            map.unsigned("count", *count);
            presence_page(users, *next, map);
        }
        Reply::Members { members, next } => member_page(members, *next, map),
    }
}

fn published<W: Writer>(reply: &Published<'_>, map: &mut Map<'_, W>) {
    map.text("room", reply.room);
    if let Some(at) = reply.at {
        place(at, map);
    }
    map.flag("duplicate", reply.duplicate);
    if let Some(receipt) = reply.receipt {
        map.unsigned("delivered", receipt.delivered);
        map.unsigned("total", receipt.total);
        map.flag("partial", receipt.partial);
    }
}

fn room_info<W: Writer>(info: &RoomInfo<'_>, map: &mut Map<'_, W>) {
    map.text("room", info.room);
    map.field("config").map(|map| config::write(info.config, map));
    map.unsigned("user_count", info.user_count);
    map.unsigned("member_count", info.member_count);
    place(info.at, map);
    map.unsigned("created_at", info.created_at_ms);
}

fn presence_page<W: Writer>(users: &[PresentUser<'_>], next: Option<&str>, map: &mut Map<'_, W>) {
    map.field("users").list(users, |writer, present| {
        writer.map(|map| {
            map.text("user", present.user);
            map.field("info").data(present.info.unwrap_or(Data::null(W::CODEC)));
            map.unsigned("connections", present.connections);
        });
    });
    map.optional_text("next", next);
}

fn member_page<W: Writer>(members: &[Member<'_>], next: Option<&str>, map: &mut Map<'_, W>) {
    map.field("members").list(members, |writer, member| {
        writer.map(|map| {
            map.text("user", member.user);
            map.text("role", member.role.as_str());
            map.boolean("muted", member.muted);
            map.unsigned("joined_at", member.joined_at_ms);
        });
    });
    map.optional_text("next", next);
}
