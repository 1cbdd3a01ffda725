//! What a home takes in of its room, by the broker's word: how it was when it was opened, and what is
//! told from then on, in the order of offsets.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::room::broker::{Life, News, Seen, epoch_number};
use crate::room::name::RoomKey;
use crate::room::publication::{Draft, FormSet, Publication};
use crate::room::wire::{self, Spot};
use crate::shard::Shard;
use crate::shard::command::Audiences;
use crate::shard::message::{Reborn, ToHub};

use super::HELD_MAX;

/// News that a room keeps until it is known what is before them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) news: News,
    /// The room was opened again since they came.
    pub(super) is_asked_for: bool,
}

impl Shard {
    /// Takes in the news that were held back, until something has to be asked before the next.
    pub(super) fn hear_held(&mut self, room: &RoomKey) {
        let count = self.broker.rooms.get(room).map_or(0, |followed| followed.held.len());
        for _ in 0..count {
            if self.has_to_hold(room) {
                return;
            }
            let followed = self.broker.rooms.get_mut(room);
            let Some(held) = followed.and_then(|it| it.held.pop_front()) else { return };
            self.take_news(room, held);
        }
    }

    /// Whether news of a room wait for something.
    fn has_to_hold(&self, room: &RoomKey) -> bool {
        let followed = self.broker.rooms.get(room);
        followed.is_some_and(|it| it.is_asked || it.patience.is_some())
            || self.waits_for_heritage(room)
    }

    /// Takes in those of the news that were held back that follow what is here.
    fn hear_in_turn(&mut self, room: &RoomKey) {
        if self.waits_for_heritage(room) {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let mut others = VecDeque::new();
        for held in std::mem::take(&mut followed.held) {
            let last = self.homes.rooms.get(room).map(|it| (&it.room.epoch, it.room.offset()));
            match &held.news {
                News::Publication { epoch, offset, wire }
                    if last.is_some_and(|last| last == (epoch, *offset - 1)) =>
                {
                    self.follow_publication(room, *offset, wire);
                }
                _ => others.push_back(held),
            }
        }
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            others.append(&mut followed.held);
            followed.held = others;
        }
    }

    /// A home takes over what the broker knows of its room.
    pub(super) fn take_life(&mut self, room: &RoomKey, life: Life) {
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
            self.fill_up(room, &life);
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
        if self.broker.rooms.get(room).is_some_and(|followed| followed.has_missed) {
            self.open_again(room);
        }
    }

    /// A home has begun at a place in a life: what was before it is history, what is behind it is
    /// delivered.
    fn begin_at(&mut self, room: &RoomKey, life: &Life, start: u64) {
        self.fill(room, life);
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

    /// Puts what the broker has kept in front of what is here of the history, as far as that goes, and as
    /// all histories together may hold. Whether there was any.
    fn fill(&mut self, room: &RoomKey, life: &Life) -> bool {
        let now = self.outbound.now.moment;
        let Some(home) = self.homes.get_mut(room) else { return false };
        let dropped = home.history.dropped();
        let run = last_run(life);
        let older = &run[..run.partition_point(|(offset, _)| *offset <= dropped)];
        for (count, (offset, wire)) in older.iter().rev().enumerate() {
            let draft = self.read_wire(room, &life.epoch, *offset, wire);
            let publication =
                draft.map(|draft| Publication::new(draft, FormSet::default(), &mut self.press));
            let is_taken =
                publication.is_some_and(|it| self.homes.keep_older(room, Arc::new(it), now));
            if !is_taken {
                return count > 0;
            }
        }
        !older.is_empty()
    }

    /// The broker has told again how a life is that is known here: it may tell of what was before the
    /// history here.
    fn fill_up(&mut self, room: &RoomKey, life: &Life) {
        if !self.fill(room, life) {
            return;
        }
        let (now, timeout_ms) = (self.outbound.now.moment, self.config.rooms.ack_timeout_ms);
        if let Some(home) = self.homes.get_mut(room) {
            home.owe_anew(|_| true, now, timeout_ms);
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
        let has_to_hold = self.has_to_hold(room);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let held = Held { news, is_asked_for: false };
        if !has_to_hold {
            self.take_news(room, held);
        } else if followed.held.len() < HELD_MAX {
            followed.held.push_back(held);
        } else {
            followed.has_missed = true;
        }
    }

    fn take_news(&mut self, room: &RoomKey, held: Held) {
        let Some(home) = self.homes.rooms.get(room) else {
            // One that begins yet begins with what was known before.
            if let Some(followed) = self.broker.rooms.get_mut(room) {
                followed.has_missed = true;
            }
            return;
        };
        let (ours, last) = (Arc::clone(&home.room.epoch), home.room.offset());
        match &held.news {
            News::Publication { epoch, offset, wire } if *epoch == ours => {
                if *offset == last + 1 {
                    self.follow_publication(room, *offset, wire);
                } else if *offset > last {
                    self.ask_before(room, held);
                }
            }
            News::Epoch { epoch, offset } if epoch_number(epoch) > epoch_number(&ours) => {
                self.be_reborn(room, epoch, *offset);
                let seen = Seen { epoch: Arc::clone(epoch), offset: *offset, stamp: None };
                self.note_seen(room, seen);
            }
            News::Epoch { epoch, .. } if *epoch == ours => {}
            // Another life than is known here, and no word of how it began.
            _ => self.ask_before(room, held),
        }
    }

    /// Asks how the room is before news are taken in that do not follow what is here, once. What does not
    /// follow the answer either is of a life that has ended, or lost; or the answer is older, and what was
    /// heard of the life that is known is asked for in its own time.
    fn ask_before(&mut self, room: &RoomKey, held: Held) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if !held.is_asked_for {
            followed.held.push_front(held);
            self.open_again(room);
        } else if let News::Publication { epoch, offset, .. } | News::Epoch { epoch, offset } =
            &held.news
        {
            self.expect_place(room, epoch, *offset);
        }
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

    pub(super) fn read_wire(
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
        let was_followed = self.broker.rooms.get(room).is_some_and(|it| it.seen.is_some());
        let Some(home) = self.homes.get_mut(room) else { return };
        home.begin_life(Arc::clone(epoch), offset, self.outbound.now.moment);
        let Audiences { cores, guard, .. } = self.audiences(room);
        for core in cores {
            let (room, epoch, guard) = (room.clone(), Arc::clone(epoch), guard.clone());
            let reborn = Reborn { room, epoch, offset, was_followed, guard };
            self.outbound.send(core, ToHub::Reborn(reborn));
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
            is_whole: false,
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
