//! `leave`: receive a room no more.

use crate::id::ConnectionKey;
use crate::protocol::command::Leave;
use crate::protocol::event::Reply;
use crate::protocol::{ErrorCode, Event, LeftReason};
use crate::room::hub::RoomIndex;
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::What;
use crate::shard::connection::NO_PLACE;
use crate::shard::message::{AnswerEffect, Asker, Expel, Ticket, ToConnection, ToHome};

impl Shard {
    pub(super) fn leave_room(&mut self, key: ConnectionKey, leave: &Leave<'_>, ticket: Ticket) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let tenant = connection.identity.tenant;
        let room = RoomName::parse(&leave.room).ok().map(|name| RoomKey::new(tenant, name));
        if let Some(room) = &room {
            self.give_up_joins(key, room);
        }
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let joined = room.filter(|room| {
            let membership = self.hub.find(room).and_then(|index| connection.membership(index));
            // Whoever asks to come in again after this shows the token again.
            membership.map(|it| it.by_token = false).is_some()
        });
        match joined {
            Some(room) => self.ask(key, room, What::Leave, ticket),
            None => {
                let refusal = Refusal::new(ErrorCode::NotJoined, "the room is not joined");
                self.refuse(key, &ticket, refusal);
            }
        }
    }

    /// At home. What is delivered until the answer arrives stands before it.
    pub(super) fn on_leave(&mut self, room: &RoomKey, asker: &Asker, ticket: Ticket) {
        let now = self.outbound.now.moment;
        let grace_ms = self.config.presence.grace_ms;
        let home = self.homes.get_mut(room);
        let left = home.is_some_and(|home| home.leave(asker.address, grace_ms, now));
        if left {
            let reply = Reply::Leave { room: room.name.as_str() };
            self.answer(room, asker, ticket, reply, AnswerEffect::Left);
        } else {
            let refusal = Refusal::new(ErrorCode::NotJoined, "the room is not joined");
            self.answer_refusal(room, asker, ticket, refusal);
        }
    }

    /// The home has let a connection go.
    pub(super) fn on_left(&mut self, key: ConnectionKey, room: &RoomKey, frame: &[u8]) {
        let Some(index) = self.hub.find(room) else { return };
        self.settle_room(index);
        self.unseat(key, index);
        self.outbound.push_bytes(key, frame);
        self.tidy_room(index);
    }

    /// The home has sent a connection out.
    pub(in crate::shard) fn on_expel(&mut self, expel: &Expel) {
        let Some(index) = self.hub.find(&expel.room) else { return };
        self.settle_room(index);
        self.unseat(expel.connection, index);
        let event = Event::Left {
            room: expel.room.name.as_str(),
            reason: expel.reason,
            by: expel.by.as_deref(),
        };
        self.outbound.say(expel.connection, &event);
        self.tidy_room(index);
    }

    /// At home: sends connections out. They are out from here on.
    pub(in crate::shard) fn expel(
        &mut self,
        room: &RoomKey,
        connections: Vec<crate::id::ConnectionAddress>,
        reason: LeftReason,
        by: Option<&std::sync::Arc<str>>,
    ) {
        let now = self.outbound.now.moment;
        for address in connections {
            let Some(home) = self.homes.get_mut(room) else { return };
            home.leave(address, 0, now);
            let (room, connection) = (room.clone(), address.key);
            let expel = Expel { room, connection, reason, by: by.cloned() };
            self.outbound.send(address.core, ToConnection::Expel(Box::new(expel)));
        }
    }

    /// Takes a connection's place among the members; a join that is on its way still counts.
    pub(in crate::shard) fn unseat(&mut self, key: ConnectionKey, index: RoomIndex) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let Some(membership) = connection.membership(index) else { return };
        let place = std::mem::replace(&mut membership.place, NO_PLACE);
        connection.rooms.retain(|it| it.joining > 0 || it.place != NO_PLACE);
        self.vacate(index, place);
        self.session_changed(key);
    }

    /// Removes the member at a place, and tells the one that has moved there.
    pub(in crate::shard) fn vacate(&mut self, index: RoomIndex, place: u32) {
        if place == NO_PLACE {
            return;
        }
        let Some(moved) = self.hub.remove(index, place) else { return };
        let slot = self.outbound.slots.get_mut(moved as usize);
        if let Some(connection) = slot.and_then(|slot| slot.connection.as_deref_mut()) {
            connection.moved(index, place);
        }
    }

    /// Forgets a room that nobody here needs, and says so where the home cannot know.
    pub(in crate::shard) fn tidy_room(&mut self, index: RoomIndex) {
        let Some(room) = self.hub.get(index).filter(|room| room.is_idle()) else { return };
        if room.key.name.is_reserved() {
            let message = ToHome::Attach { room: room.key.clone(), form: None };
            let home = room.home;
            self.outbound.send(home, message);
        }
        self.hub.tidy(index);
    }
}
