//! What one client publishes keeps its order, whatever Redis makes the node ask again.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::cluster::Cluster;
use crate::node::{linked, node, with};
use crate::outage::publish_at_last;
use crate::server::Server;
use crate::store::{Store, is_missing};
use crate::talk::Talk;

/// Publishes numbers without waiting for answers, with something between each and the next; the places of
/// those that were taken.
fn burst(
    talk: &mut Talk,
    room: &str,
    numbers: Range<u64>,
    between: impl Fn(&mut Talk),
) -> Vec<Option<u64>> {
    let send = |n| {
        let id = talk.send(json!({"type": "publish", "room": room, "data": n}));
        between(talk);
        id
    };
    let ids: Vec<_> = numbers.map(send).collect();
    let answers: Vec<_> = ids.into_iter().map(|id| talk.answer(id)).collect();
    answers.iter().map(|answer| answer["offset"].as_u64()).collect()
}

/// What is in a room is in the order in which it was published.
fn in_order(node: &Server, room: &str) -> usize {
    let mut talk = Talk::joined(node, room);
    let answer = talk.ok(json!({"type": "history", "room": room, "limit": 1_000}));
    let messages = answer["messages"].as_array().unwrap();
    let numbers: Vec<_> = messages.iter().filter_map(|it| it["data"].as_u64()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    numbers.len()
}

#[test]
fn a_redis_that_forgets_its_scripts_does_not_mix_up_what_is_on_its_way() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["repl-diskless-sync-delay 0"]);
    let follows = format!("replicaof 127.0.0.1 {}", store.port);
    let _replica = Store::start(&[&follows]);
    let node = node(&store);
    for room in ["sure:a", "twice:a"] {
        let mut ada = Talk::joined_at_last(&node, room);
        publish_at_last(&mut ada, room, &json!(0));
        for round in 0..20 {
            // Several pipelines are on their way before the first of them is refused, since each is
            // published in a tick of its own.
            assert_eq!(store.say(&["SCRIPT", "FLUSH"]), "+OK");
            assert_eq!(store.say(&["CLIENT", "PAUSE", "50", "ALL"]), "+OK");
            let numbers = round * 10 + 1..round * 10 + 11;
            let places = burst(&mut ada, room, numbers, |ada| {
                ada.ask(json!({"type": "ping"}));
            });
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        }
        assert!(in_order(&node, room) > 200);
    }
}

/// More than are published while a slot is on its way.
const BURST: u64 = 3_000;

#[test]
fn a_slot_that_moves_does_not_mix_up_what_is_on_its_way() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let node = with(&[&cluster.url(), "redis.cluster=true", "rate.messages_per_second=0"]);
    linked(&node);
    let mut ada = Talk::joined(&node, "sure:a");
    publish_at_last(&mut ada, "sure:a", &json!(0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 1;
            while !is_over.load(Ordering::Relaxed) {
                // They keep coming while others are refused.
                let pace = |_: &mut Talk| std::thread::sleep(Duration::from_micros(10));
                let places = burst(&mut ada, "sure:a", next..next + BURST, pace);
                let taken: Vec<_> = places.iter().flatten().collect();
                assert!(taken.is_sorted(), "{places:?}");
                next += BURST;
            }
        });
        for _ in 0..10 {
            cluster.move_slot("sure:a");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(in_order(&node, "sure:a") > 200);
    let strayed = node.metric("ringroom_bridge_strayed_total", "");
    assert!(strayed > 0.0, "nothing was asked in vain");
}
