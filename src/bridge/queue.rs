//! What waits to be asked of Redis, and how it is put into one pipeline.
//!
//! Invariants: what is asked of one room is asked in the order in which it came; calls that wait or
//! are on their way are bounded, those of each lane by themselves; a call gives its place back when it
//! is dropped, whatever became of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::call::{Call, Lane};

/// Calls of one pipeline.
const BATCH_CALLS: usize = 256;
/// Bytes of one pipeline, the last call not counted.
const BATCH_BYTES: usize = 1 << 20;

/// A call that waits or is on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: Box<dyn Call>,
    place: Place,
}

/// What waits, and what is on its way.
#[derive(Debug)]
pub(super) struct Queue {
    calls: VecDeque<Waiting>,
    taken: Rc<RefCell<Taken>>,
    calls_most: u64,
    bytes_most: u64,
}

/// What is taken of each lane.
#[derive(Debug, Default)]
struct Taken {
    publishes: u64,
    upkeep: u64,
    bytes: u64,
}

/// A call's part of what is taken.
#[derive(Debug)]
struct Place {
    lane: Lane,
    bytes: u64,
    taken: Rc<RefCell<Taken>>,
}

impl Taken {
    fn of(&mut self, lane: Lane) -> &mut u64 {
        match lane {
            Lane::Publishes => &mut self.publishes,
            Lane::Upkeep => &mut self.upkeep,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.borrow_mut();
        *taken.of(self.lane) -= 1;
        taken.bytes -= self.bytes;
    }
}

impl Queue {
    /// Each lane takes `calls_most`; what all of them hold of clients is bounded by `bytes_most`.
    pub(super) fn new(calls_most: u32, bytes_most: u64) -> Self {
        let calls_most = u64::from(calls_most);
        Self { calls: VecDeque::new(), taken: Rc::default(), calls_most, bytes_most }
    }

    /// Puts a call behind the others.
    ///
    /// # Errors
    /// The call, if too much waits.
    pub(super) fn push(&mut self, call: Box<dyn Call>) -> Result<(), Box<dyn Call>> {
        let (lane, bytes) = (call.lane(), call.bytes() as u64);
        let mut taken = self.taken.borrow_mut();
        let has_no_room = bytes > 0 && taken.bytes > 0 && taken.bytes + bytes > self.bytes_most;
        if *taken.of(lane) >= self.calls_most || has_no_room {
            return Err(call);
        }
        *taken.of(lane) += 1;
        taken.bytes += bytes;
        drop(taken);
        let place = Place { lane, bytes, taken: Rc::clone(&self.taken) };
        self.calls.push_back(Waiting { call, place });
        Ok(())
    }

    /// Puts calls that were not carried out before the others, in their order.
    pub(super) fn push_front(&mut self, calls: Vec<Waiting>) {
        for call in calls.into_iter().rev() {
            self.calls.push_front(call);
        }
    }

    /// The next pipeline; empty if nothing waits.
    pub(super) fn next(&mut self) -> Vec<Waiting> {
        let (mut count, mut bytes) = (0, 0);
        for waiting in self.calls.iter().take(BATCH_CALLS) {
            if bytes >= BATCH_BYTES as u64 {
                break;
            }
            bytes += waiting.place.bytes;
            count += 1;
        }
        self.calls.drain(..count).collect()
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.calls.drain(..).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Publishes that wait or are on their way.
    pub(super) fn publishes(&self) -> u64 {
        self.taken.borrow().publishes
    }

    /// What all calls hold of clients.
    pub(super) fn bytes(&self) -> u64 {
        self.taken.borrow().bytes
    }
}

#[cfg(test)]
mod tests {
    use redis::{Cmd, Value};

    use super::*;
    use crate::bridge::desk::Desk;
    use crate::room::broker::Fault;

    /// A call of some size.
    #[derive(Debug)]
    struct Sized(usize, Lane);

    impl Call for Sized {
        fn bytes(&self) -> usize {
            self.0
        }
        fn lane(&self) -> Lane {
            self.1
        }
        fn command(&self, _desk: &Desk) -> Cmd {
            redis::cmd("PING")
        }
        fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}
        fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
    }

    fn publish(bytes: usize) -> Box<dyn Call> {
        Box::new(Sized(bytes, Lane::Publishes))
    }

    fn upkeep() -> Box<dyn Call> {
        Box::new(Sized(0, Lane::Upkeep))
    }

    #[test]
    fn what_does_not_fit_comes_back_and_what_is_over_makes_room() {
        let mut queue = Queue::new(3, 100);
        assert!(queue.push(publish(60)).is_ok());
        assert!(queue.push(publish(60)).is_err(), "too many bytes");
        assert!(queue.push(publish(20)).is_ok());
        assert!(queue.push(publish(20)).is_ok());
        assert!(queue.push(publish(0)).is_err(), "too many");
        let batch = queue.next();
        assert_eq!((batch.len(), queue.publishes(), queue.is_empty()), (3, 3, true));
        assert!(queue.push(publish(0)).is_err(), "they are still on their way");
        drop(batch);
        assert_eq!((queue.publishes(), queue.bytes()), (0, 0));
        assert!(queue.push(publish(1_000)).is_ok(), "one always fits");
    }

    #[test]
    fn neither_lane_keeps_out_the_other_and_both_are_bounded() {
        let mut queue = Queue::new(2, 100);
        for _ in 0..2 {
            assert!(queue.push(publish(60)).is_ok() || queue.push(publish(0)).is_ok());
            assert!(queue.push(upkeep()).is_ok());
        }
        assert!(queue.push(publish(0)).is_err());
        assert!(queue.push(upkeep()).is_err());
        let mut batch = queue.next();
        batch.remove(1);
        assert!(queue.push(publish(0)).is_err());
        assert!(queue.push(upkeep()).is_ok());
    }

    #[test]
    fn a_pipeline_is_bounded() {
        let mut queue = Queue::new(10_000, 1 << 30);
        for _ in 0..300 {
            queue.push(publish(1)).expect("it fits");
        }
        assert_eq!(queue.next().len(), BATCH_CALLS);
        assert_eq!(queue.drain().len(), 300 - BATCH_CALLS);
        for _ in 0..3 {
            queue.push(publish(BATCH_BYTES / 2 + 1)).expect("it fits");
        }
        assert_eq!(queue.next().len(), 2);
    }
}
