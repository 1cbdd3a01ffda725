//! Patterns of rooms over nodes: what is published on one reaches those of another who are not in the
//! room, whom nobody there joined, from the first message on.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::{linked, node, unlinked, with};
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

fn subscribed(node: &Server, pattern: &str) -> Talk {
    let mut talk = Talk::to(node);
    talk.ok(json!({"type": "subscribe", "pattern": pattern}));
    talk
}

fn datas(talk: &mut Talk, count: usize) -> Vec<Value> {
    talk.messages(count).into_iter().map(|(_, _, data)| data).collect()
}

/// Each of `rooms` is heard from its first message on, on all nodes, wherever it is published.
fn all_is_heard(nodes: &[Server], rooms: &[String]) {
    let mut receivers: Vec<_> = nodes.iter().map(|node| subscribed(node, "**")).collect();
    for (n, room) in rooms.iter().enumerate() {
        let mut ada = Talk::joined(&nodes[n % nodes.len()], room);
        for word in ["first", "second", "third"] {
            ada.publish(room, word);
        }
        for talk in &mut receivers {
            assert_eq!(datas(talk, 3), ["first", "second", "third"], "{room}");
        }
    }
    for talk in &mut receivers {
        assert!(talk.hears_no_more("message"));
    }
}

#[test]
fn a_pattern_hears_what_is_published_on_other_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    // Rooms of which nothing is kept.
    let settings = ["rooms.history_size=0"];
    let nodes = [(); 3].map(|()| unlinked(&store, &settings));
    nodes.iter().for_each(linked);
    let rooms: Vec<_> = (0..8).map(|n| format!("room{n}/a")).chain(["sure:x".to_owned()]).collect();
    all_is_heard(&nodes, &rooms);
}

#[test]
fn a_pattern_hears_them_over_a_cluster() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let settings = [&*cluster.url(), "redis.cluster=true"];
    let nodes = [with(&settings), with(&settings)];
    nodes.iter().for_each(linked);
    let rooms: Vec<_> = (0..9).map(|n| format!("chat:{n}")).collect();
    all_is_heard(&nodes, &rooms);
}

#[test]
fn who_may_not_hear_a_room_does_not_over_nodes_and_others_receive_no_more_than_they_asked_for() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let mut eve = subscribed(&other, "chat:*");
    let mut ada = Talk::to(&one);
    let config = json!({"type": "protected", "password": "a-long-password"});
    ada.ok(json!({"type": "room.create", "room": "chat:locked", "config": config}));
    ada.ok(json!({"type": "join", "room": "chat:locked", "password": "a-long-password"}));
    for room in ["chat:a", "chat:a/b", "else"] {
        ada.ok(json!({"type": "join", "room": room}));
    }
    for room in ["chat:locked", "else", "chat:a/b", "chat:a"] {
        ada.publish(room, room);
    }
    let typing = json!({"type": "publish", "room": "chat:a", "data": "typing", "transient": true});
    assert_eq!(datas(&mut eve, 1), ["chat:a"]);
    // The room is followed by now.
    ada.ok(typing);
    assert_eq!(datas(&mut eve, 1), ["typing"]);
    eve.ok(json!({"type": "unsubscribe", "pattern": "chat:*"}));
    ada.publish("chat:a", "late");
    assert!(eve.hears_no_more("message"));
}

#[test]
fn patterns_outlive_a_redis_that_is_emptied_or_killed_and_nodes_that_are() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let (one, other, third) = (node(&store), node(&store), node(&store));
    let mut eve = subscribed(&other, "sure:*");
    let gone = subscribed(&third, "**");
    drop((gone, third));
    for round in 0..3 {
        match round {
            1 => _ = store.say(&["FLUSHALL"]),
            2 => {
                store.kill();
                store.run();
                [&one, &other].into_iter().for_each(linked);
            }
            _ => {}
        }
        // What each node receives is known again to the other.
        let room = format!("sure:{round}");
        let mut ada = Talk::joined(&one, &room);
        eventually("it is published", || {
            let publish = json!({"type": "publish", "room": room, "data": round});
            ada.ask(publish)["type"] == "ok"
        });
        assert_eq!(datas(&mut eve, 1), [json!(round)]);
        ada.publish(&room, "next");
        assert_eq!(datas(&mut eve, 1), ["next"]);
    }
}
