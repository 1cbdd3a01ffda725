//! Following rooms that are called, because connections here receive them by a pattern.
//!
//! Invariants: of a room that is received here by a pattern, everything behind the place that the first
//! unheard call names is delivered or announced as lost; a home that begins for whatever reason has
//! heard all calls that came before what it begins with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Moment;
use crate::id::CoreId;
use crate::protocol::CloseReason;
use crate::room::broker::{Beginning, Life, epoch_number};
use crate::room::name::RoomKey;
use crate::shard::Shard;
use crate::shard::connection::Connection;
use crate::shard::message::ToHome;
use crate::shard::watch::Watch;

/// How long a room is followed after a call; and as long as a publish may take.
const FOLLOW_MS: u64 = 180_000;
/// For how long the end of a home is remembered: much longer than calls are kept.
const ENDS_MS: u64 = 900_000;

/// Whether something comes before, in the lives of a room.
fn is_before(place: &Beginning, other: &Beginning) -> bool {
    let rank = |it: &Beginning| (epoch_number(&it.epoch), it.offset);
    rank(place) < rank(other)
}

/// Begins at a place, unless it was to begin before that.
fn begin_before(beginning: &mut Option<Beginning>, place: &Beginning) {
    if beginning.as_ref().is_none_or(|it| is_before(place, it)) {
        *beginning = Some(place.clone());
    }
}

/// Who waits until the rooms that were called are followed.
#[derive(Debug)]
pub(super) struct Check {
    number: u64,
    rooms: BTreeSet<RoomKey>,
}

/// What was heard of a room: all between two places.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    from: Beginning,
    to: Beginning,
}

/// What was heard here of rooms that have ended: a call may come late, and name a place before.
#[derive(Debug, Default)]
pub(super) struct Ends {
    late: BTreeMap<RoomKey, Heard>,
    /// When the first of these came.
    since: Moment,
    early: BTreeMap<RoomKey, Heard>,
}

impl Ends {
    /// As long as no more than `most` end in that time, those of the last `ENDS_MS` are remembered; else as
    /// many, and never more than twice as many.
    fn insert(&mut self, room: &RoomKey, heard: Heard, now: Moment, most: usize) {
        if self.late.len() >= most || now.since_ms(self.since) >= ENDS_MS {
            self.early = std::mem::take(&mut self.late);
            self.since = now;
        }
        self.late.insert(room.clone(), heard);
    }

    fn get(&self, room: &RoomKey) -> Option<&Heard> {
        self.late.get(room).or_else(|| self.early.get(room))
    }
}

impl Shard {
    pub(in crate::shard) fn on_watch(&mut self, from: CoreId, watch: Watch) {
        match watch {
            Watch::Hold { tenant, pattern, number } => self.on_hold(from, tenant, pattern, number),
            Watch::Holds { tenant, pattern, number } => {
                self.on_pattern_known(tenant, pattern, number);
            }
            Watch::Known { asked_at, is_sure, others } => {
                let known_at = is_sure.then_some(asked_at);
                self.broker.elsewhere.know(known_at, others.as_deref());
            }
            Watch::Doubt => self.call_again(),
            Watch::Check { number } => self.on_check(number),
            Watch::Checked { number } => self.on_checked(number),
            Watch::Heed { room, number } => self.on_heed(from, room, number),
            Watch::Heeded { room, number } => self.on_heeded(&room, number),
            Watch::Missed { room } => {
                self.close_watchers(room.as_ref());
                if room.is_none() {
                    self.establish_patterns_again();
                }
            }
        }
    }

    /// Whether connections here receive a room by a pattern.
    pub(super) fn is_received_here(&self, room: &RoomKey) -> bool {
        let set = self.homes.watchers.get(&room.tenant);
        set.is_some_and(|set| set.is_matched(&room.name))
    }

    /// Takes notice of a call before it waits for its room; none of one that nobody here receives.
    pub(in crate::shard) fn heed(&mut self, message: ToHome) -> Option<ToHome> {
        if let ToHome::Called { room, .. } = &message {
            if !self.is_received_here(room) {
                // It may have waited while somebody here did.
                self.note_heard(room);
                return None;
            }
            self.broker.called.insert(room.clone());
        }
        Some(message)
    }

    /// Notes from where on a room is to be heard that has not begun here. Where it has, behind that, what
    /// is between was missed: it went out though its call could not be noted.
    pub(super) fn note_beginning(&mut self, message: &ToHome) {
        let ToHome::Called { room, place: Some(place), is_new } = message else { return };
        let is_there = self.homes.rooms.contains_key(room);
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let known = followed.heard_from.clone();
        begin_before(&mut followed.heard_from, place);
        if !is_new {
            return;
        }
        let was_known = known.as_ref().is_some_and(|known| !is_before(place, known));
        let mut heard_from = known.as_ref();
        if followed.seen.is_none() || !is_there {
            begin_before(&mut followed.beginning, place);
            heard_from = self.broker.ended.get(room).map(|heard| &heard.from);
        }
        if !was_known && heard_from.is_some_and(|it| is_before(place, it)) {
            self.tell_watchers(&Watch::Missed { room: Some(room.clone()) });
        }
    }

    /// A room was called, and all is known of it that is to be known first.
    pub(in crate::shard) fn on_called(&mut self, room: &RoomKey) {
        let until = self.followed_until();
        if self.is_received_here(room) {
            match self.home_of(room) {
                Ok(home) => home.follow_until(until),
                Err(_) => self.metrics.broker_unheard.add(1),
            }
        }
        self.note_heard(room);
        self.tend(room);
    }

    fn followed_until(&self) -> Moment {
        self.outbound.now.moment.plus_ms(FOLLOW_MS + self.config.redis.timeout_ms)
    }

    /// Something is published here: a room that is received here, too, is followed as if it were called,
    /// though whoever published leaves it before that has come back.
    pub(super) fn heed_own(&mut self, room: &RoomKey) {
        let until = self.followed_until();
        if self.is_received_here(room)
            && let Some(home) = self.homes.get_mut(room)
        {
            home.follow_until(until);
        }
    }

    /// Nobody has to wait for a room any more that was called.
    fn note_heard(&mut self, room: &RoomKey) {
        if self.broker.called.remove(room) {
            self.broker.checks.iter_mut().for_each(|check| _ = check.rooms.remove(room));
            self.answer_checks();
        }
    }

    /// The home of a room has ended: what was heard of it does not come again, and if it was followed,
    /// what comes next is heard, too.
    pub(in crate::shard) fn heed_end(
        &mut self,
        room: &RoomKey,
        place: Beginning,
        is_followed: bool,
    ) {
        if !self.broker.is_there() || !self.is_received_here(room) {
            return;
        }
        // After a life that only this node knew, the broker's goes on, and what was heard of it is known.
        if epoch_number(&place.epoch) > 0 {
            let (now, most) = (self.outbound.now.moment, self.homes.rooms_limit);
            let from = self.broker.rooms.get(room).and_then(|it| it.heard_from.clone());
            let from = from.unwrap_or_else(|| place.clone());
            self.broker.ended.insert(room, Heard { from, to: place.clone() }, now, most);
        }
        if is_followed {
            let call = ToHome::Called { room: room.clone(), place: Some(place), is_new: true };
            self.outbound.send(self.core, call);
        }
    }

    fn on_check(&mut self, number: u64) {
        let rooms = self.broker.called.clone();
        self.broker.checks.push(Check { number, rooms });
        self.answer_checks();
    }

    fn answer_checks(&mut self) {
        let done: Vec<_> =
            self.broker.checks.extract_if(.., |check| check.rooms.is_empty()).collect();
        for Check { number, .. } in done {
            self.outbound.send(CoreId(0), Watch::Checked { number });
        }
    }

    /// Where a room has to hear first whether it was called, asks for that; else gives back how it is.
    pub(super) fn heed_first(&mut self, room: &RoomKey, life: Life) -> Option<Life> {
        let is_received = self.is_received_here(room);
        let followed = self.broker.rooms.get_mut(room)?;
        if !is_received || followed.seen.is_some() || followed.beginning.is_some() {
            return Some(life);
        }
        self.broker.last_heed += 1;
        let number = self.broker.last_heed;
        followed.heeding = Some((number, Box::new(life)));
        self.outbound.send(CoreId(0), Watch::Heed { room: room.clone(), number });
        None
    }

    /// All calls were told that came before a room was opened.
    fn on_heeded(&mut self, room: &RoomKey, number: u64) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        if let Some((_, life)) = followed.heeding.take_if(|(asked, _)| *asked == number) {
            self.on_room_known(room, Ok(*life));
        }
    }

    /// Where a room begins here: all behind it is delivered, or announced as lost.
    pub(super) fn take_beginning(&mut self, room: &RoomKey, life: &Life) -> u64 {
        let offset = self.find_beginning(room, life);
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            let place = Beginning { epoch: Arc::clone(&life.epoch), offset };
            // What was heard up to there before is heard, too.
            let heard = self.broker.ended.get(room).filter(|heard| heard.to == place);
            begin_before(&mut followed.heard_from, heard.map_or(&place, |heard| &heard.from));
        }
        offset
    }

    fn find_beginning(&mut self, room: &RoomKey, life: &Life) -> u64 {
        let followed = self.broker.rooms.get_mut(room);
        let Some(place) = followed.and_then(|it| it.beginning.take()) else { return life.offset };
        let heard = self.broker.ended.get(room).map(|heard| &heard.to);
        let heard = heard.filter(|it| it.epoch == life.epoch).map_or(0, |it| it.offset);
        if place.epoch == life.epoch {
            return place.offset.max(heard).min(life.offset);
        }
        // All of a life that has begun since then; and none of one that a set back broker has again.
        let is_older = epoch_number(&place.epoch) > epoch_number(&life.epoch);
        if is_older { life.offset } else { heard.min(life.offset) }
    }

    /// Whether what is heard of a room waits until it is known what it has from the rooms above.
    pub(super) fn waits_for_heritage(&self, room: &RoomKey) -> bool {
        self.inheritance.is_waiting(room) && self.is_received_here(room)
    }

    /// A room has what it inherits: what waited for that is heard.
    pub(in crate::shard) fn hear_with_heritage(&mut self, room: &RoomKey) {
        if self.broker.rooms.contains_key(room) && self.is_received_here(room) {
            self.open_again(room);
        }
    }

    /// Connections with patterns, those that a room matches or all, have missed something: they come
    /// again.
    fn close_watchers(&mut self, room: Option<&RoomKey>) {
        let slots = self.outbound.slots.iter();
        let connections = slots.filter_map(|slot| slot.connection.as_deref());
        let receives = |it: &&Connection| {
            let mut patterns = it.rare.iter().flat_map(|rare| &rare.patterns);
            room.is_none_or(|room| room.tenant == it.identity.tenant)
                && patterns.any(|it| room.is_none_or(|room| it.pattern.matches(&room.name)))
        };
        let watchers: Vec<_> = connections.filter(receives).map(|it| it.key).collect();
        for key in watchers {
            self.close(key, CloseReason::Overloaded);
        }
    }

    /// In so long all nodes know a pattern, if the broker answers.
    pub(in crate::shard) fn patience_of_patterns_ms(&self) -> u64 {
        self.config.redis.timeout_ms + super::desk::HOLDS_AFTER_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TenantId;
    use crate::room::name::RoomName;

    #[test]
    fn the_ends_that_came_last_are_remembered_whatever_rooms_are_called() {
        const MOST: usize = 8;
        let room =
            |name: &str| RoomKey::new(TenantId::DEFAULT, RoomName::parse(name).expect("a name"));
        let place = |offset| Beginning { epoch: "1.x".into(), offset };
        let heard = |to| Heard { from: place(0), to: place(to) };
        let mut now = Moment::default();
        let mut ends = Ends::default();
        let names: Vec<_> = (0..20).rev().map(|n| format!("room{n:02}")).collect();
        for (n, name) in names.iter().enumerate() {
            ends.insert(&room(name), heard(n as u64), now, MOST);
            for (last, name) in names[..=n].iter().enumerate().rev().take(MOST) {
                assert_eq!(ends.get(&room(name)), Some(&heard(last as u64)), "{name} at {n}");
            }
        }
        assert!(ends.early.len() + ends.late.len() <= 2 * MOST);
        // One that ends again, and one that nobody can ask for any more.
        ends.insert(&room("room00"), heard(30), now, MOST);
        assert_eq!(ends.get(&room("room00")), Some(&heard(30)));
        for _ in 0..2 {
            now = now.plus_ms(ENDS_MS);
            ends.insert(&room("other"), heard(1), now, MOST);
        }
        assert_eq!(ends.get(&room("room00")), None);
    }
}
