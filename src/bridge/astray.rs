//! Calls that came to a server that does not have their slot, or not all of it: they are made again
//! when it is known where the slot is.
//!
//! Invariants: as long as a call of a slot is here, all others of that slot wait here, too, and they are
//! made again in the order in which they came, when none of them is on its way; so their order holds
//! while slots move. The same goes for calls of a slot that is found elsewhere while some of it are on
//! their way to where it was. Calls that wait for replicas go by ways of their own, and do so here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queue::Waiting;
use super::time;
use super::way::Pace;

/// By slot, and by which way they go.
#[derive(Debug, Default)]
pub(super) struct Astray(BTreeMap<(u16, Pace), Stray>);

/// A pipeline that is on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) pace: Pace,
    /// Of its calls.
    pub(super) slots: Vec<u16>,
}

#[derive(Debug, Default)]
struct Stray {
    /// Those that were refused and those that came later, by their numbers.
    calls: BTreeMap<u64, Waiting>,
    /// Pipelines up to this number may still hold calls of the slot.
    sent: u64,
    /// Where the slot is was asked since.
    is_found: bool,
}

impl Astray {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a call of this slot has to wait.
    pub(super) fn holds(&self, slot: u16, waiting: &Waiting) -> bool {
        self.0.contains_key(&(slot, Pace::of(&*waiting.call)))
    }

    /// A call was refused; `sent` pipelines were sent until now.
    pub(super) fn add(&mut self, slot: u16, waiting: Waiting, sent: u64) {
        let stray = self.put(slot, waiting);
        stray.sent = stray.sent.max(sent);
        stray.is_found = false;
    }

    /// A call comes to a slot whose calls have to wait.
    pub(super) fn wait(&mut self, slot: u16, waiting: Waiting) {
        self.put(slot, waiting);
    }

    /// A slot is elsewhere, and this pipeline holds calls of it.
    pub(super) fn hold(&mut self, slot: u16, pace: Pace, number: u64) {
        let stray = self.0.entry((slot, pace)).or_default();
        stray.sent = stray.sent.max(number);
    }

    fn put(&mut self, slot: u16, waiting: Waiting) -> &mut Stray {
        let stray = self.0.entry((slot, Pace::of(&*waiting.call))).or_default();
        stray.calls.insert(waiting.number, waiting);
        stray
    }

    /// It is known anew where all slots are.
    pub(super) fn found(&mut self) {
        self.0.values_mut().for_each(|stray| stray.is_found = true);
    }

    /// Those that may be made again, in their order. `on_way`: the pipelines that are on their way.
    pub(super) fn release(&mut self, on_way: &BTreeMap<u64, Sent>) -> Vec<Waiting> {
        let free = self.0.extract_if(.., |(_, pace), stray| {
            let oldest = on_way.iter().find(|(_, sent)| sent.pace == *pace);
            stray.is_found && oldest.is_none_or(|(oldest, _)| *oldest > stray.sent)
        });
        free.flat_map(|(_, stray)| stray.calls.into_values()).collect()
    }

    /// Those that have waited too long.
    pub(super) fn expire(&mut self, patience: Duration) -> Vec<Waiting> {
        let now = time::now();
        self.part(|waiting| waiting.is_older(patience, now))
    }

    /// Takes some of those that wait.
    pub(super) fn part(&mut self, goes: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut gone = Vec::new();
        self.0.retain(|_, stray| {
            let was_empty = stray.calls.is_empty();
            let going = stray.calls.extract_if(.., |_, waiting| goes(waiting));
            gone.extend(going.map(|(_, waiting)| waiting));
            was_empty || !stray.calls.is_empty()
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use redis::{Cmd, Value};

    use super::*;
    use crate::bridge::call::Call;
    use crate::bridge::desk::Desk;
    use crate::bridge::queue::Places;
    use crate::room::broker::Fault;

    /// A call that wants so many replicas.
    #[derive(Debug)]
    struct Wanting(u8);

    impl Call for Wanting {
        fn replicas(&self) -> u8 {
            self.0
        }
        fn command(&self, _desk: &Desk) -> Cmd {
            redis::cmd("PING")
        }
        fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}
        fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
    }

    fn numbers(calls: &[Waiting]) -> Vec<u64> {
        calls.iter().map(|waiting| waiting.number).collect()
    }

    fn sent(pace: Pace) -> Sent {
        Sent { pace, slots: Vec::new() }
    }

    fn plain(numbers: &[u64]) -> BTreeMap<u64, Sent> {
        numbers.iter().map(|number| (*number, sent(Pace::Plain))).collect()
    }

    #[test]
    fn calls_of_a_slot_wait_in_order_until_it_is_found_and_none_is_on_its_way() {
        let places = Places::new(100, 1_000);
        let mut calls = (0..5).map(|_| places.take(Box::new(Wanting(0))).expect("it fits"));
        let mut call = || calls.next().expect("there are five");
        let mut astray = Astray::default();
        let (first, second, other, third, fourth) = (call(), call(), call(), call(), call());
        assert!(!astray.holds(7, &first));
        // The first is refused; the second left before that was known; the third comes after it.
        astray.add(7, first, 5);
        assert!(astray.holds(7, &third) && astray.holds(7, &second) && !astray.holds(8, &other));
        astray.wait(7, third);
        astray.add(8, other, 4);
        assert!(astray.release(&plain(&[])).is_empty(), "nobody knows where it is");
        astray.found();
        assert!(astray.release(&plain(&[4])).is_empty(), "the fourth may hold calls of both");
        assert_eq!(numbers(&astray.release(&plain(&[5]))), [3]);
        // The second comes back with the fifth pipeline.
        astray.add(7, second, 6);
        astray.wait(7, fourth);
        assert!(astray.release(&plain(&[])).is_empty(), "it has to be found again");
        astray.found();
        assert!(astray.release(&plain(&[6])).is_empty());
        assert_eq!(numbers(&astray.release(&plain(&[7]))), [1, 2, 4, 5]);
        assert!(astray.is_empty());
    }

    #[test]
    fn what_comes_to_a_slot_that_is_elsewhere_waits_for_what_is_on_its_way_to_where_it_was() {
        let places = Places::new(100, 1_000);
        let mut astray = Astray::default();
        let call = |replicas| places.take(Box::new(Wanting(replicas))).expect("it fits");
        astray.hold(7, Pace::Plain, 5);
        astray.hold(7, Pace::Plain, 4);
        astray.found();
        assert!(astray.holds(7, &call(0)) && !astray.holds(7, &call(1)));
        assert!(astray.release(&plain(&[5])).is_empty());
        assert!(astray.expire(Duration::from_secs(60)).is_empty());
        assert!(astray.holds(7, &call(0)), "though none waits yet");
        astray.wait(7, call(0));
        assert_eq!(astray.release(&plain(&[6])).len(), 1);
        assert!(astray.is_empty());
    }

    #[test]
    fn what_waits_for_replicas_holds_up_nothing_else() {
        let places = Places::new(100, 1_000);
        let call = |replicas| places.take(Box::new(Wanting(replicas))).expect("it fits");
        let mut astray = Astray::default();
        astray.add(7, call(0), 2);
        assert!(!astray.holds(7, &call(1)), "that goes another way");
        astray.add(7, call(1), 2);
        astray.found();
        let on_way = BTreeMap::from([(1, sent(Pace::Patient(1))), (3, sent(Pace::Plain))]);
        let released = astray.release(&on_way);
        assert_eq!(released.iter().map(|it| it.call.replicas()).collect::<Vec<_>>(), [0]);
        assert_eq!(astray.release(&plain(&[1])).len(), 1);
    }

    #[test]
    fn what_waits_too_long_comes_back() {
        let places = Places::new(100, 1_000);
        let mut astray = Astray::default();
        astray.add(7, places.take(Box::new(Wanting(0))).expect("it fits"), 1);
        assert!(astray.expire(Duration::from_secs(60)).is_empty());
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(numbers(&astray.expire(Duration::ZERO)), [1]);
        assert!(astray.is_empty());
    }
}
