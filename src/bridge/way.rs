//! The ways of a line: what waits for each of its connections for commands, and how much is on its way
//! there.
//!
//! Invariants: no call waits for one that is to be on more replicas; of those that are to be on as many, one
//! pipeline is on its way at a time, so that its `WAIT` is the only one, and Redis ends it before the
//! connection counts as lost (whoever published may have been refused by then: their time includes that
//! before it left); where the server has forgotten the scripts, nothing leaves by a way before all that
//! it refused there, in the order in which it came. Between ways there is no order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::Call;
use super::queue::{Queue, Waiting};
use super::time;

/// Pipelines of plain calls on their way to one server at once.
const PIPELINES_MAX: usize = 16;

/// By which of them a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// It is answered as soon as the server has done it.
    Plain,
    /// It is answered when so many replicas have it as well.
    Patient(u8),
}

/// All of a line.
#[derive(Debug)]
pub(super) struct Ways {
    plain: Way,
    /// By how many replicas; those by which something went.
    patient: BTreeMap<u8, Way>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Way {
    most: usize,
    queue: Queue,
    /// Pipelines on their way.
    on_way: usize,
    /// Calls whose scripts the server has forgotten.
    forgotten: Vec<Waiting>,
    /// The server has refused the scripts.
    is_refused: bool,
}

impl Pace {
    pub(super) fn of(call: &dyn Call) -> Self {
        match call.replicas() {
            0 => Self::Plain,
            count => Self::Patient(count),
        }
    }
}

impl Ways {
    pub(super) fn new() -> Self {
        Self { plain: Way::new(Pace::Plain), patient: BTreeMap::new() }
    }

    pub(super) fn of(&mut self, pace: Pace) -> &mut Way {
        match pace {
            Pace::Plain => &mut self.plain,
            Pace::Patient(count) => self.patient.entry(count).or_insert_with(|| Way::new(pace)),
        }
    }

    /// Which there are.
    pub(super) fn paces(&self) -> Vec<Pace> {
        let patient = self.patient.keys().map(|count| Pace::Patient(*count));
        std::iter::once(Pace::Plain).chain(patient).collect()
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Way> {
        std::iter::once(&mut self.plain).chain(self.patient.values_mut())
    }
}

impl Way {
    pub(super) fn new(pace: Pace) -> Self {
        let most = match pace {
            Pace::Plain => PIPELINES_MAX,
            Pace::Patient(_) => 1,
        };
        Self { most, queue: Queue::default(), on_way: 0, forgotten: Vec::new(), is_refused: false }
    }

    /// Puts a call behind the others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.queue.push(waiting);
    }

    /// The server has forgotten the script of a call, and did nothing.
    pub(super) fn forget(&mut self, waiting: Waiting) {
        self.forgotten.push(waiting);
    }

    /// The server knows the scripts, or will not have them: then calls that need them wait.
    pub(super) fn loaded(&mut self, is_taken: bool) {
        self.is_refused = !is_taken;
    }

    /// Puts the calls whose scripts were forgotten before the others, once whatever left before that was
    /// known is over. Whether it did: then the scripts are to be loaded before the next pipeline.
    pub(super) fn recall(&mut self) -> bool {
        if self.forgotten.is_empty() || self.on_way > 0 || self.is_refused {
            return false;
        }
        let mut calls = std::mem::take(&mut self.forgotten);
        calls.sort_unstable_by_key(|waiting| waiting.number);
        self.queue.push_front(calls);
        true
    }

    /// The next pipeline; empty if nothing waits, or enough is on its way. What has waited too long goes in
    /// none: it is `expired`.
    pub(super) fn next(&mut self, patience: Duration, expired: &mut Vec<Waiting>) -> Vec<Waiting> {
        let may_leave = self.on_way < self.most && self.forgotten.is_empty();
        let mut calls = Vec::new();
        while may_leave && calls.is_empty() && !self.queue.is_empty() {
            calls = self.queue.next();
            let now = time::now();
            expired.extend(calls.extract_if(.., |waiting| waiting.is_older(patience, now)));
        }
        calls
    }

    /// Whether nothing is on its way.
    pub(super) fn is_clear(&self) -> bool {
        self.on_way == 0
    }

    /// A pipeline leaves.
    pub(super) fn leaves(&mut self) {
        self.on_way += 1;
    }

    /// One is over.
    pub(super) fn is_over(&mut self) {
        self.on_way -= 1;
    }

    /// Those that have waited too long.
    pub(super) fn expire(&mut self, patience: Duration) -> Vec<Waiting> {
        let now = time::now();
        self.part(|waiting| waiting.is_older(patience, now))
    }

    /// Takes some of what waits.
    pub(super) fn part(&mut self, goes: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut gone: Vec<_> = self.forgotten.extract_if(.., |waiting| goes(waiting)).collect();
        gone.extend(self.queue.part(goes));
        gone
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.forgotten.drain(..).chain(self.queue.drain()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::queue::tests::filled;

    /// The next pipeline, where nothing has waited too long.
    fn next(way: &mut Way) -> Vec<Waiting> {
        let mut expired = Vec::new();
        let calls = way.next(Duration::MAX, &mut expired);
        assert!(expired.is_empty());
        calls
    }

    #[test]
    fn what_waits_for_replicas_goes_one_pipeline_at_a_time() {
        for (pace, most) in [(Pace::Plain, PIPELINES_MAX), (Pace::Patient(2), 1)] {
            let mut way = Way::new(pace);
            filled(10_000).into_iter().for_each(|waiting| way.push(waiting));
            for _ in 0..most {
                assert!(!next(&mut way).is_empty(), "{pace:?}");
                way.leaves();
            }
            assert!(next(&mut way).is_empty(), "{pace:?}");
            way.is_over();
            assert!(!next(&mut way).is_empty(), "{pace:?}");
        }
    }

    #[test]
    fn what_was_forgotten_goes_first_and_in_the_order_in_which_it_came() {
        let mut way = Way::new(Pace::Plain);
        let mut calls = filled(5).into_iter();
        let pipelines: Vec<_> = (0..3).map(|_| calls.next().expect("there are five")).collect();
        pipelines.iter().for_each(|_| way.leaves());
        calls.for_each(|waiting| way.push(waiting));
        assert!(!way.recall(), "nothing was forgotten");
        // The later ones are answered first, as far as this side sees.
        for waiting in pipelines.into_iter().rev() {
            assert!(!way.recall(), "others are on their way");
            way.is_over();
            way.forget(waiting);
            assert!(next(&mut way).is_empty(), "nothing goes before them");
        }
        assert!(way.recall());
        assert!(!way.recall(), "it is told once");
        let numbers: Vec<_> = next(&mut way).iter().map(|waiting| waiting.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_to_be_on_few_replicas_does_not_wait_for_what_is_to_be_on_more() {
        let mut ways = Ways::new();
        let all = [Pace::Plain, Pace::Patient(1), Pace::Patient(2)];
        for pace in all.into_iter().rev() {
            filled(3).into_iter().for_each(|waiting| ways.of(pace).push(waiting));
            assert_eq!(next(ways.of(pace)).len(), 3, "{pace:?}");
            ways.of(pace).leaves();
        }
        assert_eq!(ways.paces(), all);
        assert_eq!(ways.all().count(), 3);
    }

    #[test]
    fn what_has_waited_too_long_goes_in_no_pipeline() {
        let (mut way, mut expired) = (Way::new(Pace::Patient(1)), Vec::new());
        filled(1_000).into_iter().for_each(|waiting| way.push(waiting));
        std::thread::sleep(Duration::from_millis(1));
        assert!(way.next(Duration::ZERO, &mut expired).is_empty());
        assert_eq!(expired.len(), 1_000, "more than go in one");
        filled(2).into_iter().for_each(|waiting| way.push(waiting));
        assert_eq!(next(&mut way).len(), 2);
    }

    #[test]
    fn what_was_forgotten_waits_for_scripts_that_are_refused_but_not_for_ever() {
        let mut way = Way::new(Pace::Plain);
        let numbers = |calls: Vec<Waiting>| calls.iter().map(|it| it.number).collect::<Vec<_>>();
        filled(3).into_iter().for_each(|waiting| way.forget(waiting));
        assert!(way.recall());
        way.leaves();
        next(&mut way).into_iter().for_each(|waiting| way.forget(waiting));
        way.is_over();
        way.loaded(false);
        assert!(!way.recall(), "the server will not have them");
        assert!(next(&mut way).is_empty() && way.expire(Duration::from_secs(60)).is_empty());
        way.loaded(true);
        assert!(way.recall());
        next(&mut way).into_iter().for_each(|waiting| way.forget(waiting));
        way.loaded(false);
        filled(2).into_iter().for_each(|waiting| way.push(waiting));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(numbers(way.expire(Duration::ZERO)), [1, 2, 3, 1, 2]);
    }
}
