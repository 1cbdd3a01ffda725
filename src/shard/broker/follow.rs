//! Following a room: it is opened, and opened again, until it is followed no more. What was asked of it
//! waits meanwhile, and then goes on.

use crate::clock::Moment;
use crate::room::broker::{Fault, Life, ToBroker};
use crate::room::name::RoomKey;
use crate::shard::{Alarm, Shard};

use super::{ALL_PAUSE_MS, Followed};

impl Followed {
    /// Whether all that the broker keeps is to be asked for.
    fn wants_all_at(&self, now: Moment) -> bool {
        self.wants_all && self.all_from <= now
    }
}

impl Shard {
    /// A home is there, or about to be: follows its room.
    pub(in crate::shard) fn begin_to_follow(&mut self, room: &RoomKey) {
        if self.broker.party.is_none() || self.broker.rooms.contains_key(room) {
            return;
        }
        self.broker.rooms.insert(room.clone(), Followed::default());
        self.open_again(room);
    }

    /// Asks the broker for what is missing of a room.
    pub(super) fn open_again(&mut self, room: &RoomKey) {
        let is_up = self.broker.is_up;
        let lasts = room.name.is_reserved() && self.config_of(room).history.size > 0;
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if !is_up {
            followed.is_asked = false;
            return;
        }
        let now = self.outbound.now.moment;
        let all = followed.wants_all_at(now);
        if all {
            followed.all_from = now.plus_ms(ALL_PAUSE_MS);
        }
        followed.is_asked = true;
        followed.has_missed = false;
        followed.held.iter_mut().for_each(|held| held.is_asked_for = true);
        let seen = followed.seen.clone();
        self.cancel_retry(room);
        self.tell_broker(ToBroker::Open { room: room.clone(), seen, all, lasts });
        // Behind it: by then the room is listened to.
        self.look(room);
        self.recall(room);
    }

    /// A room keeps more than when its history was filled here, because it was only then known what was
    /// decided about it: asks for all of it, at once or in its time.
    pub(in crate::shard) fn fetch_history(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if followed.seen.is_none() {
            return;
        }
        followed.wants_all = true;
        if followed.is_asked {
            // Its answer may be all there is, or else it is asked for then.
            return;
        }
        if followed.wants_all_at(self.outbound.now.moment) {
            self.open_again(room);
        } else {
            self.plan_refresh(room);
        }
    }

    /// A room has ended, or was never made: follows it no more.
    pub(in crate::shard) fn stop_following(&mut self, room: &RoomKey) {
        if self.inheritance.is_waiting(room) {
            return;
        }
        if self.inheritance.has_followers(room) {
            self.begin_again(room);
            return;
        }
        if !self.broker.rooms.contains_key(room) || self.broker.is_awaiting(room) {
            return;
        }
        self.cancel_retry(room);
        let followed = self.broker.rooms.remove(room);
        if let Some(timer) = followed.and_then(|followed| followed.refresh) {
            self.wheel.cancel(timer);
        }
        self.tell_broker(ToBroker::Close { room: room.clone() });
    }

    /// The home of a room has ended, but not what is to be known of it here.
    fn begin_again(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let was_taken = followed.seen.is_some() && followed.life.is_none();
        if was_taken && !self.homes.rooms.contains_key(room) {
            followed.seen = None;
            self.open_again(room);
        }
    }

    /// The broker has opened a room, or cannot.
    pub(super) fn on_room_opened(&mut self, room: &RoomKey, outcome: Result<Life, Fault>) {
        if let Some(outcome) = outcome.map(|life| self.heed_first(room, life)).transpose() {
            self.on_room_known(room, outcome);
        }
    }

    /// It is known how a room is, and whether it was called, or that cannot be known.
    pub(super) fn on_room_known(&mut self, room: &RoomKey, outcome: Result<Life, Fault>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.is_asked = false;
        if outcome.is_err() {
            self.retry(room);
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        // Its part of the broker may have gone before it was open, so that nobody was told of this room.
        let is_unreached = matches!(outcome, Err(Fault::Unsent | Fault::Lost));
        followed.is_severed |= is_unreached && followed.seen.is_none();
        if let Ok(life) = outcome {
            (followed.is_severed, followed.is_current) = (false, true);
            followed.wants_all &= !life.is_whole;
            self.plan_refresh(room);
            self.take_life(room, life);
            let Some(followed) = self.broker.rooms.get_mut(room) else { return };
            let has_missed = followed.has_missed;
            self.go_on_with_bookmarks(room);
            self.hear_held(room);
            // If what was heard has made it ask, it was for all of it.
            let now = self.outbound.now.moment;
            let wants_all = |followed: &Followed| followed.wants_all_at(now);
            if has_missed || self.broker.rooms.get(room).is_some_and(wants_all) {
                self.open_again(room);
            }
        }
        self.call_if_begun(room);
        self.go_on_if_answered(room);
        self.tend(room);
    }

    /// What nobody asks for is forgotten in time: asks for it before that, or when all of it may be asked
    /// for, if that is wanted.
    fn plan_refresh(&mut self, room: &RoomKey) {
        let at = self.outbound.now.moment.plus_ms(self.config.redis.room_ttl_ms / 2);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let at = if followed.wants_all { at.min(followed.all_from) } else { at };
        let timer = self.wheel.insert(at, Alarm::Reopen(room.clone()));
        if let Some(before) = followed.refresh.replace(timer) {
            self.wheel.cancel(before);
        }
    }

    /// What was asked of a room goes on once the broker has said how it is and who is there.
    pub(super) fn go_on_if_answered(&mut self, room: &RoomKey) {
        let waits =
            |it: &Followed| it.is_asked || it.attending.is_looking || it.governing.is_recalling;
        if !self.broker.rooms.get(room).is_some_and(waits) {
            self.end_patience(room);
        }
    }

    /// What was asked of a room goes on with what is known of it.
    pub(in crate::shard) fn end_patience(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if let Some(timer) = followed.patience.take() {
            self.wheel.cancel(timer);
        }
        self.go_on(room);
    }

    pub(super) fn go_on(&mut self, room: &RoomKey) {
        self.begin_home(room);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.reading.holds = false;
        for (from, message) in std::mem::take(&mut followed.deferred) {
            self.go_on_with(from, message);
        }
        // There was no home to hear it before.
        self.hear_held(room);
        self.tend(room);
    }

    /// The broker has had its time to say how a room is.
    pub(in crate::shard) fn on_patience_alarm(&mut self, room: &RoomKey) {
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            // The timer is no longer in the wheel.
            if followed.patience.take().is_some() {
                self.go_on(room);
            }
        }
    }

    /// A room was to be opened again at this time.
    pub(in crate::shard) fn on_reopen_alarm(&mut self, room: &RoomKey) {
        if self.broker.rooms.get(room).is_some_and(|followed| !followed.is_asked) {
            self.open_again(room);
        } else if self.has_to_look(room) {
            self.retry(room);
        }
    }
}
