//! The two ways of a line: what waits for each of its connections for commands, and how much is on its
//! way there.
//!
//! Invariants: no plain call waits for one that waits for replicas; of these, one pipeline is on its way
//! at a time, so that its `WAIT` is the only one and is over before the client gives up; where the server
//! has forgotten the scripts, nothing leaves before all that it refused, in the order in which it came.

use std::time::Duration;

use super::call::Call;
use super::queue::{Queue, Waiting};

/// Pipelines of plain calls on their way to one server at once.
const PIPELINES_MOST: usize = 16;

/// By which of the two a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// It is answered as soon as the server has done it.
    Plain,
    /// It is answered when replicas have it as well.
    Patient,
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
}

impl Pace {
    pub(super) const BOTH: [Self; 2] = [Self::Plain, Self::Patient];

    pub(super) fn of(call: &dyn Call) -> Self {
        if call.replicas() > 0 { Self::Patient } else { Self::Plain }
    }
}

impl Way {
    pub(super) fn new(pace: Pace) -> Self {
        let most = match pace {
            Pace::Plain => PIPELINES_MOST,
            Pace::Patient => 1,
        };
        Self { most, queue: Queue::default(), on_way: 0, forgotten: Vec::new() }
    }

    /// Puts a call behind the others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.queue.push(waiting);
    }

    /// The server has forgotten the script of a call, and did nothing.
    pub(super) fn forget(&mut self, waiting: Waiting) {
        self.forgotten.push(waiting);
    }

    /// Puts the calls whose scripts were forgotten before the others, once whatever left before that was
    /// known is over. Whether it did: then the scripts are to be loaded before the next pipeline.
    pub(super) fn recall(&mut self) -> bool {
        if self.forgotten.is_empty() || self.on_way > 0 {
            return false;
        }
        let mut calls = std::mem::take(&mut self.forgotten);
        calls.sort_unstable_by_key(|waiting| waiting.number);
        self.queue.push_front(calls);
        true
    }

    /// The next pipeline; empty if nothing waits, or enough is on its way.
    pub(super) fn next(&mut self) -> Vec<Waiting> {
        let may_leave = self.on_way < self.most && self.forgotten.is_empty();
        if may_leave { self.queue.next() } else { Vec::new() }
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
        self.queue.expire(patience)
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

    #[test]
    fn what_waits_for_replicas_goes_one_pipeline_at_a_time() {
        for (pace, most) in [(Pace::Plain, PIPELINES_MOST), (Pace::Patient, 1)] {
            let mut way = Way::new(pace);
            filled(10_000).into_iter().for_each(|waiting| way.push(waiting));
            for _ in 0..most {
                assert!(!way.next().is_empty(), "{pace:?}");
                way.leaves();
            }
            assert!(way.next().is_empty(), "{pace:?}");
            way.is_over();
            assert!(!way.next().is_empty(), "{pace:?}");
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
            assert!(way.next().is_empty(), "nothing goes before them");
        }
        assert!(way.recall());
        assert!(!way.recall(), "it is told once");
        let numbers: Vec<_> = way.next().iter().map(|waiting| waiting.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }
}
