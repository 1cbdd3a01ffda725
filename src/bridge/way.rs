//! The two ways of a line: what waits for each of its connections for commands, and how much is on its
//! way there.
//!
//! Invariants: no plain call waits for one that waits for replicas; of these, one pipeline is on its way
//! at a time, so that its `WAIT` is the only one and is over before the client gives up.

use std::time::Duration;

use super::call::Call;
use super::queue::{Queue, Waiting};

/// Pipelines of plain calls on their way to one server at once.
const PIPELINES_MOST: usize = 16;

/// By which of the two a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Self { most, queue: Queue::default(), on_way: 0 }
    }

    /// Puts a call behind the others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.queue.push(waiting);
    }

    /// Puts calls that were not carried out before the others, in their order.
    pub(super) fn push_front(&mut self, calls: Vec<Waiting>) {
        self.queue.push_front(calls);
    }

    /// The next pipeline; empty if nothing waits, or enough is on its way.
    pub(super) fn next(&mut self) -> Vec<Waiting> {
        if self.on_way < self.most { self.queue.next() } else { Vec::new() }
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
        self.queue.drain()
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
}
