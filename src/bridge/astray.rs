//! Calls that came to a server that does not have their slot, or not all of it: they are made again
//! when it is known where the slot is.
//!
//! Invariant: as long as a call of a slot is here, all others of that slot wait behind it, and none of
//! them is on its way; so their order holds while slots move.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queue::Waiting;

/// By slot.
#[derive(Debug, Default)]
pub(super) struct Astray(BTreeMap<u16, Stray>);

#[derive(Debug, Default)]
struct Stray {
    calls: Vec<Waiting>,
    /// Pipelines up to this number may still hold calls of the slot.
    sent: u64,
    /// Where the slot is was asked since.
    is_found: bool,
}

impl Astray {
    /// Whether calls of this slot have to wait.
    pub(super) fn holds(&self, slot: u16) -> bool {
        self.0.contains_key(&slot)
    }

    /// A call was refused; `sent` pipelines were sent until now.
    pub(super) fn add(&mut self, slot: u16, waiting: Waiting, sent: u64) {
        let stray = self.0.entry(slot).or_default();
        stray.calls.push(waiting);
        stray.sent = stray.sent.max(sent);
        stray.is_found = false;
    }

    /// A call comes to a slot whose calls have to wait.
    pub(super) fn wait(&mut self, slot: u16, waiting: Waiting) {
        self.0.entry(slot).or_default().calls.push(waiting);
    }

    /// It is known anew where all slots are.
    pub(super) fn found(&mut self) {
        self.0.values_mut().for_each(|stray| stray.is_found = true);
    }

    /// Those that may be made again, in their order. `oldest`: the first pipeline that is on its way.
    pub(super) fn release(&mut self, oldest: Option<u64>) -> Vec<Waiting> {
        let is_free =
            |stray: &Stray| stray.is_found && oldest.is_none_or(|oldest| oldest > stray.sent);
        let free = self.0.extract_if(.., |_, stray| is_free(stray));
        free.flat_map(|(_, stray)| stray.calls).collect()
    }

    /// Those that have waited too long.
    pub(super) fn expire(&mut self, patience: Duration) -> Vec<Waiting> {
        let mut expired = Vec::new();
        self.0.retain(|_, stray| {
            let is_old = |waiting: &mut Waiting| waiting.since.elapsed() > patience;
            expired.extend(stray.calls.extract_if(.., is_old));
            !stray.calls.is_empty()
        });
        expired
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

    #[derive(Debug)]
    struct Numbered(usize);

    impl Call for Numbered {
        fn bytes(&self) -> usize {
            self.0
        }
        fn command(&self, _desk: &Desk) -> Cmd {
            redis::cmd("PING")
        }
        fn succeed(self: Box<Self>, _answer: Value, _desk: &mut Desk) {}
        fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
    }

    fn numbers(calls: &[Waiting]) -> Vec<usize> {
        calls.iter().map(|waiting| waiting.call.bytes()).collect()
    }

    #[test]
    fn calls_of_a_slot_wait_in_order_until_it_is_found_and_none_is_on_its_way() {
        let places = Places::new(100, 1_000);
        let call = |n| places.take(Box::new(Numbered(n))).expect("it fits");
        let mut astray = Astray::default();
        assert!(!astray.holds(7));
        astray.add(7, call(1), 5);
        astray.wait(7, call(2));
        astray.add(8, call(9), 4);
        assert!(astray.release(None).is_empty(), "nobody knows where it is");
        astray.found();
        assert!(astray.release(Some(4)).is_empty(), "the fourth pipeline may hold calls of both");
        assert_eq!(numbers(&astray.release(Some(5))), [9]);
        // One of the fifth comes back.
        astray.add(7, call(3), 6);
        assert!(astray.release(None).is_empty(), "it has to be found again");
        astray.found();
        assert!(astray.release(Some(6)).is_empty());
        assert_eq!(numbers(&astray.release(Some(7))), [1, 2, 3]);
        assert!(!astray.holds(7));
    }

    #[test]
    fn what_waits_too_long_comes_back() {
        let places = Places::new(100, 1_000);
        let mut astray = Astray::default();
        astray.add(7, places.take(Box::new(Numbered(1))).expect("it fits"), 1);
        assert!(astray.expire(Duration::from_secs(60)).is_empty());
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(numbers(&astray.expire(Duration::ZERO)), [1]);
        assert!(!astray.holds(7));
    }
}
