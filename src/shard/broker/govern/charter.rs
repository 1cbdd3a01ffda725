//! What has been decided about a room: a home hears it, asks for what it has missed, and carries it out.

use crate::room::broker::{Fault, ToBroker};
use crate::room::charter::{Amendment, Charter, Decided, Decree, Manner};
use crate::room::home::HomeRoom;
use crate::room::name::RoomKey;
use crate::shard::Shard;
use crate::shard::broker::begins;

use super::{Matter, Of};

impl Shard {
    /// Asks what has been decided about a room.
    pub(in crate::shard::broker) fn recall(&mut self, room: &RoomKey) {
        // Nothing is decided about a reserved room.
        if room.name.is_reserved() || !self.broker.is_up {
            return;
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        (governing.is_recalling, governing.has_missed) = (true, false);
        governing.is_outdated = true;
        let known = governing.mark.clone();
        self.tell_broker(ToBroker::Recall { room: room.clone(), known });
    }

    /// Whether it is known who is a member of a room, here and by the rooms above.
    pub(in crate::shard::broker) fn knows_members(&self, room: &RoomKey) -> bool {
        let governing = self.broker.rooms.get(room).map(|followed| &followed.governing);
        governing.is_some_and(|it| !it.is_outdated && !it.mark.life.is_empty())
            && !self.inheritance.is_waiting(room)
    }

    /// The broker has said what has been decided about a room, or cannot.
    pub(in crate::shard::broker) fn on_recalled(
        &mut self,
        room: &RoomKey,
        outcome: Result<Option<Box<Charter>>, Fault>,
    ) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        governing.is_recalling = false;
        governing.is_outdated = outcome.is_err();
        let has_missed = governing.has_missed;
        match outcome {
            Ok(charter) => {
                self.compare(room, charter);
                self.release_bookmarks(room);
            }
            Err(_) => self.retry(room),
        }
        if has_missed {
            self.recall(room);
        }
        self.settle_motion(room);
        self.go_on_if_answered(room);
        self.tend(room);
    }

    /// What the broker knows is what is known here, or more, or less.
    fn compare(&mut self, room: &RoomKey, charter: Option<Box<Charter>>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        let home = self.homes.rooms.get(room).map(|home| &home.room);
        let ours = &governing.mark;
        let has_lost = match &charter {
            // Nothing was written down of a room that began when Redis was out of reach.
            None => ours.life.is_empty() && home.is_some_and(HomeRoom::has_charter),
            Some(theirs) => {
                let is_behind = theirs.mark.life.is_empty()
                    || (theirs.mark.life == ours.life && theirs.mark.number < ours.number);
                is_behind && home.is_some() && governing.exists
            }
        };
        if let Some(charter) = charter {
            if has_lost {
                governing.mark = charter.mark;
            } else {
                self.adopt(room, charter);
            }
        }
        let Some(followed) = self.broker.rooms.get_mut(room).filter(|_| has_lost) else { return };
        let queue = &mut followed.governing.queue;
        if !queue.iter().any(|matter| matches!(matter.of, Of::Loss)) {
            // What is on its way stays the first.
            let at = usize::from(queue.front().is_some_and(|front| front.motion.is_some()));
            queue.insert(at, Matter::new(Of::Loss));
        }
    }

    /// All is as the broker knows it.
    fn adopt(&mut self, room: &RoomKey, charter: Box<Charter>) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        governing.mark = charter.mark.clone();
        let existed = std::mem::replace(&mut governing.exists, charter.is_of_a_room());
        let Some(home) = self.homes.get_mut(room) else {
            governing.heard = Some(charter);
            if governing.exists && self.inheritance.has_followers(room) {
                // Without a place for it, those below have nothing from it.
                let _ = self.home_of(room);
            }
            return;
        };
        if existed && !charter.is_of_a_room() {
            self.fulfil_end(room, None);
            return;
        }
        let is_other = home.adopt(&charter, &bounds, now);
        self.begin_to_inherit(room);
        if is_other {
            self.announce_config(room);
        }
        self.send_out_banned(room, None);
    }

    /// A home that was just made takes over what was heard before.
    pub(in crate::shard::broker) fn take_charter(&mut self, room: &RoomKey) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let Some(charter) = followed.governing.heard.take() else { return };
        if let Some(home) = self.homes.get_mut(room) {
            home.adopt(&charter, &bounds, now);
        }
        self.begin_to_inherit(room);
    }

    /// Something was decided about a room.
    pub(in crate::shard::broker) fn on_amendment(&mut self, room: &RoomKey, amendment: &Amendment) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let governing = &mut followed.governing;
        if governing.is_recalling {
            governing.has_missed = true;
            return;
        }
        if governing.mark.covers(&amendment.mark) {
            return;
        }
        if !governing.mark.is_before(&amendment.mark) {
            self.recall(room);
            return;
        }
        if !self.homes.rooms.contains_key(room) && !self.begin_by_amendment(room, amendment) {
            // Whoever comes next asks for all of it.
            self.recall(room);
            return;
        }
        self.carry_out(room, amendment);
        self.settle_motion(room);
    }

    /// A room was made on another node or for somebody here: makes its home, if that is needed here.
    fn begin_by_amendment(&mut self, room: &RoomKey, amendment: &Amendment) -> bool {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return false };
        let is_made_here = followed.governing.queue.front().is_some_and(Matter::makes);
        let is_needed = is_made_here || self.inheritance.has_followers(room);
        if amendment.manner == Manner::End || !is_needed {
            return false;
        }
        let now = self.outbound.now.moment;
        let Ok(home) = self.home_of(room) else { return false };
        if is_made_here {
            home.hold(now);
        }
        true
    }

    fn carry_out(&mut self, room: &RoomKey, amendment: &Amendment) {
        let (now, bounds) = (self.outbound.now, self.homes.bounds);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        followed.governing.mark = amendment.mark.clone();
        followed.governing.exists = amendment.manner != Manner::End;
        let Decided { decree, by } = &amendment.decided;
        if amendment.manner == Manner::End {
            self.fulfil_end(room, by.as_ref());
            return;
        }
        let Some(home) = self.homes.get_mut(room) else { return };
        let is_other = home.amend(amendment, &bounds, now);
        self.begin_to_inherit(room);
        if is_other || *decree == Decree::Configured {
            self.announce_config(room);
            self.send_out_banned(room, None);
        }
        if let Decree::Moderated(moderation) = decree {
            self.fulfil_moderation(room, moderation, by.as_ref());
        }
    }

    /// Makes the home of a room that is there on other nodes and is asked about here.
    pub(in crate::shard::broker) fn begin_home(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get(room) else { return };
        let is_asked = followed.deferred.iter().any(|(_, message)| begins(message));
        if is_asked && followed.governing.is_of_a_room() {
            // Without a place for it, whoever asks is told so.
            let _ = self.home_of(room);
        }
    }
}
