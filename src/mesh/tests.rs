#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::{Batch, Delivery, MESSAGES_PER_BATCH, Plan, Port, PostError, build};
use crate::clock::Moment;
use crate::id::CoreId;

const A: CoreId = CoreId(0);
const B: CoreId = CoreId(1);

fn plan(parties: u16, inbox_batches: usize) -> Plan {
    Plan { parties, inbox_batches, backlog_bytes: 100 }
}

fn pair(inbox_batches: usize) -> (Port<u32>, Port<u32>) {
    let mut ports = build(plan(2, inbox_batches)).unwrap();
    let b = ports.pop().unwrap();
    (ports.pop().unwrap(), b)
}

fn at(us: u64) -> Moment {
    Moment { us }
}

fn take_all(port: &mut Port<u32>) -> Vec<u32> {
    std::iter::from_fn(|| port.receive()).flat_map(|batch| batch.messages).collect()
}

#[test]
fn a_tick_is_one_batch_a_peer() {
    let mut ports: Vec<Port<u32>> = build(plan(3, 4)).unwrap();
    for message in 0..3 {
        ports[0].post(CoreId(1), message, 10).unwrap();
        ports[0].post(CoreId(2), message + 10, 10).unwrap();
    }
    assert!(ports[1].receive().is_none(), "nothing leaves before the tick ends");
    assert_eq!(ports[0].deliver(at(5)), Delivery { batches: 2, ..Delivery::default() });
    for (to, first) in [(1, 0), (2, 10)] {
        let Batch { from, since, messages, .. } = ports[to].receive().unwrap();
        assert_eq!((from, since), (A, at(5)));
        assert_eq!(messages, [first, first + 1, first + 2]);
        assert!(ports[to].receive().is_none());
    }
    assert_eq!(ports[0].deliver(at(6)), Delivery::default(), "an empty tick sends nothing");
}

#[test]
fn a_long_tick_is_cut_into_batches_of_bounded_length() {
    let (mut a, mut b) = pair(4);
    let messages = MESSAGES_PER_BATCH as u32 + 1;
    for message in 0..messages {
        a.post(B, message, 1).unwrap();
    }
    assert_eq!(a.deliver(at(0)).batches, 2);
    assert_eq!(b.receive().unwrap().messages.len(), MESSAGES_PER_BATCH);
    assert_eq!(b.receive().unwrap().messages, [messages - 1]);
}

#[test]
fn nobody_posts_to_itself_or_to_nobody() {
    let (mut a, b) = pair(4);
    assert_eq!(a.post(A, 1, 1), Err(PostError::ToOneself));
    assert_eq!(a.post(CoreId(2), 1, 1), Err(PostError::NoSuchParty));
    a.post(B, 1, 1).unwrap();
    drop(b);
    assert_eq!(a.deliver(at(0)), Delivery { lost: 1, ..Delivery::default() });
    assert_eq!(a.post(B, 1, 1), Err(PostError::Gone));
    assert_eq!(a.backlog_total_bytes(), 0, "what is lost is owed no more");
    assert!(a.fall_asleep(), "nothing is left to do for a party that is gone");
}

#[test]
fn what_finds_no_room_waits_in_order_and_loses_nothing() {
    let (mut a, mut b) = pair(2);
    for tick in 0..5 {
        a.post(B, tick, 1).unwrap();
        a.deliver(at(u64::from(tick)));
    }
    assert_eq!(a.deliver(at(5)), Delivery { waiting: 1, ..Delivery::default() });
    assert_eq!(b.receive().unwrap().messages, [0]);
    assert_eq!(b.receive().unwrap().messages, [1]);
    assert!(b.receive().is_none());
    assert_eq!(a.deliver(at(9)).batches, 1);
    let late = b.receive().unwrap();
    assert_eq!(late.messages, [2, 3, 4], "the backlog is gathered in one batch");
    assert_eq!(late.since, at(2), "and knows how long its oldest message has waited");
}

#[test]
fn bytes_count_until_they_are_taken() {
    let (mut a, mut b) = pair(1);
    a.post(B, 1, 60).unwrap();
    assert_eq!(a.backlog_bytes(B), 60, "posted");
    a.deliver(at(0));
    assert_eq!(a.backlog_bytes(B), 60, "in the inbox");
    assert!(!a.is_over(B));
    a.post(B, 2, 41).unwrap();
    a.deliver(at(0));
    assert_eq!((a.backlog_bytes(B), a.backlog_total_bytes()), (101, 101));
    assert!(a.is_over(B), "past the limit");
    b.receive().unwrap();
    assert_eq!(a.backlog_bytes(B), 41);
    assert!(!a.is_over(B));
    a.deliver(at(0));
    b.receive().unwrap();
    assert_eq!(a.backlog_bytes(B), 0);
    assert_eq!(b.backlog_bytes(A), 0, "the other direction is counted apart");
    assert_eq!(a.backlog_bytes(CoreId(7)), 0);
}

#[test]
fn the_bell_rings_once_a_sleep_and_only_then() {
    let (mut a, mut b) = pair(8);
    a.post(B, 1, 1).unwrap();
    assert_eq!(a.deliver(at(0)).rings, 0, "awake");
    assert!(!b.fall_asleep(), "there is something");
    assert_eq!(take_all(&mut b), [1]);
    assert!(b.fall_asleep());
    for (message, rings) in [(2, 1), (3, 0)] {
        a.post(B, message, 1).unwrap();
        assert_eq!(a.deliver(at(0)).rings, rings);
    }
    assert!(b.clear_doorbell());
    assert!(!b.clear_doorbell(), "it is cleared");
    b.wake();
    assert_eq!(take_all(&mut b), [2, 3]);
    assert!(b.fall_asleep());
    b.wake();
    a.post(B, 4, 1).unwrap();
    assert_eq!(a.deliver(at(0)).rings, 0, "it woke by itself");
}

#[test]
fn room_in_an_inbox_wakes_who_waits_for_it() {
    let (mut a, mut b) = pair(1);
    for message in [1, 2] {
        a.post(B, message, 1).unwrap();
        a.deliver(at(0));
    }
    assert!(a.fall_asleep(), "it can do nothing until it is told");
    assert!(!a.clear_doorbell());
    b.receive().unwrap();
    assert!(a.clear_doorbell(), "told");
    a.wake();
    assert!(!a.fall_asleep(), "a backlog with room ahead is work");
    a.deliver(at(0));
    assert!(a.fall_asleep());
    assert_eq!(take_all(&mut b), [2]);
}

#[test]
fn a_port_names_every_descriptor_it_needs() {
    let ports: Vec<Port<u32>> = build(plan(3, 1)).unwrap();
    let names = |port: &Port<u32>| port.doorbells().map(|fd| fd.as_raw_fd()).collect::<Vec<_>>();
    assert_eq!(names(&ports[0]).len(), 3);
    for (index, port) in ports.iter().enumerate() {
        assert_eq!(names(port), names(&ports[0]));
        assert_eq!(port.doorbell_fd().as_raw_fd(), names(port)[index]);
    }
}

/// Sleeps on the doorbell as a thread does; panics when nobody rings for a long time.
fn park(port: &mut Port<u32>) {
    for _ in 0..100_000 {
        if port.clear_doorbell() {
            port.wake();
            return;
        }
        thread::sleep(Duration::from_micros(100));
    }
    panic!("{port:?} sleeps for ever");
}

#[test]
fn threads_with_tiny_inboxes_exchange_all_in_order() {
    const MESSAGES: u32 = 5_000;
    let ports: Vec<Port<u32>> = build(plan(3, 1)).unwrap();
    let exchange = |mut port: Port<u32>| {
        let peers: Vec<_> = (0..3).map(CoreId).filter(|&peer| peer != port.me()).collect();
        let mut expected = [0_u32; 3];
        let mut posted = 0;
        loop {
            if posted < MESSAGES {
                peers.iter().for_each(|&peer| port.post(peer, posted, 8).unwrap());
                posted += 1;
            }
            port.deliver(at(0));
            if let Some(batch) = port.receive() {
                for message in batch.messages {
                    assert_eq!(message, expected[batch.from.index()]);
                    expected[batch.from.index()] += 1;
                }
            }
            let received_all = peers.iter().all(|peer| expected[peer.index()] == MESSAGES);
            if received_all && posted == MESSAGES && port.backlog_total_bytes() == 0 {
                return port;
            }
            let done = received_all && posted == MESSAGES;
            if posted == MESSAGES && !done && port.fall_asleep() {
                park(&mut port);
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            ports.into_iter().map(|port| scope.spawn(move || exchange(port))).collect();
        // Ports live until all are done, or a peer would find them gone.
        let ports: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ports.len(), 3);
    });
}

proptest! {
    #[test]
    fn any_interleaving_keeps_order_and_counts(
        steps in prop::collection::vec((0_u8..3, 0_usize..50), 1..200),
        inbox_batches in 1_usize..4,
    ) {
        let (mut a, mut b) = pair(inbox_batches);
        let (mut posted, mut taken) = (Vec::new(), Vec::new());
        for (step, bytes) in steps {
            match step {
                0 => {
                    a.post(B, posted.len() as u32, bytes).unwrap();
                    posted.push(bytes);
                }
                1 => drop(a.deliver(at(0))),
                _ => taken.extend(b.receive().into_iter().flat_map(|batch| batch.messages)),
            }
            let owed: usize = posted[taken.len()..].iter().sum();
            prop_assert_eq!(a.backlog_bytes(B), owed as u64);
        }
        while a.deliver(at(0)).waiting > 0 || taken.len() < posted.len() {
            taken.extend(take_all(&mut b));
        }
        prop_assert_eq!(taken, (0..posted.len() as u32).collect::<Vec<_>>());
    }
}
