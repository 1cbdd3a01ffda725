//! Messages of backends that know nothing but Redis' `PUBLISH`: what one says on a channel goes to
//! connections of this core, with no author, no offset and no home that knows of it.
//!
//! Invariants: whatever a channel is called and whatever is said there, reading it gives a message or
//! says why not; such a message has no place in a room's sequence, and changes nothing that is known
//! of a room.

use std::sync::Arc;

use crate::config::Limits;
use crate::id::{ConnectionName, TenantId};
use crate::metrics::Interop;
use crate::protocol::{Codec, Data, OwnedData, Priority};
use crate::room::hub::{Delivery, Item};
use crate::room::name::{RoomKey, RoomName};
use crate::room::publication::{Draft, FormSet, Publication};

use super::Shard;

/// A message of a backend.
#[derive(Debug, PartialEq, Eq)]
pub struct Foreign {
    tenant: TenantId,
    to: Whom,
    data: OwnedData,
}

/// Whom one is for.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    /// Those in a room, which everyone and a user's devices are by themselves.
    Room(RoomName),
    /// One connection.
    Connection(ConnectionName),
}

impl Foreign {
    /// What `payload` is, said for connections of `tenant` on a channel of this name behind the prefix.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(
        tenant: TenantId,
        name: &[u8],
        payload: &[u8],
        limits: &Limits,
    ) -> Result<Self, Interop> {
        let name = std::str::from_utf8(name).ok();
        let to = name.and_then(Whom::parse).ok_or(Interop::UnknownChannel)?;
        if payload.len() > limits.message_bytes as usize {
            return Err(Interop::TooLarge);
        }
        let data = Data::new(Codec::Json, payload, limits.depth).ok_or(Interop::NotJson)?;
        Ok(Self { tenant, to, data: data.to_owned() })
    }

    /// What of the backend it holds in memory.
    pub(super) fn content_bytes(&self) -> usize {
        self.data.as_data().bytes().len()
    }
}

impl Whom {
    /// `broadcast`, `user:ID`, `connection:ID` or `room:ID`. An id may have colons of its own.
    fn parse(name: &str) -> Option<Self> {
        if name == "broadcast" {
            return Some(Self::Room(RoomName::everyone()));
        }
        let (kind, id) = name.split_once(':')?;
        match kind {
            "user" => RoomName::user(id).ok().map(Self::Room),
            "room" => RoomName::parse(id).ok().map(Self::Room),
            "connection" => ConnectionName::parse(id).map(Self::Connection),
            _ => None,
        }
    }
}

impl Shard {
    pub(super) fn on_foreign(&mut self, foreign: &Foreign) {
        match &foreign.to {
            Whom::Room(name) => {
                let room = RoomKey::new(foreign.tenant, name.clone());
                self.give_members(room, foreign);
            }
            Whom::Connection(name) if name.core == self.core => {
                let Some(found) = self.find_direct(name, foreign.tenant) else { return };
                let draft = self.foreign_draft(found.room.clone(), "".into(), foreign);
                self.offer_direct(found, draft);
            }
            Whom::Connection(_) => {}
        }
    }

    /// To those of this core that are in a room.
    fn give_members(&mut self, key: RoomKey, foreign: &Foreign) {
        let Some(index) = self.hub.find(&key) else { return };
        let Some(room) = self.hub.get(index).filter(|room| !room.members.is_empty()) else {
            return;
        };
        let mut forms = FormSet::default();
        room.members.iter().for_each(|member| forms.insert(member.form));
        // Of a room in which nobody has to be, nothing may be known yet, and nothing is from this.
        let epoch = room.tag.as_ref().map_or_else(|| "".into(), |tag| Arc::clone(&tag.epoch));
        let draft = self.foreign_draft(key, epoch, foreign);
        let publication = Arc::new(Publication::new(draft, forms, &mut self.press));
        let delivery = Delivery { publication, receipt: None, guard: None };
        self.hub.collect(index, Item::Delivery(delivery));
    }

    fn foreign_draft(&self, room: RoomKey, epoch: Arc<str>, foreign: &Foreign) -> Draft {
        let now = self.outbound.now;
        Draft {
            room,
            epoch,
            offset: 0,
            at_ms: now.unix_ms,
            data: foreign.data.clone(),
            event: None,
            author: None,
            exclude_self: false,
            priority: Priority::Normal,
            expires: None,
            published: now.moment.into(),
            audience: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &[u8], payload: &[u8]) -> Result<Foreign, Interop> {
        let limits = Limits { message_bytes: 32, depth: 4, ..Limits::default() };
        Foreign::read(TenantId(7), name, payload, &limits)
    }

    #[test]
    fn a_channel_says_whom_a_message_is_for_or_is_refused() {
        let user = |user| Whom::Room(RoomName::user(user).expect("a good name"));
        let room = |name| Whom::Room(RoomName::parse(name).expect("a good name"));
        let node = crate::id::NodeTag::of(5);
        let connection = ConnectionName::new(node, crate::id::CoreId(1), 9, 77);
        let named = format!("connection:{}", connection.to_text());
        let long = format!("room:{}", "x".repeat(201));
        for (name, to) in [
            (b"broadcast".as_slice(), Some(Whom::Room(RoomName::everyone()))),
            (b"user:ann", Some(user("ann"))),
            (b"user:*", Some(user("*"))),
            (b"user:a:b", Some(user("a:b"))),
            (b"room:chat:42", Some(room("chat:42"))),
            (b"room::", Some(room(":"))),
            ("room:é".as_bytes(), Some(room("é"))),
            (named.as_bytes(), Some(Whom::Connection(connection))),
            (b"", None),
            (b"room", None),
            (b"room:", None),
            (b"user:", None),
            (b"connection:", None),
            (b"connection:*", None),
            (b"connection:@all", None),
            (b"broadcast:", None),
            (b"broadcast:all", None),
            (b"Broadcast", None),
            (b"rooms:a", None),
            (b"ROOM:a", None),
            (b" room:a", None),
            (b"room:@all", None),
            (b"room:@user/ann", None),
            (b"room:/a", None),
            (b"room:a\n", None),
            (b"room:\xff", None),
            (long.as_bytes(), None),
        ] {
            let wanted = to.ok_or(Interop::UnknownChannel);
            assert_eq!(read(name, b"1").map(|it| it.to), wanted, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn only_json_within_the_limits_is_handed_on() {
        for (payload, data) in [
            (b"{\"a\":[1]}".as_slice(), Ok(b"{\"a\":[1]}".as_slice())),
            (b" null\n", Ok(b"null")),
            (b"[[[[1]]]]", Ok(b"[[[[1]]]]")),
            (b"\"012345678901234567890123456789\"", Ok(b"\"012345678901234567890123456789\"")),
            (b"", Err(Interop::NotJson)),
            (b" ", Err(Interop::NotJson)),
            (b"hello", Err(Interop::NotJson)),
            (b"{\"a\":1}{", Err(Interop::NotJson)),
            (b"1 2", Err(Interop::NotJson)),
            (b"\"\xff\"", Err(Interop::NotJson)),
            (b"\x00\x01", Err(Interop::NotJson)),
            (b"[[[[[1]]]]]", Err(Interop::NotJson)),
            (b"\"0123456789012345678901234567890\"", Err(Interop::TooLarge)),
        ] {
            let read = read(b"broadcast", payload);
            let read = read.as_ref().map(|it| it.data.as_data().bytes()).map_err(|why| *why);
            assert_eq!(read, data, "{}", payload.escape_ascii());
        }
    }
}
