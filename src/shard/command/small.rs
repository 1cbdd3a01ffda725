//! Commands that a connection's own core answers by itself: `ping`, `rooms`, `state.*`.

use crate::id::ConnectionKey;
use crate::protocol::command::{Ping, StateSet};
use crate::protocol::event::{JoinedRoom, Place, Reply};
use crate::protocol::{ErrorCode, Event, OwnedData};
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::connection::NO_PLACE;
use crate::shard::message::Ticket;

impl Shard {
    pub(super) fn ping(&mut self, key: ConnectionKey, ping: &Ping<'_>, ticket: &Ticket) {
        let at_ms = self.outbound.now.unix_ms;
        let pong = Event::Pong { id: ticket.id.as_ref(), data: ping.data, at_ms };
        self.outbound.say(key, &pong);
        self.done(key, ticket.batch);
    }

    pub(super) fn rooms(&mut self, key: ConnectionKey, ticket: &Ticket) {
        let Some(connection) = self.outbound.get(key) else { return };
        let joined = connection.rooms.iter().filter(|it| !it.implicit && it.place != NO_PLACE);
        let rooms: Vec<_> = joined
            .filter_map(|membership| {
                let room = self.hub.get(membership.room)?;
                let tag = room.tag.as_ref()?;
                Some((room.key.clone(), std::rc::Rc::clone(tag), room.offset, membership.role))
            })
            .collect();
        let rooms: Vec<_> = rooms
            .iter()
            .map(|(key, tag, offset, role)| JoinedRoom {
                room: key.name.as_str(),
                role: *role,
                at: Place { epoch: &tag.epoch, offset: *offset },
            })
            .collect();
        self.reply(key, ticket, Reply::Rooms(&rooms));
    }

    pub(super) fn state_set(&mut self, key: ConnectionKey, set: &StateSet<'_>, ticket: &Ticket) {
        if set.data.bytes().len() > self.config.limits.state_bytes as usize {
            self.refuse(key, ticket, Refusal::new(ErrorCode::TooLarge, "state is too long"));
            return;
        }
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.rare().state = Some(set.data.to_owned());
        }
        self.session_changed(key);
        self.reply(key, ticket, Reply::Done);
    }

    pub(super) fn state_get(&mut self, key: ConnectionKey, ticket: &Ticket) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let state = connection.rare.as_ref().and_then(|rare| rare.state.clone());
        self.reply(key, ticket, Reply::Data(state.as_ref().map(OwnedData::as_data)));
    }
}
