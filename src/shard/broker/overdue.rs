//! Places that are known to be given, and what is there has not come.
//!
//! The broker's answers come by another way than a room's news, and may be before them: what has a place
//! may be on its way still. It is lost when it has not come in time, or when what follows it has come.
//!
//! Invariant: what is known to have its place in the life of a room comes, or is announced as lost, unless
//! the broker is out of reach.

use std::sync::Arc;

use crate::room::broker::{Life, News, epoch_number};
use crate::room::home::HomeRoom;
use crate::room::name::RoomKey;
use crate::shard::{Alarm, Shard};

use super::OVERDUE_MS;

/// A life of a room, and an offset there.
pub(super) type Given = (Arc<str>, u64);

/// Whether a home has not come as far as a place in the life of its room.
pub(super) fn is_ahead(home: &HomeRoom, epoch: &Arc<str>, offset: u64) -> bool {
    epoch_number(epoch) > epoch_number(&home.epoch)
        || *epoch == home.epoch && offset > home.offset()
}

/// What is to come.
#[derive(Debug)]
pub(super) struct Expected {
    /// What should have come when it is looked next.
    due: Given,
    /// The last of what is to come.
    last: Given,
}

impl Shard {
    /// Something has its place: sees to it that it comes here, too, whatever became of the news.
    pub(super) fn expect_place(&mut self, room: &RoomKey, epoch: &Arc<str>, offset: u64) {
        let Some(home) = self.homes.rooms.get(room) else { return };
        if !is_ahead(&home.room, epoch, offset) {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let given = (Arc::clone(epoch), offset);
        let rank = |(epoch, offset): &Given| (epoch_number(epoch), *offset);
        match &mut followed.expected {
            Some(expected) if rank(&expected.last) < rank(&given) => expected.last = given,
            Some(_) => {}
            None => {
                followed.expected = Some(Expected { due: given.clone(), last: given });
                self.look_when_due(room);
            }
        }
    }

    fn look_when_due(&mut self, room: &RoomKey) {
        let at = self.outbound.now.moment.plus_ms(OVERDUE_MS);
        self.wheel.insert(at, Alarm::Overdue(room.clone()));
    }

    /// What was to come some time ago should be known here by now. What got its place since then has
    /// its own time.
    pub(in crate::shard) fn on_overdue_alarm(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let Some(Expected { due, last }) = followed.expected.take() else { return };
        let Some(home) = self.homes.rooms.get(room) else { return };
        let is_missing = |(epoch, offset): &Given| is_ahead(&home.room, epoch, *offset);
        if is_missing(&due) && followed.is_asked {
            // The answer may have been made before.
            followed.expected = Some(Expected { due, last });
            return self.look_when_due(room);
        }
        let is_overdue = is_missing(&due);
        if is_missing(&last) && last != due {
            followed.expected = Some(Expected { due: last.clone(), last });
            self.look_when_due(room);
        }
        if is_overdue {
            if let Some(followed) = self.broker.rooms.get_mut(room) {
                followed.overdue = Some(due);
            }
            self.open_again(room);
        }
    }

    /// How far nothing of a life comes any more that has not come: what was overdue before the room was
    /// opened again, and what is before news that have come.
    pub(super) fn missed_up_to(&mut self, room: &RoomKey, life: &Life) -> u64 {
        let last = self.homes.rooms.get(room).map_or(0, |home| home.room.offset());
        let Some(followed) = self.broker.rooms.get_mut(room) else { return life.offset };
        let overdue = followed.overdue.take().filter(|(epoch, _)| *epoch == life.epoch);
        let held = followed.held.iter().filter_map(|held| match &held.news {
            News::Publication { epoch, offset, .. } => {
                (*epoch == life.epoch && *offset > last).then_some(*offset - 1)
            }
            _ => None,
        });
        let overdue = overdue.map(|(_, offset)| offset);
        held.min().max(overdue).map_or(0, |offset| offset.min(life.offset))
    }
}
