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
pub(crate) fn is_kept(store: &Store, name: &str, words: &str) {
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

/// Ann gets five, acknowledges two, and so does Redis know. Bob, who came first and owns the room, stays.
fn five_of_which_two_were_acknowledged(store: &Store, nodes: &[Server]) -> (Talk, Talk) {
    let (mut bob, _) = reader(&nodes[1], "bob");
    let (mut ann, _) = reader(&nodes[0], "ann");
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
    is_forgotten(&store, "ann");
    let (mut ann, _) = reader(&nodes[1], "ann");
    assert!(ann.hears_no_more("message"));
}

fn is_forgotten(store: &Store, name: &str) {
    let field = format!("u{name}");
    eventually(&format!("Redis has forgotten {name}"), || {
        let keys = store.list(&["KEYS", "ringroom:{*}:a"]);
        keys.iter().all(|key| !store.list(&["HKEYS", key]).contains(&field))
    });
}

/// Somebody who owns the room, is in it, and has made others members.
fn owner(node: &Server, room: &str, members: &[&str]) -> Talk {
    let mut ann = user(node, "ann", "default");
    let config = json!({"persistent": true, "parent_inherit": true});
    ann.ok(json!({"type": "room.create", "room": room, "config": config}));
    ann.ok(json!({"type": "join", "room": room}));
    for name in members {
        ann.ok(json!({"type": "room.role", "room": room, "user": name, "role": "member"}));
    }
    ann
}

#[test]
fn a_member_is_owed_what_is_published_before_they_come_though_all_nodes_begin_anew() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let mut nodes = [node(&store), node(&store)];
    let mut ann = owner(&nodes[0], ROOM, &["bob"]);
    is_kept(&store, "bob", "0 0 -0");
    assert_eq!(ann.publish(ROOM, 1), 1);
    nodes.iter().for_each(|node| node.signal("KILL"));
    nodes = [node(&store), node(&store)];
    // Places are known for as long as the room is, though nobody acknowledges anything.
    let key = store.list(&["KEYS", "ringroom:{*}:a"]).remove(0);
    store.say(&["PEXPIRE", &key, "60000"]);
    let mut eve = user(&nodes[1], "eve", "default");
    assert_eq!(eve.ask(json!({"type": "history", "room": ROOM}))["type"], "ok");
    let left = store.say(&["PTTL", &key]).trim_start_matches(':').parse::<u64>().unwrap();
    assert_eq!(left.div_ceil(86_400_000), 14, "days, twice what the room has");
    let (mut ann, _) = reader(&nodes[0], "ann");
    assert_eq!(ann.publish(ROOM, 2), 2);
    let (mut bob, _) = reader(&nodes[1], "bob");
    assert_eq!(offsets(&mut bob, 2), [(1, false), (2, false)]);
    // Who leaves is owed what follows as a member, wherever they come next.
    ack(&mut bob, 2);
    bob.ok(json!({"type": "leave", "room": ROOM}));
    is_kept(&store, "bob", "0 2 -2");
    assert_eq!(ann.publish(ROOM, 3), 3);
    let (mut bob, _) = reader(&nodes[0], "bob");
    assert_eq!(offsets(&mut bob, 1), [(3, false)]);
    drop(bob);
    is_kept(&store, "bob", "0 2 3");
    // They have not left: what they are owed does not go with the role.
    ann.ok(json!({"type": "room.role", "room": ROOM, "user": "bob", "role": "guest"}));
    assert_eq!(ann.publish(ROOM, 4), 4);
    let (mut bob, _) = reader(&nodes[1], "bob");
    assert_eq!(offsets(&mut bob, 2), [(3, true), (4, false)]);
    bob.ok(json!({"type": "leave", "room": ROOM}));
    is_forgotten(&store, "bob");
}

#[test]
fn with_a_role_or_by_a_ban_goes_what_is_owed_to_those_who_have_not_come() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut ann = owner(&nodes[0], ROOM, &["bob", "cat"]);
    let (_dan, _) = reader(&nodes[1], "dan");
    for name in ["bob", "cat"] {
        is_kept(&store, name, "0 0 -0");
    }
    ann.publish(ROOM, 1);
    ann.ok(json!({"type": "room.role", "room": ROOM, "user": "bob", "role": "guest"}));
    ann.ok(json!({"type": "room.ban", "room": ROOM, "user": "cat"}));
    ann.ok(json!({"type": "room.unban", "room": ROOM, "user": "cat"}));
    for name in ["bob", "cat"] {
        is_forgotten(&store, name);
        let (mut comes, _) = reader(&nodes[0], name);
        assert!(comes.hears_no_more("message"), "{name}");
    }
}

#[test]
fn a_member_of_the_room_above_is_owed_what_is_published_below_on_other_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut ann = owner(&nodes[0], ROOM, &[]);
    let below = "owed:a/b";
    let mut bob = owner(&nodes[1], below, &[]);
    ann.ok(json!({"type": "room.role", "room": ROOM, "user": "cat", "role": "member"}));
    // In the room above, and in this one.
    eventually("Redis has a place of cat in both", || {
        let keys = store.list(&["KEYS", "ringroom:{*}:a"]);
        let has = |key: &&String| store.list(&["HKEYS", key]).contains(&"ucat".to_owned());
        keys.iter().filter(has).count() == 2
    });
    assert_eq!(bob.publish(below, 1), 1);
    let mut cat = user(&nodes[0], "cat", "default");
    cat.ok(json!({"type": "join", "room": below}));
    assert_eq!(offsets(&mut cat, 1), [(1, false)]);
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
    // A member who has not come to a node may have come to another, and may have left.
    let members = [["ub", "9", "9", "-0"], ["uc", "9", "9", "-9"]];
    assert_eq!(mark(&store, "9", &members), ["e=1.x", "ub=8 8 +", "uc=9 9 -9"]);
    let none = [["ub", "", "", "-"], ["uc", "", "", "-"], ["ud", "", "", "-"]];
    assert_eq!(mark(&store, "9", &none), ["e=1.x", "ub=8 8 +"]);
    let goes = [["ub", "8", "8", "3"], ["ud", "9", "9", "-0"]];
    assert_eq!(mark(&store, "9", &goes), ["e=1.x", "ub=8 8 3", "ud=9 9 -0"]);
    // Nodes tell of one who has not come yet: the first place holds.
    let others = [["ud", "7", "7", "-0"], ["ud", "8", "8", "-0"], ["ub", "1", "1", "-0"]];
    assert_eq!(mark(&store, "9", &others), ["e=1.x", "ub=8 8 3", "ud=7 7 -0"]);
    let leaves = [["ub", "8", "8", "-1"], ["ud", "6", "6", "+"]];
    assert_eq!(mark(&store, "9", &leaves), ["e=1.x", "ub=8 8 -3", "ud=6 6 +"]);
    assert_eq!(mark(&store, "9", &[["ub", "8", "8", "5"]]), ["e=1.x", "ub=8 8 5", "ud=6 6 +"]);
    assert!(store.say(&["PTTL", "{r}a"]).trim_start_matches(':').parse::<u64>().unwrap() > 0);
    store.say(&["HSET", "{r}a", "e", "0.old"]);
    assert_eq!(mark(&store, "2", &[["ua", "9", "9", "+"]]), ["e=1.x", "ua=9 9 +"]);
}
