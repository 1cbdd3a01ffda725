//! Every interleaving of the mesh's sleep and wake protocol: no party sleeps through its work.
//!
//! The file under test is compiled here once more, on loom's atomics. The channel is modelled by a
//! count of batches, the doorbell by a count of rings, and the owner parks only while it has not
//! rung; loom reports an execution in which nobody can go on as a deadlock.

#![allow(dead_code, reason = "the file under test serves the library, which uses all of it")]

#[path = "../src/mesh/sleep.rs"]
mod sleep;

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use sleep::{Room, Sleeper};

/// A descriptor that can be waited for.
#[derive(Default)]
struct Bell {
    rung: Mutex<usize>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().expect("nobody panics with it") += 1;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().expect("nobody panics with it");
        while *rung == 0 {
            rung = self.changed.wait(rung).expect("nobody panics with it");
        }
        *rung = 0;
    }
}

/// One party and its inbox. The count has the orderings a channel has, and no more.
struct Party {
    inbox: AtomicUsize,
    capacity: usize,
    sleeper: Sleeper,
    room: Room,
    bell: Bell,
}

impl Party {
    fn new(capacity: usize) -> Self {
        Self {
            inbox: AtomicUsize::new(0),
            capacity,
            sleeper: Sleeper::awake(),
            room: Room::enough(),
            bell: Bell::default(),
        }
    }

    fn try_send(&self) -> bool {
        let add = |held| (held < self.capacity).then_some(held + 1);
        self.inbox.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }

    fn try_receive(&self) -> bool {
        let take = |held: usize| held.checked_sub(1);
        self.inbox.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn ring_if_asleep(&self) {
        if self.sleeper.must_be_rung() {
            self.bell.ring();
        }
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    // Four forced switches find all that more do here, in a second and not in minutes.
    model.preemption_bound = model.preemption_bound.or(Some(4));
    model.check(check);
}

#[test]
fn a_receiver_never_sleeps_through_a_batch() {
    model(|| {
        let receiver = Arc::new(Party::new(4));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                thread::spawn(move || {
                    assert!(receiver.try_send(), "there is room for all");
                    receiver.ring_if_asleep();
                })
            })
            .collect();
        let mut received = 0;
        while received < 2 {
            if receiver.try_receive() {
                received += 1;
            } else if receiver.sleeper.fall_asleep(|| receiver.inbox.load(Ordering::Acquire) > 0) {
                receiver.bell.wait();
                receiver.sleeper.wake();
            }
        }
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
    });
}

#[test]
fn a_bell_rings_at_most_once_a_sleep() {
    model(|| {
        let receiver = Arc::new(Party::new(4));
        assert!(receiver.sleeper.fall_asleep(|| false), "there is nothing yet");
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                thread::spawn(move || {
                    assert!(receiver.try_send(), "there is room for all");
                    receiver.ring_if_asleep();
                })
            })
            .collect();
        for sender in senders {
            sender.join().expect("a sender does not panic");
        }
        assert_eq!(*receiver.bell.rung.lock().expect("nobody panics with it"), 1);
    });
}

#[test]
fn a_sender_never_sleeps_while_its_backlog_finds_room() {
    model(|| {
        let receiver = Arc::new(Party::new(1));
        let sender = Arc::new(Party::new(1));
        let (to, me) = (Arc::clone(&receiver), Arc::clone(&sender));
        let sending = thread::spawn(move || send_all(2, &me, &to));
        let mut received = 0;
        while received < 2 {
            if receiver.try_receive() {
                received += 1;
                if receiver.room.must_tell() {
                    sender.ring_if_asleep();
                }
            } else if receiver.sleeper.fall_asleep(|| receiver.inbox.load(Ordering::Acquire) > 0) {
                receiver.bell.wait();
                receiver.sleeper.wake();
            }
        }
        sending.join().expect("the sender does not panic");
    });
}

/// Ticks until all is delivered, as [`Port::deliver`] and a driver do.
fn send_all(mut backlog: usize, me: &Party, to: &Party) {
    while backlog > 0 {
        if to.try_send() {
            backlog -= 1;
            to.ring_if_asleep();
            continue;
        }
        to.room.want();
        if to.try_send() {
            backlog -= 1;
            to.ring_if_asleep();
        } else if me.sleeper.fall_asleep(|| !to.room.will_be_told()) {
            me.bell.wait();
            me.sleeper.wake();
        }
    }
}
