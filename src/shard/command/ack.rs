//! `ack`: everything up to an offset was taken in, so it need not come again.

use crate::id::ConnectionKey;
use crate::protocol::ErrorCode;
use crate::protocol::command::Ack;
use crate::protocol::event::Reply;
use crate::room::home::Refusal;
use crate::room::name::{RoomKey, RoomName};
use crate::shard::Shard;
use crate::shard::message::Ticket;

impl Shard {
    pub(super) fn ack(&mut self, key: ConnectionKey, ack: &Ack<'_>, ticket: &Ticket) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let name = RoomName::parse(&ack.room).ok();
        let room = name.map(|name| RoomKey::new(connection.identity.tenant, name));
        let index = room.and_then(|room| self.hub.find(&room));
        let found = index.and_then(|index| Some((index, connection.membership(index)?)));
        let Some((index, membership)) = found else {
            let refusal = Refusal::new(ErrorCode::NotJoined, "the room is not joined");
            self.refuse(key, ticket, refusal);
            return;
        };
        // Nobody has seen what was not sent yet.
        let last = self.hub.get(index).map_or(0, |room| room.offset);
        membership.position = membership.position.max(ack.offset.min(last));
        self.reply(key, ticket, Reply::Done);
    }
}
