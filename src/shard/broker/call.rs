//! Calling a room before it is published in, where connections of other nodes may receive it by a
//! pattern: then those nodes follow it, from the place on that the call names.
//!
//! Invariants: what is published in such a room goes out behind a call that is noted and holds, or a
//! call is made again and again until it is noted, with the place before; only the latter does not wait.
//! As long as it is not known what others receive, they may receive everything.

use crate::clock::Moment;
use crate::hash::{Map, Seed};
use crate::id::TenantId;
use crate::room::broker::{Beginning, Fault, Keep, PatternAsk, ToBroker};
use crate::room::name::RoomKey;
use crate::room::pattern::{Pattern, PatternSet};
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use super::{HELD_MAX, RETRY_MS};

/// For how long it is known what other nodes receive: none says sooner that it receives something.
pub(super) const FRESH_MS: u64 = 1_000;
/// For how long a call holds: until then its room is published in without another. Whoever hears it
/// follows the room for three times as long.
pub(super) const CALL_MS: u64 = 60_000;
/// How long what is published waits for a call to be noted.
const CALL_PATIENCE_MS: u64 = 250;
/// What is kept of a room, so that those can fetch it who come because of a call.
const KEEP_CALLED: Keep = Keep { size: 64, bytes: 4 << 20, ttl_ms: 10_000, replicas: 0 };

/// What connections of other nodes receive.
#[derive(Debug)]
pub(super) struct Elsewhere {
    seed: Seed,
    sets: Map<TenantId, PatternSet<()>>,
    /// When that was asked, if nothing can be missing.
    known_at: Option<Moment>,
}

/// How it is with the calls of a room.
#[derive(Debug, Default)]
pub(super) struct Calling {
    /// Where the room was before the first of what the call is for.
    place: Option<Beginning>,
    /// Since when the one holds that was noted last.
    noted_at: Option<Moment>,
    /// When the one was made that is on its way.
    asked_at: Option<Moment>,
    /// One has to be noted yet, and what is published waits for it.
    is_begun: bool,
    /// One has to be noted yet, though what it is for has been published.
    is_owed: bool,
    waiting: Vec<ToBroker>,
    /// When what waits goes out all the same, or one that is owed is made again.
    timer: Option<Timer>,
}

impl Elsewhere {
    pub(super) fn new(seed: Seed) -> Self {
        Self { seed, sets: Map::with_hasher(seed), known_at: None }
    }

    /// It was told what they receive, if that has changed.
    pub(super) fn know(&mut self, known_at: Option<Moment>, all: Option<&[(TenantId, Pattern)]>) {
        self.known_at = known_at;
        let Some(all) = all else { return };
        self.sets.clear();
        for (tenant, pattern) in all {
            let set = self.sets.entry(*tenant).or_insert_with(|| PatternSet::new(self.seed));
            set.insert(pattern, ());
        }
    }

    /// Whether they do, as it was told last.
    fn receive(&self, room: &RoomKey) -> bool {
        self.sets.get(&room.tenant).is_some_and(|set| set.is_matched(&room.name))
    }

    /// Whether nothing of what they do is missing.
    fn is_known(&self, now: Moment) -> bool {
        self.known_at.is_some_and(|at| now.since_ms(at) < FRESH_MS)
    }
}

impl Calling {
    fn holds(&self, now: Moment) -> bool {
        self.noted_at.is_some_and(|at| now.since_ms(at) < CALL_MS)
    }

    /// Whether something waits for one to be noted.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_begun || self.is_owed
    }
}

impl Shard {
    /// Publishes by the broker, behind a call of the room where one is needed.
    pub(super) fn tell_called(&mut self, room: &RoomKey, mut message: ToBroker) {
        let now = self.outbound.now.moment;
        let elsewhere = &self.broker.elsewhere;
        let is_received = elsewhere.receive(room);
        let may_be_received = is_received || !elsewhere.is_known(now) && !room.name.is_reserved();
        if let ToBroker::Publish(publish) = &mut message
            && is_received
        {
            publish.keep = keep_called(publish.keep);
        }
        let Some(followed) = self.broker.rooms.get_mut(room) else {
            self.tell_broker(message);
            return;
        };
        let calling = &mut followed.calling;
        if !calling.is_begun && (!may_be_received || calling.holds(now) || calling.is_owed) {
            self.tell_broker(message);
            return;
        }
        // What is transient may be dropped; the rest is bounded by what may wait for the broker.
        if calling.waiting.len() < HELD_MAX || matches!(message, ToBroker::Publish(_)) {
            calling.waiting.push(message);
        }
        if !std::mem::replace(&mut calling.is_begun, true) {
            self.plan_call(room, CALL_PATIENCE_MS);
            self.call(room);
        }
    }

    /// Looks at a room's call in a while, and not before.
    fn plan_call(&mut self, room: &RoomKey, after_ms: u64) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let at = self.outbound.now.moment.plus_ms(after_ms);
        let timer = self.wheel.insert(at, Alarm::Call(room.clone()));
        if let Some(earlier) = followed.calling.timer.replace(timer) {
            self.wheel.cancel(earlier);
        }
    }

    /// Calls a room, as soon as it is known where it is.
    fn call(&mut self, room: &RoomKey) {
        let now = self.outbound.now.moment;
        let Some(followed) = self.broker.rooms.get_mut(room).filter(|_| self.broker.is_up) else {
            return;
        };
        let is_found = followed.calling.is_owed || !followed.is_asked;
        if followed.calling.asked_at.is_some() || !is_found {
            return;
        }
        if !followed.calling.is_owed {
            followed.find_place();
        }
        followed.calling.asked_at = Some(now);
        let place = followed.calling.place.clone();
        self.tell_broker(ToBroker::Patterns(PatternAsk::Call { room: room.clone(), place }));
    }

    /// It is known where a room is.
    pub(super) fn call_if_begun(&mut self, room: &RoomKey) {
        if self.broker.rooms.get(room).is_some_and(|followed| followed.calling.is_begun) {
            self.call(room);
        }
    }

    /// A call was noted, or not.
    pub(super) fn on_call_noted(&mut self, room: &RoomKey, outcome: Result<(), Fault>) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let calling = &mut followed.calling;
        let Some(asked_at) = calling.asked_at.take() else { return };
        calling.is_begun = false;
        calling.is_owed = outcome.is_err();
        if outcome.is_ok() {
            calling.noted_at = Some(asked_at);
            if let Some(timer) = calling.timer.take() {
                self.wheel.cancel(timer);
            }
        } else {
            self.plan_call(room, RETRY_MS);
        }
        self.let_out(room);
        self.tend(room);
    }

    /// A call has not been noted in time, or could not be.
    pub(in crate::shard) fn on_call_alarm(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        // It is no longer in the wheel.
        followed.calling.timer = None;
        if std::mem::take(&mut followed.calling.is_begun) {
            if followed.calling.asked_at.is_none() {
                followed.find_place();
            }
            followed.calling.is_owed = true;
            self.let_out(room);
        }
        if self.broker.rooms.get(room).is_some_and(|followed| followed.calling.is_owed) {
            self.call(room);
        }
    }

    /// What has waited for a call goes out.
    fn let_out(&mut self, room: &RoomKey) {
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        for message in std::mem::take(&mut followed.calling.waiting) {
            self.tell_broker(message);
        }
    }

    /// The broker is out of reach: what waited is answered as lost, and what was noted may be.
    pub(super) fn stop_calling(&mut self) {
        let now = self.outbound.now.moment;
        for followed in self.broker.rooms.values_mut() {
            followed.heeding = None;
            let calling = &mut followed.calling;
            calling.waiting.clear();
            calling.is_owed |= calling.holds(now);
            (calling.is_begun, calling.asked_at, calling.noted_at) = (false, None, None);
            if let Some(timer) = calling.timer.take() {
                self.wheel.cancel(timer);
            }
        }
    }

    /// What was called lately may be lost: it is called again, from the same place.
    pub(super) fn call_again(&mut self) {
        let now = self.outbound.now.moment;
        let mut rooms = Vec::new();
        for (room, followed) in &mut self.broker.rooms {
            let calling = &mut followed.calling;
            calling.is_owed |= calling.holds(now);
            // What could not be noted a moment ago has its time.
            if calling.is_owed && calling.timer.is_none() {
                rooms.push(room.clone());
            }
        }
        rooms.sort_unstable();
        rooms.iter().for_each(|room| self.call(room));
    }
}

impl super::Followed {
    fn find_place(&mut self) {
        let place = |seen: &crate::room::broker::Seen| Beginning {
            epoch: seen.epoch.clone(),
            offset: seen.offset,
        };
        self.calling.place = self.seen.as_ref().map(place);
    }
}

/// What is kept of a room that is received by a pattern elsewhere.
fn keep_called(keep: Keep) -> Keep {
    let least = KEEP_CALLED;
    let ttl_ms = match keep.size {
        0 => least.ttl_ms,
        _ => keep.ttl_ms.max(least.ttl_ms),
    };
    Keep { size: keep.size.max(least.size), bytes: keep.bytes.max(least.bytes), ttl_ms, ..keep }
}
