//! Histories over several nodes: each node has as much of a room as the room keeps.

use serde_json::{Value, json};

use crate::acks::is_kept;
use crate::server::Server;
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
    // No page is larger than that.
    assert_eq!((offsets[0], is_truncated), (1, json!(false)), "{offsets:?}");
}
