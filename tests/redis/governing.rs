//! Rooms that are governed from any node: what one decides holds on all, and when it is started again.

use serde_json::{Value, json};

use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, user};

fn node(store: &Store) -> Server {
    node_with(store, &["default"], &["redis.reconnect_max_ms=200", "limits.connections_per_user=0"])
}

fn act(talk: &mut Talk, what: &str, user: &str) {
    talk.ok(json!({"type": what, "room": "a", "user": user}));
}

/// A room that ann has made on the first node, with bob in it on the second.
fn scene(store: &Store) -> ([Server; 2], Talk, Talk) {
    let nodes = [node(store), node(store)];
    let mut ann = user(&nodes[0], "ann", "default");
    let config = json!({"persistent": true, "slow_mode_ms": 0, "metadata": {"topic": "tea"}});
    let made = ann.ok(json!({"type": "room.create", "room": "a", "config": config}));
    assert_eq!(
        (&made["role"], &made["config"]["metadata"]["topic"]),
        (&json!("owner"), &json!("tea"))
    );
    ann.ok(json!({"type": "join", "room": "a"}));
    let mut bob = user(&nodes[1], "bob", "default");
    bob.ok(json!({"type": "join", "room": "a"}));
    (nodes, ann, bob)
}

#[test]
fn a_ban_holds_on_all_nodes_before_its_answer_comes_or_soon_after() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, mut ann, mut bob) = scene(&store);
    act(&mut ann, "room.ban", "bob");
    let left = bob.event("left");
    assert_eq!((&left["reason"], &left["by"]), (&json!("banned"), &json!("ann")));
    assert_eq!(bob.ask(json!({"type": "join", "room": "a"}))["code"], "banned");
    let mut elsewhere = user(&nodes[0], "bob", "default");
    assert_eq!(elsewhere.ask(json!({"type": "join", "room": "a"}))["code"], "banned");
    act(&mut ann, "room.unban", "bob");
    eventually("bob may come back", || {
        bob.ask(json!({"type": "join", "room": "a"}))["type"] == "ok"
    });
}

#[test]
fn roles_mutes_and_configuration_are_told_and_hold_on_other_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, mut ann, mut bob) = scene(&store);
    act(&mut ann, "room.mute", "bob");
    assert_eq!(bob.event("room")["change"], "muted");
    let refused = bob.ask(json!({"type": "publish", "room": "a", "data": 1}));
    assert_eq!(refused["code"], "muted");
    act(&mut ann, "room.unmute", "bob");
    assert_eq!(bob.event("room")["change"], "unmuted");
    ann.ok(json!({"type": "room.role", "room": "a", "user": "bob", "role": "admin"}));
    let told = bob.event("room");
    assert_eq!((&told["change"], &told["role"]), (&json!("role"), &json!("admin")));
    // And now bob governs, from the other node.
    bob.ok(json!({"type": "room.update", "room": "a", "config": {"password": "sesame", "type": "protected"}}));
    assert_eq!(ann.event("room")["change"], "updated");
    let mut cat = user(&nodes[0], "cat", "default");
    assert_eq!(cat.ask(json!({"type": "join", "room": "a"}))["type"], "error");
    cat.ok(json!({"type": "join", "room": "a", "password": "sesame"}));
    act(&mut bob, "room.kick", "cat");
    assert_eq!(cat.event("left")["reason"], "kicked");
}

#[test]
fn slow_mode_holds_on_all_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, mut ann, mut bob) = scene(&store);
    let slow = json!({"slow_mode_ms": 3_600_000});
    ann.ok(json!({"type": "room.update", "room": "a", "config": slow}));
    assert_eq!(bob.event("room")["change"], "updated");
    bob.publish("a", 1);
    let mut elsewhere = user(&nodes[0], "bob", "default");
    elsewhere.ok(json!({"type": "join", "room": "a"}));
    let refused = elsewhere.ask(json!({"type": "publish", "room": "a", "data": 2}));
    assert_eq!(refused["code"], "rate_limited");
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 3_000_000, "{refused}");
    // Each user has a pace of their own.
    ann.publish("a", 3);
    // It is nobody's fault but theirs.
    for node in &nodes {
        assert_eq!(node.metric("ringroom_bridge_failed_total", ""), 0.0);
    }
    // Who publishes again in time is not refused where the first message took a little longer to Redis.
    let paces = store.list(&["KEYS", "*:w:*"]);
    assert_eq!(paces.len(), 2);
    for pace in paces {
        let left_ms: u64 = store.say(&["PTTL", &pace])[1..].parse().unwrap();
        assert!(left_ms <= 3_600_000 - 250, "{left_ms}");
    }
}

#[test]
fn a_room_exists_once_and_ends_everywhere() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, mut ann, mut bob) = scene(&store);
    let again = bob.ask(json!({"type": "room.create", "room": "a"}));
    assert_eq!(again["code"], "room_exists");
    let third = node(&store);
    let mut eve = user(&third, "eve", "default");
    let info = eve.ok(json!({"type": "room.info", "room": "a"}));
    assert_eq!(
        (&info["config"]["metadata"], &info["member_count"]),
        (&json!({"topic": "tea"}), &json!(1))
    );
    assert_eq!(bob.ask(json!({"type": "room.delete", "room": "a"}))["code"], "forbidden");
    ann.ok(json!({"type": "room.delete", "room": "a"}));
    assert_eq!(bob.event("left")["reason"], "room_deleted");
    eventually("it is gone for all", || {
        eve.ask(json!({"type": "room.info", "room": "a"}))["code"] == "not_found"
    });
    // Whoever comes first now owns another one.
    let joined = bob.ok(json!({"type": "join", "room": "a"}));
    assert_eq!(joined["role"], "owner");
    drop(nodes);
}

#[test]
fn what_was_decided_is_known_when_all_nodes_are_started_again() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, mut ann, bob) = scene(&store);
    act(&mut ann, "room.ban", "cat");
    ann.ok(json!({"type": "room.role", "room": "a", "user": "bob", "role": "moderator"}));
    drop((ann, bob, nodes));
    let node = node(&store);
    let mut bob = user(&node, "bob", "default");
    let joined = bob.ok(json!({"type": "join", "room": "a"}));
    assert_eq!(joined["role"], "moderator");
    let info = bob.ok(json!({"type": "room.info", "room": "a"}));
    assert_eq!(info["config"]["metadata"], json!({"topic": "tea"}));
    let mut cat = user(&node, "cat", "default");
    assert_eq!(cat.ask(json!({"type": "join", "room": "a"}))["code"], "banned");
}

#[test]
fn two_who_govern_at_once_lose_nothing() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (nodes, ann, _bob) = scene(&store);
    let other = user(&nodes[1], "ann", "default");
    let mut hands = [ann, other];
    let role = |at: usize, round: usize| {
        let name = format!("u{at}x{round}");
        json!({"type": "room.role", "room": "a", "user": name, "role": "member"})
    };
    let mut asked: Vec<Vec<u64>> = vec![Vec::new(), Vec::new()];
    for round in 0..50 {
        for (at, hand) in hands.iter_mut().enumerate() {
            asked[at].push(hand.send(role(at, round)));
        }
    }
    for (at, hand) in hands.iter_mut().enumerate() {
        for (round, id) in asked[at].iter().enumerate() {
            let answer = hand.answer(*id);
            // A busy machine may not be done in the time that a node waits for Redis.
            if crate::outage::is_refused_by_redis(&answer) {
                eventually("it is decided", || hand.ask(role(at, round))["type"] == "ok");
            } else {
                assert_eq!(answer["type"], "ok", "{answer}");
            }
        }
    }
    let list = |hand: &mut Talk| -> Value {
        hand.ok(json!({"type": "room.members", "room": "a", "limit": 1000}))["members"].clone()
    };
    eventually("both nodes know all", || {
        hands.iter_mut().all(|hand| list(hand).as_array().unwrap().len() == 101)
    });
}

#[test]
fn nothing_is_decided_without_redis_and_all_again_with_it() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let (_nodes, mut ann, mut bob) = scene(&store);
    store.kill();
    eventually("it is refused", || {
        let refused = ann.ask(json!({"type": "room.mute", "room": "a", "user": "bob"}));
        refused["code"] == "unavailable" && refused["retry_after_ms"].is_u64()
    });
    // A Redis that has forgotten all of it is told by those who know.
    store.run();
    eventually("it is decided again", || {
        ann.ask(json!({"type": "room.mute", "room": "a", "user": "bob"}))["type"] == "ok"
    });
    // A node that hears of it only with all else there is to know does not tell bob, but goes by it.
    eventually("it holds on the other node", || {
        bob.ask(json!({"type": "publish", "room": "a", "data": 1}))["code"] == "muted"
    });
    let members = bob.ok(json!({"type": "room.members", "room": "a"}));
    assert_eq!(members["members"][0]["user"], "ann");
}

#[test]
fn who_is_invited_hears_of_it_on_nodes_where_nobody_is_in_the_room() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [(); 3].map(|()| node_with(&store, &["default", "alpha"], &[]));
    let mut ann = user(&nodes[0], "ann", "default");
    let mut bobs: Vec<_> = nodes[..2].iter().map(|node| user(node, "bob", "default")).collect();
    let mut other = user(&nodes[1], "bob", "alpha");
    eventually("all are listened to", || {
        nodes[1].metric("ringroom_bridge_rooms", "") >= 4.0
            && nodes[0].metric("ringroom_bridge_rooms", "") >= 3.0
    });
    let config = json!({"type": "invite_only", "persistent": true});
    ann.ok(json!({"type": "room.create", "room": "a", "config": config}));
    let invite = json!({"type": "room.invite", "room": "a", "user": "bob", "role": "moderator"});
    ann.ok(invite.clone());
    for bob in &mut bobs {
        let told = bob.event("room");
        let expected = json!({"type": "room", "room": "a", "change": "invited", "by": "ann",
                              "role": "moderator"});
        assert_eq!(told, expected);
        assert!(bob.hears_no_more("room"), "once");
    }
    assert!(other.hears_no_more("room"), "another tenant's");
    let mut late = user(&nodes[2], "bob", "default");
    assert_eq!(late.event("room")["change"], "invited");
    let index = || store.list(&["KEYS", "*:i"]).len();
    assert_eq!(index(), 1);
    assert_eq!(late.ok(json!({"type": "join", "room": "a"}))["role"], "moderator");
    assert!(user(&nodes[1], "bob", "default").hears_no_more("room"), "they are in it");
    eventually("nothing is kept of it", || index() == 0);
}
