//! What a user has acknowledged in a guaranteed room counts on every node.

use serde_json::{Value, json};

use crate::node::{is, linked};
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, user};

const ROOM: &str = "owed:a";

/// A node whose sessions end with their connections: nobody resumes.
fn node(store: &Store) -> Server {
    let settings =
        ["session.ttl_ms=0", "redis.reconnect_max_ms=200", "limits.connections_per_user=0"];
    node_with(store, &["default"], &settings)
}

/// A user in the room, and what the answer to their join says.
fn reader(node: &Server, name: &str) -> (Talk, Value) {
    let mut talk = user(node, name, "default");
    let joined = talk.ok(json!({"type": "join", "room": ROOM}));
    (talk, joined)
}

fn ack(talk: &mut Talk, offset: u64) {
    talk.ok(json!({"type": "ack", "room": ROOM, "offset": offset}));
}

/// Waits until Redis has this of a reader: where they began, how far they acknowledged, and how far
/// they were sent something.
fn is_kept(store: &Store, name: &str, words: &str) {
    let field = format!("u{name}");
    eventually(&format!("Redis has {words:?} of {name}"), || {
        let keys = store.list(&["KEYS", "ringroom:{*}:a"]);
        keys.iter().any(|key| {
            let all = store.list(&["HGETALL", key]);
            all.chunks_exact(2).any(|pair| pair[0] == field && pair[1] == words)
        })
    });
}

/// The next messages: their offsets, and whether they say that they may have come before.
fn offsets(talk: &mut Talk, count: usize) -> Vec<(u64, bool)> {
    let all = (0..count).map(|_| talk.event("message"));
    all.map(|it| (it["offset"].as_u64().unwrap(), it["redelivered"] == true)).collect()
}

/// Ann gets five, acknowledges two, and so does Redis know. Bob stays.
fn five_of_which_two_were_acknowledged(store: &Store, nodes: &[Server]) -> (Talk, Talk) {
    let (mut ann, _) = reader(&nodes[0], "ann");
    let (mut bob, _) = reader(&nodes[1], "bob");
    for n in 1..=5 {
        assert_eq!(bob.publish(ROOM, n), n);
    }
    assert!(offsets(&mut ann, 5).into_iter().eq((1..=5).map(|offset| (offset, false))));
    ack(&mut ann, 2);
    is_kept(store, "ann", "0 2 +");
    (ann, bob)
}

#[test]
fn what_was_not_acknowledged_on_one_node_comes_again_on_another() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let (ann, mut bob) = five_of_which_two_were_acknowledged(&store, &nodes);
    drop(ann);
    is_kept(&store, "ann", "0 2 5");
    assert_eq!(bob.publish(ROOM, 6), 6);
    let (mut ann, joined) = reader(&nodes[1], "ann");
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(true), &json!(6)));
    assert_eq!(offsets(&mut ann, 4), [(3, true), (4, true), (5, true), (6, false)]);
    assert!(ann.hears_no_more("message"));
    // And back: what was acknowledged there counts here.
    ack(&mut ann, 5);
    drop(ann);
    is_kept(&store, "ann", "0 5 6");
    let (mut ann, _) = reader(&nodes[0], "ann");
    assert_eq!(offsets(&mut ann, 1), [(6, true)]);
    // Who leaves wants nothing of it any more.
    ann.ok(json!({"type": "leave", "room": ROOM}));
    eventually("Redis has forgotten ann", || {
        let keys = store.list(&["KEYS", "ringroom:{*}:a"]);
        keys.iter().all(|key| !store.list(&["HKEYS", key]).contains(&"uann".to_owned()))
    });
    let (mut ann, _) = reader(&nodes[1], "ann");
    assert!(ann.hears_no_more("message"));
}

#[test]
fn a_killed_node_has_left_what_its_users_had_acknowledged() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let (_ann, mut bob) = five_of_which_two_were_acknowledged(&store, &nodes);
    nodes[0].signal("KILL");
    assert_eq!(bob.publish(ROOM, 6), 6);
    let (mut ann, joined) = reader(&nodes[1], "ann");
    assert_eq!(joined["recovered"], true);
    // How much the node had sent nobody knows: any of it may come for the second time.
    assert_eq!(offsets(&mut ann, 4), [(3, true), (4, true), (5, true), (6, true)]);
    assert!(ann.hears_no_more("message"));
}

#[test]
fn what_is_acknowledged_while_redis_is_away_is_kept_when_it_is_back() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    let nodes = [node(&store), node(&store)];
    let (mut ann, _bob) = five_of_which_two_were_acknowledged(&store, &nodes);
    store.kill();
    nodes.iter().for_each(|node| is(node, "lost"));
    ack(&mut ann, 4);
    // Nobody is left in the room here, and still it is not forgotten.
    drop(ann);
    eventually("ann is gone", || nodes[0].metric("ringroom_connections_open", "") == 0.0);
    store.run();
    nodes.iter().for_each(linked);
    is_kept(&store, "ann", "0 4 5");
    let (mut ann, _) = reader(&nodes[1], "ann");
    assert_eq!(offsets(&mut ann, 1), [(5, true)]);
    assert!(ann.hears_no_more("message"));
    eventually("the room is let go", || nodes[0].metric("ringroom_rooms", "") == 0.0);
}

#[test]
fn a_node_that_drains_has_told_all_that_was_acknowledged() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let mut nodes = [node(&store), node(&store)];
    let (mut ann, _bob) = five_of_which_two_were_acknowledged(&store, &nodes);
    // One word of the room is on its way for long; what is to be said behind it is not forgotten.
    assert_eq!(store.say(&["CLIENT", "PAUSE", "1500", "ALL"]), "+OK");
    ack(&mut ann, 3);
    std::thread::sleep(std::time::Duration::from_millis(300));
    ack(&mut ann, 4);
    nodes[0].signal("TERM");
    drop(ann);
    assert_eq!(nodes[0].ended().code(), Some(0));
    let (mut ann, _) = reader(&nodes[1], "ann");
    assert_eq!(offsets(&mut ann, 1), [(5, true)]);
    assert!(ann.hears_no_more("message"));
}

/// Notes users in a room by the script itself, of whom there may be `most`.
fn mark(store: &Store, most: &str, users: &[[&str; 4]]) -> Vec<String> {
    const SCRIPT: &str = include_str!("../../src/bridge/script/mark.lua");
    let keys = ["{r}a", "{r}s", "{r}h"];
    let mut words = vec!["EVAL", SCRIPT, "3"];
    words.extend(keys);
    words.extend(["1.x", "60000", most]);
    words.extend(users.iter().flatten());
    store.say(&words);
    let all = store.list(&["HGETALL", "{r}a"]);
    let mut pairs: Vec<_> = all.chunks_exact(2).map(|it| it.join("=")).collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn redis_keeps_no_more_than_it_may_of_readers_and_nothing_of_another_life() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    assert!(mark(&store, "2", &[["ua", "0", "0", "+"]]).is_empty(), "there is no such room");
    store.say(&["HSET", "{r}s", "epoch", "1.x", "offset", "9"]);
    for offset in 5..=9 {
        store.say(&["XADD", "{r}h", &format!("{offset}-0"), "p", "x"]);
    }
    let both = [["ua", "0", "3", "9"], ["ub", "0", "4", "+"]];
    assert_eq!(mark(&store, "2", &both), ["e=1.x", "ua=0 3 9", "ub=0 4 +"]);
    // Nothing goes back, and a newcomer's place replaces nothing.
    let later = [["ua", "0", "2", "8"], ["ub", "7", "7", "9"]];
    assert_eq!(mark(&store, "2", &later), ["e=1.x", "ua=0 3 9", "ub=0 4 9"]);
    // Of what ann has not acknowledged some is gone from the history: she makes room.
    assert_eq!(mark(&store, "2", &[["uc", "9", "9", "+"]]), ["e=1.x", "ub=0 4 9", "uc=9 9 +"]);
    assert_eq!(mark(&store, "2", &[["ud", "9", "9", "+"]]), ["e=1.x", "ub=0 4 9", "uc=9 9 +"]);
    let anew = [["ub", "", "", ""], ["ub", "8", "8", "+"]];
    assert_eq!(mark(&store, "2", &anew), ["e=1.x", "ub=8 8 +", "uc=9 9 +"]);
    assert!(store.say(&["PTTL", "{r}a"]).trim_start_matches(':').parse::<u64>().unwrap() > 0);
    store.say(&["HSET", "{r}a", "e", "0.old"]);
    assert_eq!(mark(&store, "2", &[["ua", "9", "9", "+"]]), ["e=1.x", "ua=9 9 +"]);
}
