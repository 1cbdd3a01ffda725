//! `ack`: everything up to an offset was taken in, so it need not come again.

use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::protocol::command::Ack;
use crate::protocol::event::Reply;
use crate::protocol::{ErrorCode, GapReason};
use crate::room::home::Overdue;
use crate::room::name::{RoomKey, RoomName};
use crate::room::publication::Publication;
use crate::room::refusal::Refusal;
use crate::shard::Shard;
use crate::shard::ask::{AckAsk, What};
use crate::shard::eligible::Reader;
use crate::shard::message::{AnswerEffect, Asker, Ticket, ToConnection, ToHome};
use crate::shard::run::{Label, Run};

impl Shard {
    pub(super) fn ack(&mut self, key: ConnectionKey, ack: &Ack<'_>, ticket: Ticket) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let name = RoomName::parse(&ack.room).ok().or_else(|| RoomName::reserved(&ack.room));
        let room = name.map(|name| RoomKey::new(connection.identity.tenant, name));
        let found = room.and_then(|room| {
            let index = self.hub.find(&room);
            let is_in = index.is_some_and(|index| connection.membership(index).is_some());
            (is_in || connection.late_join(&room).is_some()).then_some((room, index))
        });
        let Some((room, index)) = found else {
            let refusal = Refusal::new(ErrorCode::NotJoined, "the room is not joined");
            self.refuse(key, &ticket, refusal);
            return;
        };
        // What was asked before may be a `leave`, or bring what is acknowledged. Nobody comes into or
        // goes out of a reserved room by a command.
        if connection.unanswered > 0 && !room.name.is_reserved() {
            let tag = index.and_then(|index| self.hub.get(index)?.tag.as_ref());
            let epoch = tag.map(|tag| Arc::clone(&tag.epoch));
            self.ask(key, room, What::Ack(AckAsk { offset: ack.offset, epoch }), ticket);
            return;
        }
        // Nobody has seen what was not sent yet.
        let hub_room = index.and_then(|index| self.hub.get(index));
        let offset = ack.offset.min(hub_room.map_or(0, |it| it.offset));
        if let Some(membership) = index.and_then(|index| connection.membership(index)) {
            membership.position = membership.position.max(offset);
        }
        if let Some(hub_room) = hub_room
            && let Some(tag) = hub_room.tag.as_ref().filter(|tag| tag.guaranteed)
        {
            let epoch = Arc::clone(&tag.epoch);
            let message = ToHome::Ack { room, epoch, connection: key, offset };
            self.outbound.send(hub_room.home, message);
        }
        self.reply(key, &ticket, Reply::Done);
    }

    /// At home: an `ack` behind other commands.
    pub(super) fn on_ack_asked(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        ticket: Ticket,
        ack: &AckAsk,
    ) {
        let now = self.outbound.now.moment;
        let address = asker.address;
        let Some(home) = self.homes.get_mut(room).filter(|home| home.is_attached(address)) else {
            let refusal = Refusal::new(ErrorCode::NotJoined, "the room is not joined");
            self.answer_refusal(room, asker, ticket, refusal);
            return;
        };
        // What came in another life of the room says nothing of this one.
        let is_of_this = ack.epoch.as_ref().is_none_or(|epoch| *epoch == home.epoch);
        let offset = if is_of_this { ack.offset.min(home.offset()) } else { 0 };
        home.acknowledge(address, offset, now);
        let effect = AnswerEffect::Acknowledged { offset };
        self.answer(room, asker, ticket, Reply::Done, effect);
    }

    /// The home has heard an `ack`.
    pub(super) fn on_acknowledged(
        &mut self,
        key: ConnectionKey,
        room: &RoomKey,
        offset: u64,
        frame: &[u8],
    ) {
        self.outbound.push_bytes(key, frame);
        let Some(index) = self.hub.find(room) else { return };
        let connection = self.outbound.get_mut(key);
        if let Some(membership) = connection.and_then(|connection| connection.membership(index)) {
            membership.position = membership.position.max(offset);
        }
    }

    /// At home: what need not be sent again.
    pub(in crate::shard) fn on_ack(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        epoch: &str,
        connection: ConnectionKey,
        offset: u64,
    ) {
        let address = ConnectionAddress { core: from, key: connection };
        if let Some(home) = self.homes.get_mut(room).filter(|home| *home.epoch == *epoch) {
            home.acknowledge(address, offset, self.outbound.now.moment);
        }
        self.tend(room);
    }

    /// At home: sends again what was not acknowledged in time.
    pub(in crate::shard) fn redeliver(&mut self, room: &RoomKey) {
        let now = self.outbound.now.moment;
        let timeout_ms = self.config.rooms.ack_timeout_ms;
        let most = self.config.limits.recovery_messages as usize;
        let Some(home) = self.homes.get_mut(room) else { return };
        for overdue in home.take_overdue(now, timeout_ms, most) {
            self.send_again(room, overdue);
        }
    }

    fn send_again(&mut self, room: &RoomKey, Overdue { address, lost, missed }: Overdue) {
        let (room, connection) = (room.clone(), address.key);
        let message = ToConnection::Redeliver { room, connection, lost, publications: missed };
        self.outbound.send(address.core, message);
    }

    /// At home: nothing of what a connection was to be sent again is for it, so what stands behind that
    /// is looked at, too, and that itself no more. It cannot acknowledge what it does not get.
    pub(in crate::shard) fn on_withheld(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        epoch: &str,
        connection: ConnectionKey,
        offset: u64,
    ) {
        let address = ConnectionAddress { core: from, key: connection };
        let now = self.outbound.now.moment;
        let timeout_ms = self.config.rooms.ack_timeout_ms;
        let most = self.config.limits.recovery_messages as usize;
        let home = self.homes.get_mut(room).filter(|home| *home.epoch == *epoch);
        let missed = home.map(|it| it.overdue_behind(address, offset, now, timeout_ms, most));
        if let Some(missed) = missed.filter(|it| !it.is_empty()) {
            self.send_again(room, Overdue { address, lost: None, missed });
        }
    }

    /// Messages that a connection has not acknowledged, once more; and those that it will not get
    /// once more.
    pub(in crate::shard) fn on_redeliver(
        &mut self,
        room: &RoomKey,
        key: ConnectionKey,
        lost: Option<(u64, u64)>,
        publications: &[Arc<Publication>],
    ) {
        let Some(index) = self.hub.find(room) else { return };
        self.settle_room(index);
        let Some(hub_room) = self.hub.get(index) else { return };
        let home = hub_room.home;
        let Some(connection) = self.outbound.get(key) else { return };
        let membership = connection.rooms.iter().find(|it| it.room == index);
        let member = membership.and_then(|it| hub_room.members.get(it.place as usize));
        let (Some(member), Some(tag)) = (member, hub_room.tag.clone()) else { return };
        let interest = member.interest.clone();
        // It may want something else as soon as a join is answered.
        let mut is_for_others = membership.is_some_and(|it| it.joining == 0);
        if let Some(lost) = lost {
            self.outbound.push_gap(key, &tag, lost, GapReason::HistoryTruncated);
        }
        let now = self.outbound.now.moment;
        // Whoever is far behind may not have read the first copy yet, and is not sent a second. What
        // does not fit now is still owed, and comes the next time.
        let most = self.config.limits.outbox_bytes as usize / 4;
        for publication in publications {
            let slot = self.outbound.slot_mut(key);
            if slot.is_none_or(|slot| slot.outbox.pending_bytes() > most) {
                return;
            }
            let Some(connection) = self.outbound.get(key) else { return };
            let expired = publication.expires.is_some_and(|expires| expires <= now);
            let reader = Reader { connection, interest: interest.as_deref(), now };
            if expired || !reader.takes_again(publication) {
                continue;
            }
            is_for_others = false;
            let codec = connection.form.codec;
            let frame = self.press.message(publication, codec, true);
            let label = Label { expires: publication.expires, ..Label::nameless(&tag) };
            let run = Run::joined(frame, label, &self.outbound.pool.budget);
            self.outbound.offer_run(key, &run);
        }
        if let Some(last) = publications.last().filter(|_| is_for_others) {
            let (room, epoch, offset) = (room.clone(), Arc::clone(&last.epoch), last.offset);
            let message = ToHome::Withheld { room, epoch, connection: key, offset };
            self.outbound.send(home, message);
        }
    }
}
