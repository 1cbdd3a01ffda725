//! What core 0 does for its node about patterns that are received over nodes: it tells the broker what
//! connections here receive, reads what those of other nodes do, and which rooms were called.
//!
//! Invariants: a pattern holds once the broker has it, no node goes by a list without it any more, and
//! every room here is followed that was called before; calls are told in their order, each as new
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Moment;
use crate::id::{CoreId, TenantId};
use crate::room::broker::{Call, CallId, Calls, Fault, PatternAsk, Patterns, ToBroker};
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;
use crate::shard::message::ToHome;
use crate::shard::watch::Watch;
use crate::shard::{Alarm, Shard};

use super::call::{CALL_MS, FRESH_MS};

/// How often the broker is asked.
const READ_EVERY_MS: u64 = 250;
/// How long after the broker has it a pattern is known everywhere.
pub(super) const HOLDS_AFTER_MS: u64 = FRESH_MS;
/// How old a list is before nothing is missing in it: all who have said something before have had the
/// time to say it again.
const SETTLED_MS: u64 = 10_000;
/// A node that receives more says that it receives everything.
const PATTERNS_MAX: usize = 1_024;

type Entry = (TenantId, Pattern);

/// The patterns of a node.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Which cores receive what.
    held: BTreeMap<Entry, BTreeSet<CoreId>>,
    /// What is known to all nodes.
    established: BTreeSet<Entry>,
    waiting: Vec<Waiting>,
    /// What is held has changed since it was told.
    is_dirty: bool,
    /// When the broker was asked last that had what is held; none: nobody counts on it.
    had_at: Option<Moment>,
    asked: Option<Asked>,
    heeds: Vec<Heed>,
    mark: Arc<str>,
    /// The last call that was read.
    last: Option<CallId>,
    /// Calls that were read lately may be lost, and others stand in their places.
    is_doubtful: bool,
    rounds: Vec<Round>,
    last_round: u64,
    is_timed: bool,
}

/// A core that waits until a pattern holds.
#[derive(Debug)]
struct Waiting {
    core: CoreId,
    entry: Entry,
    number: u64,
}

/// A room that waits until all calls before have been told.
#[derive(Debug)]
struct Heed {
    core: CoreId,
    room: RoomKey,
    number: u64,
}

/// What the broker was asked.
#[derive(Debug)]
struct Asked {
    at: Moment,
    says: Option<Arc<[Entry]>>,
    has_calls: bool,
    heeds: Vec<Heed>,
}

/// Patterns that the broker has.
#[derive(Debug)]
struct Round {
    number: u64,
    entries: Vec<Entry>,
    /// When they hold.
    at: Moment,
    /// Cores that have not said yet that they follow what was called before.
    unchecked: u16,
}

impl Desk {
    fn says(&self) -> Arc<[Entry]> {
        if self.held.len() <= PATTERNS_MAX {
            return self.held.keys().cloned().collect();
        }
        let everything = Pattern::everything();
        let tenants: BTreeSet<_> = self.held.keys().map(|(tenant, _)| *tenant).collect();
        tenants.into_iter().map(|tenant| (tenant, everything.clone())).collect()
    }

    fn wanted(&self, says: bool) -> Calls {
        let before = |last: CallId| CallId { at_ms: last.at_ms.saturating_sub(CALL_MS), number: 0 };
        let last = if self.is_doubtful { self.last.map(before) } else { self.last };
        match last {
            _ if self.held.is_empty() => Calls::None,
            Some(last) if !says => Calls::After(last),
            last => Calls::Live(last),
        }
    }

    /// Takes note of whether what is held stands in the list. True if others may have gone by a list in
    /// which it did not: nobody goes by one before it has settled, so it takes that long at least.
    fn note_standing(&mut self, asked: &Asked, had_own: bool, is_other: bool, now: Moment) -> bool {
        let stood = had_own && !is_other;
        let was_passed_over =
            !stood && self.had_at.is_some_and(|at| now.since_ms(at) >= SETTLED_MS);
        let says_some = asked.says.as_ref().map(|says| !says.is_empty());
        if stood || was_passed_over || says_some.is_some() {
            self.had_at = says_some.unwrap_or(stood).then_some(asked.at);
        }
        // What stands there and is not held any more is to go.
        self.is_dirty |= says_some.unwrap_or(had_own) == self.held.is_empty();
        was_passed_over
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty() && self.heeds.is_empty()
    }
}

impl Shard {
    /// A core here receives a pattern, or no longer.
    pub(super) fn on_hold(
        &mut self,
        core: CoreId,
        tenant: TenantId,
        pattern: Pattern,
        number: Option<u64>,
    ) {
        let entry = (tenant, pattern);
        let desk = &mut self.broker.desk;
        let Some(number) = number else {
            desk.waiting.retain(|it| it.core != core || it.entry != entry);
            if let Some(cores) = desk.held.get_mut(&entry) {
                cores.remove(&core);
                if cores.is_empty() {
                    desk.held.remove(&entry);
                    desk.established.remove(&entry);
                    desk.rounds
                        .iter_mut()
                        .for_each(|round| round.entries.retain(|it| *it != entry));
                    desk.is_dirty = true;
                }
            }
            return;
        };
        desk.held.entry(entry.clone()).or_default().insert(core);
        if desk.established.contains(&entry) {
            let (tenant, pattern) = entry;
            self.outbound.send(core, Watch::Holds { tenant, pattern, number });
            return;
        }
        desk.waiting.push(Waiting { core, entry, number });
        desk.is_dirty = true;
        self.read_patterns();
    }

    /// A room begins here that somebody receives: all calls so far are to be told first.
    pub(super) fn on_heed(&mut self, core: CoreId, room: RoomKey, number: u64) {
        self.broker.desk.heeds.push(Heed { core, room, number });
        self.read_patterns();
    }

    /// The broker is in reach.
    pub(super) fn begin_to_read_patterns(&mut self) {
        if self.core != CoreId(0) {
            return;
        }
        let desk = &mut self.broker.desk;
        desk.is_dirty |= !desk.held.is_empty();
        desk.is_doubtful = true;
        self.read_patterns();
        self.time_patterns();
    }

    /// The broker is out of reach: all of it is to be asked again.
    pub(super) fn stop_reading_patterns(&mut self) {
        let desk = &mut self.broker.desk;
        desk.is_dirty |= desk.asked.take().is_some_and(|asked| asked.says.is_some());
        desk.heeds.clear();
        desk.rounds.clear();
    }

    fn time_patterns(&mut self) {
        if self.broker.is_up && !std::mem::replace(&mut self.broker.desk.is_timed, true) {
            let at = self.outbound.now.moment.plus_ms(READ_EVERY_MS);
            self.wheel.insert(at, Alarm::Patterns);
        }
    }

    pub(in crate::shard) fn on_patterns_alarm(&mut self) {
        self.broker.desk.is_timed = false;
        self.read_patterns();
        self.settle_rounds();
        self.time_patterns();
    }

    /// Asks the broker, unless it is being asked.
    fn read_patterns(&mut self) {
        let desk = &mut self.broker.desk;
        if !self.broker.is_up || desk.asked.is_some() {
            return;
        }
        let says = std::mem::take(&mut desk.is_dirty).then(|| desk.says());
        let (calls, mark) = (desk.wanted(says.is_some()), Arc::clone(&desk.mark));
        let heeds = std::mem::take(&mut desk.heeds);
        let (at, has_calls) = (self.outbound.now.moment, calls != Calls::None);
        desk.asked = Some(Asked { at, says: says.clone(), has_calls, heeds });
        self.tell_broker(ToBroker::Patterns(PatternAsk::Read { says, mark, calls }));
    }

    /// The broker has told what it knows, or not.
    pub(super) fn on_patterns(&mut self, outcome: Result<Box<Patterns>, Fault>) {
        let desk = &mut self.broker.desk;
        let Some(asked) = desk.asked.take() else { return };
        match outcome {
            Ok(patterns) => self.take_patterns(asked, *patterns),
            Err(_) => {
                desk.is_dirty |= asked.says.is_some();
                desk.heeds.extend(asked.heeds);
                desk.is_doubtful = true;
                self.tell_watchers(&Watch::Doubt);
            }
        }
    }

    fn take_patterns(&mut self, asked: Asked, patterns: Patterns) {
        let now = self.outbound.now.moment;
        let desk = &mut self.broker.desk;
        let list = Patterns::list(&patterns.mark);
        let is_other = !desk.mark.is_empty() && list != Patterns::list(&desk.mark);
        let was_passed_over = desk.note_standing(&asked, patterns.had_own, is_other, now);
        desk.is_doubtful = false;
        if was_passed_over {
            // Nobody else knows of it, until it is known again.
            desk.established.clear();
            desk.rounds.clear();
        }
        desk.mark = Arc::clone(&patterns.mark);
        let is_sure = patterns.age_ms >= SETTLED_MS;
        let others = patterns.others.map(Arc::from);
        self.tell_watchers(&Watch::Known { asked_at: asked.at, is_sure, others });
        if patterns.is_cut || was_passed_over {
            self.tell_watchers(&Watch::Missed { room: None });
        }
        let desk = &mut self.broker.desk;
        if is_other {
            // What was called before may be lost; all that stands here is as good as new.
            desk.last = Some(CallId::default());
            desk.is_dirty |= !desk.held.is_empty();
            desk.heeds.extend(asked.heeds);
            self.tell_watchers(&Watch::Doubt);
            self.read_patterns();
            return;
        }
        desk.last = asked.has_calls.then_some(patterns.last);
        // What is received here is known to all cores before it is held.
        for Call { room, place, is_new } in patterns.calls {
            if self.is_received_here(&room) {
                self.outbound.send(self.home_core(&room), ToHome::Called { room, place, is_new });
            }
        }
        for Heed { core, room, number } in asked.heeds {
            self.outbound.send(core, Watch::Heeded { room, number });
        }
        if let Some(says) = asked.says {
            self.begin_round(&says, patterns.has_others, patterns.has_strangers);
        }
        self.settle_rounds();
        let desk = &self.broker.desk;
        if !desk.heeds.is_empty() || (desk.is_dirty && !patterns.has_strangers) {
            self.read_patterns();
        }
    }

    /// The broker has what is held here.
    fn begin_round(&mut self, says: &[Entry], has_others: bool, has_strangers: bool) {
        let now = self.outbound.now.moment;
        let desk = &mut self.broker.desk;
        if has_strangers {
            // Those tell nobody what they publish.
            desk.is_dirty |= !desk.waiting.is_empty();
            return;
        }
        let is_full = desk.held.len() > PATTERNS_MAX;
        let waiting = desk.waiting.iter().map(|it| it.entry.clone());
        let entries: Vec<_> = waiting.filter(|it| is_full || says.contains(it)).collect();
        if entries.is_empty() {
            return;
        }
        desk.last_round += 1;
        let number = desk.last_round;
        let at = if has_others { now.plus_ms(HOLDS_AFTER_MS) } else { now };
        desk.rounds.push(Round { number, entries, at, unchecked: self.cores });
        self.tell_watchers(&Watch::Check { number });
    }

    /// A core follows what was called before a round began.
    pub(super) fn on_checked(&mut self, number: u64) {
        let rounds = &mut self.broker.desk.rounds;
        if let Some(round) = rounds.iter_mut().find(|round| round.number == number) {
            round.unchecked = round.unchecked.saturating_sub(1);
            self.settle_rounds();
        }
    }

    /// Patterns hold whose time has come.
    fn settle_rounds(&mut self) {
        let now = self.outbound.now.moment;
        let desk = &mut self.broker.desk;
        let is_over = |round: &mut Round| round.unchecked == 0 && round.at <= now;
        for round in desk.rounds.extract_if(.., is_over) {
            desk.established.extend(round.entries);
        }
        let established = &desk.established;
        let holds = |it: &mut Waiting| established.contains(&it.entry);
        let done: Vec<_> = desk.waiting.extract_if(.., holds).collect();
        for Waiting { core, entry: (tenant, pattern), number } in done {
            self.outbound.send(core, Watch::Holds { tenant, pattern, number });
        }
    }

    pub(super) fn tell_watchers(&mut self, watch: &Watch) {
        for core in (0..self.cores).map(CoreId) {
            self.outbound.send(core, watch.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_goes_back_by_the_time_that_a_call_holds_however_often_it_comes() {
        let entry = (TenantId::DEFAULT, Pattern::everything());
        let at = |at_ms, number| CallId { at_ms, number };
        let last = Some(at(500_000, 7));
        let mut desk = Desk { last, ..Desk::default() };
        desk.held.insert(entry, BTreeSet::from([CoreId(0)]));
        assert_eq!(desk.wanted(false), Calls::After(at(500_000, 7)));
        for _ in 0..3 {
            desk.is_doubtful = true;
            assert_eq!(desk.wanted(false), Calls::After(at(500_000 - CALL_MS, 0)));
            assert_eq!(desk.wanted(true), Calls::Live(Some(at(500_000 - CALL_MS, 0))));
        }
    }
}
