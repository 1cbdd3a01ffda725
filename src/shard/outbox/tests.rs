//! What is gathered is what was queued, in order, and what is lent stays.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::id::TenantId;
use crate::protocol::{Priority, SlowConsumer};
use crate::room::hub::RoomTag;
use crate::room::name::{RoomKey, RoomName};

fn read(outbox: &mut Outbox, slices: usize) -> Vec<u8> {
    let mut out = vec![IoSlice::new(&[]); slices];
    let count = outbox.gather(&mut out);
    out[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn run(text: &str, budget: &Budget) -> Rc<Run> {
    let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("room").unwrap());
    let tag = RoomTag {
        room,
        epoch: "e".into(),
        slow_consumer: SlowConsumer::DropOldest,
        guaranteed: false,
    };
    let label = Label {
        room: Rc::new(tag),
        first: 1,
        last: 1,
        priority: Priority::Normal,
        expires: None,
        event: 0,
    };
    Run::joined(text.as_bytes().into(), label, budget)
}

#[test]
fn an_outbox_is_small() {
    assert!(size_of::<Outbox>() <= 40, "{}", size_of::<Outbox>());
    let slot = size_of::<crate::shard::outbound::Slot>();
    assert!(slot <= 64, "a slot is one cache line: {slot}");
}

#[test]
fn bytes_leave_in_order_whatever_the_driver_takes() {
    let budget = Budget::default();
    for step in 1..9 {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::default());
        outbox.push_run(run("abc", &budget), &mut pool);
        outbox.push_own(&mut pool, |out| out.extend_from_slice(b"de"));
        outbox.push_own(&mut pool, |out| out.extend_from_slice(b"f"));
        outbox.push_run(run("ghij", &budget), &mut pool);
        let mut seen = Vec::new();
        while !outbox.is_empty() {
            let mut bytes = read(&mut outbox, 2);
            bytes.truncate(step);
            outbox.advance(bytes.len());
            seen.extend(bytes);
        }
        assert_eq!(seen, b"abcdefghij", "{step} at a time");
        outbox.reclaim(&mut pool);
        assert!(outbox.queue.is_none() && pool.queues.len() == 1);
        assert_eq!(budget.held_bytes(), 0);
    }
}

#[test]
fn lent_bytes_stay_where_they_are() {
    let (mut pool, mut outbox) = (Pool::default(), Outbox::default());
    outbox.push_own(&mut pool, |out| out.extend_from_slice(b"lent"));
    let place = {
        let mut out = [IoSlice::new(&[])];
        outbox.gather(&mut out);
        out[0].as_ptr()
    };
    for _ in 0..1_000 {
        outbox.push_own(&mut pool, |out| out.extend_from_slice(b"more"));
    }
    outbox.clear();
    assert_eq!(outbox.pending_bytes(), 4);
    let mut out = [IoSlice::new(&[])];
    outbox.gather(&mut out);
    assert_eq!((out[0].as_ptr(), &*out[0]), (place, &b"lent"[..]));
}

#[test]
fn clearing_finishes_a_frame_that_is_partly_written() {
    let budget = Budget::default();
    let (mut pool, mut outbox) = (Pool::default(), Outbox::default());
    outbox.push_run(run("first", &budget), &mut pool);
    outbox.push_run(run("second", &budget), &mut pool);
    outbox.advance(2);
    outbox.clear();
    assert_eq!(read(&mut outbox, 4), b"rst");
    outbox.advance(3);
    assert!(outbox.is_empty());
    assert_eq!(budget.held_bytes(), 0);
}

#[test]
fn nothing_follows_the_seal() {
    let (mut pool, mut outbox) = (Pool::default(), Outbox::default());
    outbox.push_own(&mut pool, |out| out.extend_from_slice(b"bye"));
    outbox.seal();
    outbox.push_own(&mut pool, |out| out.extend_from_slice(b"more"));
    assert_eq!(read(&mut outbox, 4), b"bye");
    assert!(outbox.is_closing());
}
