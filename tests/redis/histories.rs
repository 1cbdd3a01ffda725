//! Histories over several nodes: each node has as much of a room as the room keeps, and Redis no more.

use serde_json::{Value, json};

use crate::acks::is_kept;
use crate::node::is;
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, user};

fn node(store: &Store) -> Server {
    let settings = [
        "redis.reconnect_max_ms=200",
        "limits.connections_per_user=0",
        "rate.messages_per_second=0",
        "rate.bytes_per_second=0",
        "users.messages_per_second=0",
        "users.bytes_per_second=0",
        "addresses.messages_per_second=0",
        "addresses.bytes_per_second=0",
    ];
    node_with(store, &["default"], &settings)
}

fn make(talk: &mut Talk, config: &Value) {
    talk.ok(json!({"type": "room.create", "room": "a", "config": config}));
    talk.ok(json!({"type": "join", "room": "a"}));
}

/// What somebody is told of the room: offsets, and whether there were others before.
fn history(talk: &mut Talk) -> (Vec<u64>, Value) {
    let page = talk.ok(json!({"type": "history", "room": "a", "limit": 1000}));
    let messages = page["messages"].as_array().unwrap().iter();
    (messages.map(|it| it["offset"].as_u64().unwrap()).collect(), page["truncated"].clone())
}

/// What somebody is told who comes on another node.
fn history_on(node: &Server) -> (Vec<u64>, Value) {
    let mut talk = user(node, "eve", "default");
    talk.ok(json!({"type": "join", "room": "a"}));
    history(&mut talk)
}

/// Publications that Redis has.
fn kept(store: &Store) -> u64 {
    let keys = store.list(&["KEYS", "ringroom:{*}:h"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
    store.say(&["XLEN", &keys[0]]).trim_start_matches(':').parse().unwrap()
}

#[test]
fn a_room_that_was_configured_while_it_ran_has_its_history_on_every_node() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let mut ann = user(&one, "ann", "default");
    make(&mut ann, &json!({"mode": "reliable", "persistent": true, "history_size": 100}));
    for n in 1..=5 {
        assert_eq!(ann.publish("a", n), n);
    }
    let all = (vec![1, 2, 3, 4, 5], json!(false));
    assert_eq!(history_on(&other), all);
    drop((ann, one, other));
    assert_eq!(history_on(&node(&store)), all, "all nodes were started again");
}

#[test]
fn a_room_that_was_joined_without_redis_has_its_history_once_there_is_one() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    let (one, other) = (node(&store), node(&store));
    let mut ann = user(&one, "ann", "default");
    make(&mut ann, &json!({"mode": "reliable", "persistent": true, "history_size": 100}));
    for n in 1..=5 {
        assert_eq!(ann.publish("a", n), n);
    }
    drop((ann, one));
    store.kill();
    is(&other, "lost");
    // What has been decided about the room is not known then.
    let mut eve = user(&other, "eve", "default");
    let joined = eve.ok(json!({"type": "join", "room": "a"}));
    assert_eq!(joined["local"], true);
    assert_eq!(history(&mut eve), (Vec::new(), json!(false)));
    store.run();
    eventually("all of it is there", || history(&mut eve) == (vec![1, 2, 3, 4, 5], json!(false)));
}

#[test]
fn what_was_not_acknowledged_in_such_a_room_comes_on_another_node() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other, third) = (node(&store), node(&store), node(&store));
    let mut ann = user(&one, "ann", "default");
    make(&mut ann, &json!({"mode": "guaranteed", "persistent": true, "history_size": 100}));
    let mut bob = user(&other, "bob", "default");
    bob.ok(json!({"type": "join", "room": "a"}));
    assert_eq!(ann.publish("a", 1), 1);
    bob.messages(1);
    bob.ok(json!({"type": "ack", "room": "a", "offset": 1}));
    is_kept(&store, "bob", "0 1 +");
    drop((bob, other));
    for n in 2..=6 {
        assert_eq!(ann.publish("a", n), n);
    }
    let mut bob = user(&third, "bob", "default");
    bob.ok(json!({"type": "join", "room": "a"}));
    let offsets: Vec<_> = bob.messages(5).into_iter().map(|(_, offset, _)| offset).collect();
    assert_eq!(offsets, [2, 3, 4, 5, 6]);
}

#[test]
fn redis_keeps_as_many_bytes_as_a_room_remembers() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let one = node(&store);
    let mut ann = user(&one, "ann", "default");
    make(&mut ann, &json!({"mode": "reliable", "history_size": 10_000, "history_bytes": 200_000}));
    for _ in 0..100 {
        ann.publish("a", "x".repeat(10_000));
    }
    assert!((19..=23).contains(&kept(&store)), "{}", kept(&store));
    // The answer may come before the message does.
    eventually("all have come", || history(&mut ann).0.last() == Some(&100));
    let (here, elsewhere) = (history(&mut ann), history_on(&node(&store)));
    assert_eq!(elsewhere.0.last(), Some(&100));
    assert!(elsewhere.0.len() >= here.0.len(), "{elsewhere:?} {here:?}");
}

#[test]
fn a_large_history_is_had_by_a_node_that_comes_new() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let one = node(&store);
    let mut ann = user(&one, "ann", "default");
    make(
        &mut ann,
        &json!({"mode": "reliable", "history_size": 1_000, "history_bytes": 20_000_000}),
    );
    for _ in 0..500 {
        ann.publish("a", "x".repeat(10_000));
    }
    let (offsets, is_truncated) = history_on(&node(&store));
    // Some twenty pages of it.
    assert_eq!((offsets[0], is_truncated), (1, json!(false)), "{offsets:?}");
}

#[test]
fn what_is_too_old_is_on_no_node() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let one = node(&store);
    let mut ann = user(&one, "ann", "default");
    make(&mut ann, &json!({"mode": "reliable", "history_size": 100, "history_ttl_ms": 3_000}));
    eventually("the first are too old", || {
        ann.publish("a", "more");
        // The answer may be faster than what all are told.
        history(&mut ann).0.first().is_some_and(|first| *first > 1)
    });
    let (here, _) = history(&mut ann);
    // Redis has more than that, and the new node is younger than what is too old.
    assert!(kept(&store) > here.len() as u64, "{here:?}");
    let (there, is_truncated) = history_on(&node(&store));
    assert!(here[0] <= there[0], "{here:?} {there:?}");
    assert!(here.last() <= there.last() && is_truncated == true, "{here:?} {there:?}");
}
