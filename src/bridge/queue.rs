//! What waits to be asked of Redis, and how it is put into one pipeline.
//!
//! Invariants: what is asked of one room is asked in the order in which it came; calls that wait or
//! are on their way are bounded, those of each lane by themselves; a call gives its place back when it
//! is dropped, whatever became of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::call::{Call, Lane};
use super::time;

/// Calls of one pipeline.
const BATCH_CALLS: usize = 256;
/// Bytes of one pipeline, the last call not counted.
const BATCH_BYTES: usize = 1 << 20;

/// A call that waits or is on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: Box<dyn Call>,
    /// Counts calls, as they came: those that are made again are made in this order.
    pub(super) number: u64,
    /// Since when.
    pub(super) since: Instant,
    /// Where it belongs in a cluster, since it was put where it waits.
    pub(super) slot: u16,
    place: Place,
}

impl Waiting {
    /// Whether it has waited for longer than that, by now.
    pub(super) fn is_older(&self, patience: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > patience
    }
}

/// What waits for one server.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Waiting>);

/// How much may wait and be on its way to all servers.
#[derive(Debug)]
pub(super) struct Places {
    taken: Rc<RefCell<Taken>>,
    calls_most: u64,
    bytes_most: u64,
    last_number: Cell<u64>,
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

impl Places {
    /// Each lane takes `calls_most`; what all of them hold of clients is bounded by `bytes_most`.
    pub(super) fn new(calls_most: u32, bytes_most: u64) -> Self {
        let calls_most = u64::from(calls_most);
        Self { taken: Rc::default(), calls_most, bytes_most, last_number: Cell::default() }
    }

    /// Gives a call a place.
    ///
    /// # Errors
    /// The call, if too much waits.
    pub(super) fn take(&self, call: Box<dyn Call>) -> Result<Waiting, Box<dyn Call>> {
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
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        Ok(Waiting { call, number, since: time::now(), slot: 0, place })
    }

    /// Whether nothing waits and nothing is on its way.
    #[cfg(test)]
    pub(super) fn are_free(&self) -> bool {
        let taken = self.taken.borrow();
        (taken.publishes, taken.upkeep, taken.bytes) == (0, 0, 0)
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

impl Queue {
    /// Puts a call behind the others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.0.push_back(waiting);
    }

    /// Puts calls that were not carried out before the others, in their order.
    pub(super) fn push_front(&mut self, calls: Vec<Waiting>) {
        for call in calls.into_iter().rev() {
            self.0.push_front(call);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next pipeline; empty if nothing waits.
    pub(super) fn next(&mut self) -> Vec<Waiting> {
        let (mut count, mut bytes) = (0, 0);
        for waiting in self.0.iter().take(BATCH_CALLS) {
            if bytes >= BATCH_BYTES as u64 {
                break;
            }
            bytes += waiting.place.bytes;
            count += 1;
        }
        self.0.drain(..count).collect()
    }

    /// Takes some of what waits.
    pub(super) fn part(&mut self, goes: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let (gone, rest): (Vec<_>, Vec<_>) = self.0.drain(..).partition(goes);
        self.0.extend(rest);
        gone
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.0.drain(..).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
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

    /// So many calls that wait.
    pub(in crate::bridge) fn filled(count: u32) -> Vec<Waiting> {
        let places = Places::new(count, 1);
        (0..count).map(|_| places.take(upkeep()).expect("it fits")).collect()
    }

    #[test]
    fn what_does_not_fit_comes_back_and_what_is_over_makes_room() {
        let places = Places::new(3, 100);
        let first = places.take(publish(60)).expect("it fits");
        assert!(places.take(publish(60)).is_err(), "too many bytes");
        let others = [places.take(publish(20)), places.take(publish(20))];
        assert!(others.iter().all(Result::is_ok));
        assert!(places.take(publish(0)).is_err(), "too many");
        assert_eq!((places.publishes(), places.bytes()), (3, 100));
        drop(first);
        assert_eq!((places.publishes(), places.bytes()), (2, 40));
        drop(others);
        assert_eq!((places.publishes(), places.bytes()), (0, 0));
        assert!(places.take(publish(1_000)).is_ok(), "one always fits");
    }

    #[test]
    fn neither_lane_keeps_out_the_other_and_both_are_bounded() {
        let places = Places::new(2, 100);
        let taken: Vec<_> = (0..2)
            .flat_map(|_| [places.take(publish(0)), places.take(upkeep())])
            .collect::<Result<_, _>>()
            .expect("they fit");
        assert!(places.take(publish(0)).is_err());
        assert!(places.take(upkeep()).is_err());
        drop(taken.into_iter().find(|it| it.call.lane() == Lane::Upkeep));
        assert!(places.take(upkeep()).is_ok());
    }

    #[test]
    fn a_pipeline_is_bounded() {
        let places = Places::new(10_000, 1 << 30);
        let mut queue = Queue::default();
        let push = |queue: &mut Queue, bytes| {
            queue.push(places.take(publish(bytes)).expect("it fits"));
        };
        for _ in 0..300 {
            push(&mut queue, 1);
        }
        let first = queue.next();
        assert_eq!(first.len(), BATCH_CALLS);
        queue.push_front(first);
        assert_eq!(queue.drain().len(), 300);
        for _ in 0..3 {
            push(&mut queue, BATCH_BYTES / 2 + 1);
        }
        assert_eq!(queue.next().len(), 2);
        assert_eq!(queue.next().len(), 1);
    }
}
