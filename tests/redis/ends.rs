//! Temporary rooms end with their last member, on whichever node that is.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::node::{linked, unlinked};
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

/// A node that listens to no room that nobody there has joined, and hears soon of others' ends.
fn node(store: &Store) -> Server {
    let settings = ["redis.grace_ms=0", "redis.lease_ms=2000", "session.ttl_ms=1000"];
    let node = unlinked(store, &settings);
    linked(&node);
    node
}

fn ended(nodes: &[&Server]) -> f64 {
    nodes.iter().map(|node| node.metric("ringroom_bridge_ended_total", "")).sum()
}

/// The key of a room, which this begins.
fn key(room: &str, what: &str) -> String {
    let name = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("ringroom:{{{}.{}}}:{what}", name("default"), name(room))
}

/// How many of a room's keys there are.
fn keys(store: &Store, room: &str) -> String {
    let [s, h, p, d] = ["s", "h", "p", "d"].map(|what| key(room, what));
    store.say(&["EXISTS", &s, &h, &p, &d])
}

fn leave(talk: &mut Talk, room: &str) {
    talk.ok(json!({"type": "leave", "room": room}));
}

/// How a room is to who joins it: epoch and offset.
fn join(talk: &mut Talk, room: &str) -> (String, u64) {
    let joined = talk.ok(json!({"type": "join", "room": room}));
    (joined["epoch"].as_str().unwrap().to_owned(), joined["offset"].as_u64().unwrap())
}

/// Long enough for a node to look at what was left, twice.
fn for_a_while() {
    std::thread::sleep(Duration::from_millis(1_200));
}

#[test]
fn a_room_that_was_left_is_no_longer_listened_to_and_has_ended() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let mut ada = Talk::to(&node);
    let (before, _) = join(&mut ada, "a");
    assert_eq!(ada.publish("a", 1), 1);
    eventually("it is listened to", || node.metric("ringroom_bridge_rooms", "") == 2.0);
    assert_eq!(keys(&store, "a"), ":4");
    leave(&mut ada, "a");
    eventually("it has ended", || ended(&[&node]) == 1.0);
    assert_eq!(node.metric("ringroom_bridge_rooms", ""), 1.0);
    assert_eq!(keys(&store, "a"), ":0");
    let (after, offset) = join(&mut ada, "a");
    assert_eq!(offset, 0);
    assert_ne!(before, after);
    assert_eq!(ada.publish("a", 2), 1);
}

#[test]
fn a_room_ends_with_its_last_member_on_all_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let (mut ada, mut eve) = (Talk::to(&one), Talk::to(&other));
    let (before, _) = join(&mut ada, "sure:a");
    join(&mut eve, "sure:a");
    for n in 1..=3 {
        assert_eq!(ada.publish("sure:a", n), n);
    }
    leave(&mut ada, "sure:a");
    eventually("one does not listen", || one.metric("ringroom_bridge_rooms", "") == 1.0);
    for_a_while();
    assert_eq!(ended(&[&one, &other]), 0.0);
    assert_eq!(eve.publish("sure:a", 4), 4);
    // Who comes back finds it, and keeps it.
    assert_eq!(join(&mut ada, "sure:a"), (before.clone(), 4));
    leave(&mut eve, "sure:a");
    eventually("the other does not listen", || other.metric("ringroom_bridge_rooms", "") == 1.0);
    for_a_while();
    assert_eq!(ada.publish("sure:a", 5), 5);
    leave(&mut ada, "sure:a");
    eventually("it has ended", || ended(&[&one, &other]) == 1.0);
    assert_eq!(keys(&store, "sure:a"), ":0");
    let (after, offset) = join(&mut eve, "sure:a");
    assert_eq!(offset, 0);
    assert_ne!(before, after);
    let history = eve.ok(json!({"type": "history", "room": "sure:a"}));
    assert_eq!(history["messages"], json!([]));
}

#[test]
fn a_persistent_room_stays() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let mut ada = Talk::to(&node);
    let config = json!({"persistent": true});
    ada.ok(json!({"type": "room.create", "room": "sure:a", "config": config}));
    let (before, _) = join(&mut ada, "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    join(&mut ada, "b");
    leave(&mut ada, "sure:a");
    for_a_while();
    leave(&mut ada, "b");
    eventually("the other has ended", || ended(&[&node]) == 1.0);
    assert_eq!(join(&mut ada, "sure:a"), (before, 1));
}

#[test]
fn whoever_comes_while_the_last_one_goes_loses_nothing() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let mut talks = [Talk::to(&one), Talk::to(&other)];
    join(&mut talks[0], "sure:a");
    for round in 0..24_u64 {
        let (here, there) = (round as usize % 2, (round as usize + 1) % 2);
        leave(&mut talks[here], "sure:a");
        // A node looks twice a second at what was left.
        std::thread::sleep(Duration::from_millis(round * 41 % 600));
        let (epoch, offset) = join(&mut talks[there], "sure:a");
        assert_eq!(talks[there].publish("sure:a", round), offset + 1, "round {round}");
        let told = talks[there].messages(1);
        assert_eq!(told, [(epoch.clone(), offset + 1, json!(round))], "round {round}");
        assert_eq!(join(&mut talks[here], "sure:a"), (epoch.clone(), offset + 1));
        let history = talks[here]
            .ok(json!({"type": "history", "room": "sure:a", "limit": 1, "reverse": true}));
        assert_eq!(history["messages"][0]["data"], json!(round), "round {round}");
        leave(&mut talks[here], "sure:a");
        let is_gap = |event: &Value| event["type"] == "gap";
        assert!(!talks.iter().any(|talk| talk.heard.iter().any(is_gap)), "round {round}");
        talks.iter_mut().for_each(|talk| talk.heard.clear());
        // Who stays is alone again, and goes in the next round.
    }
}

#[test]
fn a_node_that_was_killed_keeps_no_room() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let (mut ada, mut eve) = (Talk::to(&one), Talk::to(&other));
    for room in ["sure:a", "sure:b"] {
        join(&mut ada, room);
        assert_eq!(ada.publish(room, 1), 1);
    }
    join(&mut eve, "sure:a");
    one.signal("KILL");
    eventually("it is no more", || {
        let said = other.control("/v1/nodes").text();
        said.contains("\"lost\"") || !said.contains("\"self\":false")
    });
    assert_eq!(eve.publish("sure:a", 2), 2);
    leave(&mut eve, "sure:a");
    eventually("one has ended", || ended(&[&other]) == 1.0);
    assert_eq!((keys(&store, "sure:a"), keys(&store, "sure:b")), (":0".into(), ":4".into()));
    // The one in which nobody else was runs out, if nobody comes.
    let left: u64 = store.say(&["PTTL", &key("sure:b", "s")])[1..].parse().unwrap();
    assert!(left > 0);
    assert_eq!(join(&mut eve, "sure:b").1, 1, "until then it is there");
    leave(&mut eve, "sure:b");
    eventually("both have ended", || ended(&[&other]) == 2.0);
    assert_eq!(keys(&store, "sure:b"), ":0");
}
