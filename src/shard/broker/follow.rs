//! Following a room: from its opening through its news to its end.

use std::sync::Arc;

use crate::room::broker::{Fault, Life, News, Seen, epoch_number};
use crate::room::broker::{Keep, ToBroker};
use crate::room::name::RoomKey;
use crate::room::publication::{Draft, FormSet, Publication};
use crate::room::wire::{self, Spot};
use crate::shard::command::Audiences;
use crate::shard::message::{Reborn, ToHub};
use crate::shard::{Alarm, Shard};

use super::call::keep_called;
use super::{Followed, HELD_MOST, RETRY_MS};

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
        let keep = Keep::of(self.config_of(room));
        // Where the room keeps nothing, that is where what comes with a call is to be had.
        let keep = if self.is_received_here(room) { keep_called(keep) } else { keep };
        let is_up = self.broker.is_up;
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if !is_up {
            followed.is_asked = false;
            return;
        }
        followed.is_asked = true;
        followed.has_missed = false;
        let seen = followed.seen.clone();
        self.tell_broker(ToBroker::Open { room: room.clone(), seen, keep });
        // Behind it: by then the room is listened to.
        self.look(room);
        self.recall(room);
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
        if outcome.is_err() && self.broker.is_up {
            let at = self.outbound.now.moment.plus_ms(RETRY_MS);
            self.wheel.insert(at, Alarm::Reopen(room.clone()));
        }
        // Its part of the broker may have gone before it was open, so that nobody was told of this room.
        let is_unreached = matches!(outcome, Err(Fault::Unsent | Fault::Lost));
        followed.is_severed |= is_unreached && followed.seen.is_none();
        if let Ok(life) = outcome {
            (followed.is_severed, followed.is_current) = (false, true);
            self.plan_refresh(room);
            self.take_life(room, life);
            let Some(followed) = self.broker.rooms.get_mut(room) else { return };
            let has_missed = followed.has_missed;
            self.go_on_with_bookmarks(room);
            self.hear_held(room);
            if has_missed {
                self.open_again(room);
            }
        }
        self.call_if_begun(room);
        self.go_on_if_answered(room);
        self.tend(room);
    }

    /// What nobody asks for is forgotten in time: asks for it before that.
    fn plan_refresh(&mut self, room: &RoomKey) {
        let at = self.outbound.now.moment.plus_ms(self.config.redis.room_ttl_ms / 2);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
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
            if self.still_holds(&message) {
                self.on_core(from, message.into());
            }
        }
        // There was no home to hear it before.
        self.hear_held(room);
        self.tend(room);
    }

    /// Takes in the news that were held back, or holds them again.
    fn hear_held(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        for news in std::mem::take(&mut followed.held) {
            self.on_news(room, news);
        }
    }

    /// Takes in those of the news that were held back that follow what is here.
    fn hear_in_turn(&mut self, room: &RoomKey) {
        if self.waits_for_heritage(room) {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let mut others = Vec::new();
        for news in std::mem::take(&mut followed.held) {
            let last = self.homes.rooms.get(room).map(|it| (&it.room.epoch, it.room.offset()));
            match &news {
                News::Publication { epoch, offset, wire }
                    if last.is_some_and(|last| last == (epoch, *offset - 1)) =>
                {
                    self.follow_publication(room, *offset, wire);
                }
                _ => others.push(news),
            }
        }
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            followed.held.splice(..0, others);
        }
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

    /// The broker could not open a room some time ago.
    pub(in crate::shard) fn on_reopen_alarm(&mut self, room: &RoomKey) {
        self.pay(Some(room));
        if self.broker.rooms.get(room).is_some_and(|followed| !followed.is_asked) {
            self.open_again(room);
        }
    }

    /// A home takes over what the broker knows of its room.
    fn take_life(&mut self, room: &RoomKey, life: Life) {
        let Some(home) = self.homes.get_mut(room) else {
            if let Some(followed) = self.broker.rooms.get_mut(room) {
                followed.seen = Some(seen_of(&life));
                followed.life = Some(Box::new(life));
            }
            return;
        };
        let was_followed = self.broker.rooms.get(room).is_some_and(|it| it.seen.is_some());
        let first = last_run(&life).first().map(|(first, _)| *first).filter(|_| was_followed);
        if home.epoch == life.epoch {
            self.hear_in_turn(room);
            let missed = self.missed_up_to(room, &life);
            self.catch_up(room, &life, missed);
            self.expect_place(room, &life.epoch, life.offset);
        } else if epoch_number(&life.epoch) <= epoch_number(&home.epoch) {
            // It answers a question that was asked before what is known now.
            self.open_again(room);
        } else if let Some(first) = first {
            // Who was in the life before gets all there is of this one.
            self.be_reborn(room, &life.epoch.clone(), first - 1);
            self.catch_up(room, &life, life.offset);
        } else {
            let start = self.take_beginning(room, &life);
            self.be_reborn(room, &life.epoch.clone(), start);
            self.begin_at(room, &life, start);
        }
    }

    /// A home that was just made takes over what the broker has told before.
    pub(in crate::shard) fn take_over(&mut self, room: &RoomKey) {
        self.begin_to_follow(room);
        if let Some(home) = self.homes.get_mut(room).filter(|_| self.broker.is_there()) {
            home.share_cursors();
        }
        self.begin_to_attend(room);
        self.take_charter(room);
        let followed = self.broker.rooms.get_mut(room);
        let Some(life) = followed.and_then(|followed| followed.life.take()) else { return };
        let now = self.outbound.now.moment;
        let start = self.take_beginning(room, &life);
        if let Some(home) = self.homes.get_mut(room) {
            home.begin_life(Arc::clone(&life.epoch), start, now);
        }
        self.begin_at(room, &life, start);
    }

    /// A home has begun at a place in a life: what was before it is history, what is behind it is
    /// delivered.
    fn begin_at(&mut self, room: &RoomKey, life: &Life, start: u64) {
        self.fill(room, life, start);
        if start == life.offset {
            self.note_seen(room, seen_of(life));
            return;
        }
        let epoch = Arc::clone(&life.epoch);
        self.note_seen(room, Seen { epoch, offset: start, stamp: None });
        if !self.waits_for_heritage(room) {
            self.catch_up(room, life, life.offset);
        }
    }

    /// Fills the history with what the broker has kept of it, up to `start`.
    fn fill(&mut self, room: &RoomKey, life: &Life, start: u64) {
        let run = last_run(life);
        let kept = &run[..run.partition_point(|(offset, _)| *offset <= start)];
        let Some((first, _)) = kept.first() else { return };
        let before = first - 1;
        let (now, depth) = (self.outbound.now, self.config.limits.depth);
        let Some(home) = self.homes.get_mut(room) else { return };
        home.skip_to(before);
        for (offset, wire) in kept {
            let (epoch, node) = (&life.epoch, self.broker.node);
            let spot = Spot { room, epoch, offset: *offset, node, depth };
            match wire::read(wire, spot, now) {
                Some(draft) => {
                    let forms = FormSet::default();
                    let publication = Publication::new(draft, forms, &mut self.press);
                    home.history.push(Arc::new(publication), now.moment);
                }
                None => home.skip_to(*offset),
            }
        }
    }

    /// Delivers what was missed of the life that is known; what is not to be had is announced, but what
    /// is behind `missed` may still come.
    fn catch_up(&mut self, room: &RoomKey, life: &Life, missed: u64) {
        let kept = last_run(life);
        let last = |shard: &Self| shard.homes.rooms.get(room).map_or(0, |it| it.room.offset());
        let known = kept.last().map_or(missed, |(offset, _)| *offset);
        if last(self) < known {
            self.metrics.broker_gaps.add(1);
        }
        if let Some((first, _)) = kept.first()
            && last(self) + 1 < *first
        {
            self.lose(room, first - 1);
        }
        for (offset, wire) in kept {
            if *offset == last(self) + 1 {
                self.metrics.broker_filled.add(1);
                self.follow_publication(room, *offset, wire);
            }
        }
        if last(self) < missed {
            self.lose(room, missed);
        }
        if last(self) == life.offset {
            self.note_seen(room, seen_of(life));
        }
    }

    /// Something was told to all who listen.
    pub(super) fn on_news(&mut self, room: &RoomKey, news: News) {
        if let News::Transient { wire } = &news {
            self.follow_transient(room, wire);
            return;
        }
        let waits = self.waits_for_heritage(room);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if followed.is_asked || followed.patience.is_some() || waits {
            if followed.held.len() < HELD_MOST {
                followed.held.push(news);
            } else {
                followed.has_missed = true;
            }
            return;
        }
        let Some(home) = self.homes.rooms.get(room) else { return };
        let (ours, last) = (Arc::clone(&home.room.epoch), home.room.offset());
        match news {
            News::Publication { epoch, offset, wire } if epoch == ours => {
                if offset == last + 1 {
                    self.follow_publication(room, offset, &wire);
                } else if offset > last {
                    self.hold_and_ask(room, News::Publication { epoch, offset, wire });
                }
            }
            News::Epoch { epoch, offset } if epoch_number(&epoch) > epoch_number(&ours) => {
                self.be_reborn(room, &epoch, offset);
                self.note_seen(room, Seen { epoch, offset, stamp: None });
            }
            News::Epoch { epoch, .. } if epoch == ours => {}
            // Another life than is known here, and no word of how it began.
            news => self.hold_and_ask(room, news),
        }
    }

    fn hold_and_ask(&mut self, room: &RoomKey, news: News) {
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            followed.held.push(news);
        }
        self.open_again(room);
    }

    /// A publication that follows what is here.
    fn follow_publication(&mut self, room: &RoomKey, offset: u64, wire: &[u8]) {
        let Some(home) = self.homes.rooms.get(room) else { return };
        let epoch = Arc::clone(&home.room.epoch);
        match self.read_wire(room, &epoch, offset, wire) {
            Some(draft) => {
                let stamp = wire::stamp(wire);
                self.send_out_followed(draft, stamp);
                self.note_seen(room, Seen { epoch, offset, stamp });
            }
            None => {
                self.lose(room, offset);
                self.note_seen(room, Seen { epoch, offset, stamp: wire::stamp(wire) });
            }
        }
    }

    /// A publication without a place; what was published here has been sent out already.
    fn follow_transient(&mut self, room: &RoomKey, wire: &[u8]) {
        if wire::stamp(wire).is_none_or(|stamp| stamp.node == self.broker.node) {
            return;
        }
        let Some(home) = self.homes.rooms.get(room) else { return };
        let epoch = Arc::clone(&home.room.epoch);
        if let Some(draft) = self.read_wire(room, &epoch, 0, wire) {
            self.spread(draft, None);
        }
    }

    fn read_wire(
        &self,
        room: &RoomKey,
        epoch: &Arc<str>,
        offset: u64,
        wire: &[u8],
    ) -> Option<Draft> {
        let (node, depth) = (self.broker.node, self.config.limits.depth);
        wire::read(wire, Spot { room, epoch, offset, node, depth }, self.outbound.now)
    }

    /// Everything up to `to` that was not delivered is lost to those who are here, and they are told.
    fn lose(&mut self, room: &RoomKey, to: u64) {
        let Some(home) = self.homes.get_mut(room) else { return };
        let from = home.offset() + 1;
        home.skip_to(to);
        self.metrics.broker_lost.add((to + 1).saturating_sub(from));
        let epoch = Arc::clone(&home.epoch);
        let Audiences { cores, guard, .. } = self.audiences(room);
        for core in cores {
            let (room, epoch, guard) = (room.clone(), Arc::clone(&epoch), guard.clone());
            self.outbound.send(core, ToHub::Overrun { room, epoch, from, to, guard });
        }
    }

    /// Another life of a room has begun; up to `offset`, nobody here gets anything of it.
    fn be_reborn(&mut self, room: &RoomKey, epoch: &Arc<str>, offset: u64) {
        let Some(home) = self.homes.get_mut(room) else { return };
        home.begin_life(Arc::clone(epoch), offset, self.outbound.now.moment);
        for link in home.links() {
            let (room, epoch) = (room.clone(), Arc::clone(epoch));
            self.outbound.send(link.core, ToHub::Reborn(Reborn { room, epoch, offset }));
        }
    }

    fn note_seen(&mut self, room: &RoomKey, seen: Seen) {
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            followed.seen = Some(seen);
        }
    }
}

fn seen_of(life: &Life) -> Seen {
    Seen { epoch: Arc::clone(&life.epoch), offset: life.offset, stamp: life.stamp }
}

/// The publications at the end that follow each other without a hole, up to where the room has come.
fn last_run(life: &Life) -> &[(u64, Box<[u8]>)] {
    let entries = &life.entries;
    let pairs = entries.iter().rev().zip((0..=life.offset).rev());
    let len = pairs.take_while(|((offset, _), expected)| *offset > 0 && offset == expected).count();
    &entries[entries.len() - len..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_without_a_hole_is_history() {
        let life = |offset, offsets: &[u64]| Life {
            epoch: "1.x".into(),
            offset,
            stamp: None,
            entries: offsets.iter().map(|offset| (*offset, Box::default())).collect(),
        };
        for (offset, offsets, run) in [
            (0, [].as_slice(), [].as_slice()),
            (5, &[], &[]),
            (5, &[3, 4, 5], &[3, 4, 5]),
            (5, &[1, 2, 4, 5], &[4, 5]),
            (5, &[2, 3, 4], &[]),
            (2, &[1, 2], &[1, 2]),
            (1, &[0, 1], &[1]),
        ] {
            let life = life(offset, offsets);
            let found: Vec<_> = last_run(&life).iter().map(|(offset, _)| *offset).collect();
            assert_eq!(found, run, "{offset} of {offsets:?}");
        }
    }
}
