//! A room's messages for those who receive it by a pattern and are not in it.
//!
//! Invariants: nothing goes to a subscription that was not answered yet; of a room that somebody could
//! not join by themselves they hear nothing, unless their credential lets them moderate it.

use std::rc::Rc;
use std::sync::Arc;

use crate::protocol::GapReason;
use crate::room::hub::{Item, RoomIndex, RoomTag};
use crate::room::name::{RoomKey, RoomName};
use crate::shard::Shard;
use crate::shard::connection::{Connection, NO_PLACE};
use crate::shard::eligible::Reader;
use crate::shard::identity::Right;
use crate::shard::message::Reborn;

use super::{Fanout, Walk, plain_tag};

impl Shard {
    /// Something came for a room that nobody here is in.
    pub(in crate::shard) fn collect_for_subscribers(&mut self, room: &RoomKey, item: Item) {
        let home = self.home_core(room);
        let index = self.hub.enter(room, home);
        self.hub.collect(index, item);
    }

    /// Queues what came for a room to those who receive it by a pattern and are not in it.
    pub(super) fn subscribers_of(&mut self, index: RoomIndex, items: &[Item], fanout: &mut Fanout) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(tag) = self.hub.get(index).and_then(|room| room.tag.clone()) else { return };
        self.walk_subscribers(index, (&tag, GapReason::Overload), items, fanout);
    }

    /// Another life of a room has begun: who receives it by a pattern gets nothing of it up to a place.
    pub(in crate::shard) fn tell_subscribers_of_life(&mut self, reborn: &Reborn) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Reborn { room, epoch, offset, guard, .. } = reborn;
        let (tag, guard) = (plain_tag(room, Arc::clone(epoch)), guard.clone());
        let lost = Item::Lost { epoch: Arc::clone(epoch), from: 1, to: *offset, guard };
        let index = self.hub.enter(room, self.home_core(room));
        let mut fanout = std::mem::take(&mut self.fanout);
        self.walk_subscribers(index, (&tag, GapReason::EpochChanged), &[lost], &mut fanout);
        self.fanout = fanout;
        self.tidy_room(index);
    }

    fn walk_subscribers(
        &mut self,
        index: RoomIndex,
        (tag, gap): (&Rc<RoomTag>, GapReason),
        items: &[Item],
        fanout: &mut Fanout,
    ) {
        let Some(room) = self.hub.get(index) else { return };
        let Some(set) = self.subscriptions.sets.get(&room.key.tenant) else { return };
        let mut places = Vec::new();
        set.visit(&room.key.name, |place| places.push(place));
        // In an order that does not depend on the map, and one copy each.
        places.sort_unstable();
        places.dedup();
        let name = room.key.name.clone();
        for place in places {
            let mut walk = Walk {
                outbound: &mut self.outbound,
                press: &mut self.press,
                seed: self.seed,
                tag,
                gap,
                items,
                fanout: &mut *fanout,
            };
            walk.subscriber(place, index, &name);
        }
    }
}

impl Walk<'_> {
    /// Queues to one that receives the room by a pattern.
    fn subscriber(&mut self, place: u32, index: RoomIndex, name: &RoomName) {
        for at in 0..self.items.len() {
            let slot = self.outbound.slots.get(place as usize);
            let Some(connection) = slot.and_then(|slot| slot.connection.as_deref()) else { return };
            // Before the welcome, the session's rooms still come back with what was missed.
            let joined = connection.rooms.iter().any(|it| it.room == index && it.place != NO_PLACE);
            if joined || !connection.welcomed {
                return;
            }
            let item = &self.items[at];
            if !self.is_for_subscriber(connection, item, name) {
                continue;
            }
            match item {
                Item::Delivery(_) => self.offer_single(place, connection.form, at),
                Item::Lost { epoch, from, to, .. } => self.lost(place, epoch, (*from, *to)),
                Item::Notice(_) => {}
            }
        }
    }

    /// Whether one that is not in a room is to hear something of it.
    fn is_for_subscriber(&self, connection: &Connection, item: &Item, name: &RoomName) -> bool {
        let (guard, publication) = match item {
            Item::Delivery(delivery) => (&delivery.guard, Some(&delivery.publication)),
            Item::Lost { guard, .. } => (guard, None),
            Item::Notice(_) => return false,
        };
        let (now, identity) = (self.outbound.now.moment, &connection.identity);
        let is_kept_out = guard.as_ref().is_some_and(|guard| {
            !guard.lets_hear(identity.user.as_deref(), connection.address, now)
                && !identity.may(Right::Moderate, name)
        });
        if is_kept_out {
            return false;
        }
        let Some(rare) = &connection.rare else { return false };
        rare.patterns.iter().filter(|it| it.holds && it.pattern.matches(name)).any(|it| {
            let reader = Reader { connection, interest: Some(&it.interest), now };
            // What was lost is known by nothing but its place.
            publication.is_none_or(|publication| reader.takes(publication))
        })
    }
}
