//! How far users have come in `guaranteed` rooms, on all nodes: who comes in waits until the broker
//! has said how far they had come, and the broker is told what they acknowledge.
//!
//! Invariants: what is asked of a room behind somebody who waits, waits with them; nobody waits longer
//! than the broker answers; who came in without its word is looked up when it is in reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::protocol::Mode;
use crate::room::bookmark::{BookmarkAsk, BookmarkNews, Bookmarks};
use crate::room::broker::{Fault, ToBroker};
use crate::room::name::RoomKey;
use crate::shard::Shard;
use crate::shard::ask::What;
use crate::shard::message::ToHome;

/// Users of whom one message speaks.
const USERS_MAX: usize = 256;

/// What is asked, or known, of users who are not in the room here.
#[derive(Debug, Default)]
pub(super) struct Reading {
    of: BTreeMap<Arc<str>, Answer>,
    /// Something is sent again once the broker has said how far this user has come, and others.
    redelivers_after: Option<Arc<str>>,
    /// More of those who came in without the broker's word are asked about once it has said how far
    /// this user has come, and others.
    asks_more_after: Option<Arc<str>>,
    /// Something waits behind somebody of whom the broker has not said it yet.
    pub(super) holds: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Awaited,
    /// Of this user alone.
    Heard(Bookmarks),
    /// The broker cannot say.
    None,
}

impl Reading {
    /// Whether an answer is awaited, or something waits for one.
    pub(super) fn is_awaited(&self) -> bool {
        self.holds || self.of.values().any(|answer| *answer == Answer::Awaited)
    }
}

/// Who wants to come in by this message, and where.
fn comer(message: &ToHome) -> Option<(&RoomKey, &Arc<str>)> {
    let ToHome::Ask(ask) = message else { return None };
    let user = ask.asker.identity.user.as_ref();
    user.filter(|_| matches!(ask.what, What::Join(_))).map(|user| (&ask.room, user))
}

impl Shard {
    /// Whether whoever comes in by this message has to wait for the broker's word; asks for it.
    pub(super) fn has_to_read(&mut self, message: &ToHome) -> bool {
        let Some((room, user)) = comer(message).filter(|_| self.broker.is_up) else { return false };
        let Some(followed) = self.broker.rooms.get_mut(room) else { return false };
        if followed.patience.is_some() {
            return false;
        }
        let lacks = match self.homes.rooms.get(room) {
            Some(home) => home.room.lacks_bookmark(user),
            // Another room is made first, and has nothing of anybody.
            None => {
                let config = &self.homes.namespaces.of(room).config;
                room.name.is_reserved() && config.mode == Mode::Guaranteed
            }
        };
        if !lacks {
            return false;
        }
        match followed.reading.of.get(user) {
            Some(answer) => *answer == Answer::Awaited,
            None => {
                self.read_bookmarks(&room.clone(), vec![Arc::clone(user)]);
                true
            }
        }
    }

    fn read_bookmarks(&mut self, room: &RoomKey, users: Vec<Arc<str>>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let awaited = users.iter().map(|user| (Arc::clone(user), Answer::Awaited));
        followed.reading.of.extend(awaited);
        let ask = BookmarkAsk::Read { users };
        self.tell_broker(ToBroker::Bookmarks { room: room.clone(), ask });
    }

    /// Who comes in by this message waits no longer: the home learns how far they had come.
    pub(super) fn bring_bookmark(&mut self, message: &ToHome) {
        let Some((room, user)) = comer(message) else { return };
        let followed = self.broker.rooms.get_mut(room);
        let Some(Answer::Heard(heard)) = followed.and_then(|it| it.reading.of.remove(user)) else {
            return;
        };
        let at = (self.outbound.now.moment, self.config.rooms.ack_timeout_ms);
        let room = room.clone();
        let knows_members = self.knows_members(&room);
        // Without a place for it, whoever comes is told so.
        if let Ok(home) = self.home_of(&room) {
            home.learn_bookmarks(std::slice::from_ref(user), &heard, knows_members, at);
        }
    }

    /// The broker has answered.
    pub(super) fn on_bookmarks(&mut self, room: &RoomKey, news: BookmarkNews) {
        match news {
            BookmarkNews::Read { users, outcome } => self.on_bookmarks_read(room, &users, &outcome),
            BookmarkNews::Written { ticket, outcome } => {
                let now = self.outbound.now.moment;
                if let Some(home) = self.homes.get_mut(room) {
                    home.confirm_bookmarks(ticket, outcome.is_ok(), now);
                }
                if outcome.is_err() {
                    self.retry(room);
                }
            }
        }
        self.tend(room);
    }

    fn on_bookmarks_read(
        &mut self,
        room: &RoomKey,
        users: &[Arc<str>],
        outcome: &Result<Bookmarks, Fault>,
    ) {
        let at = (self.outbound.now.moment, self.config.rooms.ack_timeout_ms);
        let knows_members = self.knows_members(room);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let mut home = self.homes.get_mut(room);
        for (place, user) in users.iter().enumerate() {
            let answer = followed.reading.of.get_mut(user);
            let Some(answer) = answer.filter(|answer| **answer == Answer::Awaited) else {
                continue;
            };
            let heard = outcome.as_ref().ok().map(|all| Bookmarks {
                epoch: Arc::clone(&all.epoch),
                of: vec![all.of.get(place).copied().flatten()],
            });
            match (&mut home, heard) {
                // They are in already, or have come in meanwhile.
                (Some(home), heard) if !home.lacks_bookmark(user) => {
                    followed.reading.of.remove(user);
                    if let Some(heard) = heard {
                        let user = std::slice::from_ref(user);
                        home.learn_bookmarks(user, &heard, knows_members, at);
                    }
                }
                (_, Some(heard)) => *answer = Answer::Heard(heard),
                (_, None) => *answer = Answer::None,
            }
        }
        let more = followed.reading.asks_more_after.take_if(|first| users.contains(first));
        let first = followed.reading.redelivers_after.take_if(|first| users.contains(first));
        if let (Some(_), Some(home)) = (first, home) {
            home.check_acknowledgements_at(at.0);
            self.redeliver(room);
        }
        if more.is_some() && outcome.is_ok() {
            self.read_unread(room);
        }
        self.go_on_if_read(room);
    }

    /// What waits goes on, unless the first of it still has to wait.
    fn go_on_if_read(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get(room) else { return };
        let first = followed.deferred.first().and_then(|(_, message)| comer(message));
        let answer = first.and_then(|(_, user)| followed.reading.of.get(user));
        if followed.reading.holds && answer != Some(&Answer::Awaited) {
            self.go_on(room);
        }
        if let Some(followed) = self.broker.rooms.get_mut(room)
            && !followed.reading.holds
            && !followed.governing.is_founding()
        {
            // Nobody is left who would take what was heard.
            followed.reading.of.retain(|_, answer| *answer == Answer::Awaited);
        }
    }

    /// Whether it is asked first what users have acknowledged on other nodes, before something is sent
    /// to them again.
    pub(in crate::shard) fn has_to_ask_others(&mut self, room: &RoomKey) -> bool {
        let now = self.outbound.now.moment;
        let home = self.homes.get_mut(room).filter(|_| self.broker.is_up);
        let (Some(home), Some(followed)) = (home, self.broker.rooms.get_mut(room)) else {
            return false;
        };
        let users = home.doubtful_bookmarks(now, USERS_MAX);
        if users.is_empty() {
            return false;
        }
        // Asked again if there is no answer.
        home.check_acknowledgements_at(now.plus_ms(super::RETRY_MS));
        followed.reading.redelivers_after = users.first().cloned();
        self.read_bookmarks(room, users);
        true
    }

    /// Asks about a user who has come in without the broker's word.
    pub(in crate::shard) fn read_if_unread(&mut self, room: &RoomKey, user: &Arc<str>) {
        let home = self.homes.rooms.get(room).filter(|_| self.broker.is_up);
        let followed = self.broker.rooms.get(room);
        let is_asked = followed.is_none_or(|it| it.reading.of.contains_key(user));
        if !is_asked && home.is_some_and(|home| home.room.is_unread(user)) {
            self.read_bookmarks(room, vec![Arc::clone(user)]);
        }
    }

    /// Asks about those who are in the room and came without the broker's word.
    pub(super) fn read_unread(&mut self, room: &RoomKey) {
        let Some(home) = self.homes.rooms.get(room).filter(|_| self.broker.is_up) else { return };
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let mut users = home.room.unread_bookmarks(USERS_MAX);
        users.retain(|user| !followed.reading.of.contains_key(user));
        followed.reading.asks_more_after = users.first().cloned();
        if !users.is_empty() {
            self.read_bookmarks(room, users);
        }
    }

    /// Tells the broker how far users have come, if it is time.
    pub(in crate::shard) fn write_bookmarks(&mut self, room: &RoomKey) {
        let now = self.outbound.now.moment;
        let Some(home) = self.homes.get_mut(room).filter(|home| home.has_bookmarks_due(now)) else {
            return;
        };
        let followed = self.broker.rooms.get(room);
        // What was decided meanwhile may have undone what would be said.
        let is_open = followed
            .is_some_and(|it| it.seen.is_some() && !it.is_asked && !it.governing.is_outdated);
        if !self.broker.is_up || !is_open {
            home.hold_bookmarks();
            return;
        }
        self.broker.last_ticket += 1;
        let ticket = self.broker.last_ticket;
        let marks = home.take_bookmarks(ticket, USERS_MAX);
        let epoch = Arc::clone(&home.epoch);
        let ask = BookmarkAsk::Write { ticket, epoch, marks };
        self.tell_broker(ToBroker::Bookmarks { room: room.clone(), ask });
    }

    /// A room is open with the broker again.
    pub(super) fn go_on_with_bookmarks(&mut self, room: &RoomKey) {
        self.release_bookmarks(room);
        self.read_unread(room);
    }

    /// What the broker is to be told may be told, unless something else is awaited first.
    pub(super) fn release_bookmarks(&mut self, room: &RoomKey) {
        let now = self.outbound.now.moment;
        if let Some(home) = self.homes.get_mut(room) {
            home.release_bookmarks(now);
        }
    }

    /// The link has ended: nothing is on its way any more.
    pub(super) fn stop_bookmarks(&mut self) {
        for room in self.broker.followed() {
            if let Some(home) = self.homes.get_mut(&room) {
                home.lose_bookmarks();
            }
            if let Some(followed) = self.broker.rooms.get_mut(&room) {
                followed.reading.of.clear();
            }
            self.go_on_if_read(&room);
        }
    }
}
