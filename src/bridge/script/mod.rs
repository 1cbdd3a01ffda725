//! The scripts, what they are given, and what they say.
//!
//! Invariant: all keys of a call share a hash tag, and all that a script touches is among them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Cmd, Script, Value};

use crate::room::broker::{Keep, Life, Placed, Publish, Seen, Stamp};

use super::keys::RoomKeys;

/// Publications that a room is opened with at most.
const OPEN_MOST: u32 = 10_000;

/// Both scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    publish: Script,
    open: Script,
}

/// How a room is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenCall<'a> {
    pub(super) keys: &'a RoomKeys,
    pub(super) seen: Option<&'a Seen>,
    pub(super) keep: Keep,
    pub(super) room_ttl_ms: u64,
    /// The server may be another than the one on which it was seen.
    pub(super) is_doubtful: bool,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            publish: Script::new(include_str!("publish.lua")),
            open: Script::new(include_str!("open.lua")),
        }
    }

    /// What makes Redis know them.
    pub(super) fn load(&self) -> [Cmd; 2] {
        [include_str!("publish.lua"), include_str!("open.lua")].map(|text| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(text);
            command
        })
    }

    /// Asks for a place.
    pub(super) fn publish(&self, keys: &RoomKeys, publish: &Publish, room_ttl_ms: u64) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.publish.get_hash());
        command.arg(if publish.key.is_some() { 4 } else { 3 });
        command.arg(keys.state()).arg(keys.history()).arg(keys.channel());
        let mut key_ms = 0;
        if let Some((key, window_ms)) = &publish.key {
            command.arg(keys.publication(key));
            key_ms = *window_ms;
        }
        add_seen(&mut command, publish.seen.as_ref());
        let stamp = publish.wire.get(1..=Stamp::BYTES).unwrap_or_default();
        command.arg(fresh(stamp)).arg(stamp).arg(&*publish.wire);
        command.arg(publish.keep.size).arg(publish.keep.ttl_ms).arg(room_ttl_ms).arg(key_ms);
        command
    }

    /// Asks how a room is. `chance` is what a new epoch would be told apart by.
    pub(super) fn open(&self, call: OpenCall<'_>, chance: [u8; 8]) -> Cmd {
        let OpenCall { keys, seen, keep, room_ttl_ms, is_doubtful } = call;
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.open.get_hash()).arg(3);
        command.arg(keys.state()).arg(keys.history()).arg(keys.channel());
        add_seen(&mut command, seen);
        let stamp = seen.and_then(|seen| seen.stamp).map(Stamp::to_bytes);
        command.arg(fresh(&chance)).arg(stamp.as_ref().map_or(&[][..], |stamp| &stamp[..]));
        command.arg(u8::from(is_doubtful)).arg(keep.size.min(OPEN_MOST)).arg(room_ttl_ms);
        command
    }
}

fn add_seen(command: &mut Cmd, seen: Option<&Seen>) {
    match seen {
        Some(seen) => command.arg(&*seen.epoch).arg(seen.offset),
        None => command.arg("").arg(0),
    };
}

/// What tells a new epoch from another of the same number.
fn fresh(chance: &[u8]) -> String {
    let mut digest = [0; 9];
    let hash = ring::digest::digest(&ring::digest::SHA256, chance);
    digest.copy_from_slice(&hash.as_ref()[..9]);
    URL_SAFE_NO_PAD.encode(digest)
}

/// What `publish.lua` said; none if it says no such thing.
pub(super) fn placed(value: &Value) -> Option<Placed> {
    let Value::Array(items) = value else { return None };
    let [epoch, offset, is_duplicate, nodes] = items.as_slice() else { return None };
    Some(Placed {
        epoch: text(epoch)?.into(),
        offset: number(offset)?,
        is_duplicate: number(is_duplicate)? == 1,
        nodes: u32::try_from(number(nodes)?).ok()?,
    })
}

/// What `open.lua` said; none if it says no such thing.
pub(super) fn life(value: Value) -> Option<Life> {
    let Value::Array(items) = value else { return None };
    let [epoch, offset, stamp, is_new, entries]: [Value; 5] = items.try_into().ok()?;
    let Value::Array(entries) = entries else { return None };
    let mut read = entries.into_iter().map(entry).collect::<Option<Vec<_>>>()?;
    read.reverse();
    Some(Life {
        epoch: text(&epoch)?.into(),
        offset: number(&offset)?,
        stamp: Stamp::from_bytes(bytes(&stamp)?),
        is_new: number(&is_new)? == 1,
        entries: read,
    })
}

/// `[ID, [FIELD, PUBLICATION]]`
fn entry(value: Value) -> Option<(u64, Box<[u8]>)> {
    let Value::Array(parts) = value else { return None };
    let [id, fields]: [Value; 2] = parts.try_into().ok()?;
    let Value::Array(mut fields) = fields else { return None };
    let offset = text(&id)?.split('-').next()?.parse().ok()?;
    match (fields.pop()?, fields.len()) {
        (Value::BulkString(wire), 1) => Some((offset, wire.into_boxed_slice())),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
