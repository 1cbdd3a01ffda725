//! Any node goes on with a session: one that is dead, one that still has it, none at all.

use serde_json::{Value, json};

use crate::node::{linked, node, unlinked};
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users;

/// Somebody in a room, with a state, of whom Redis knows; and their session.
fn somebody(store: &Store, node: &Server, room: &str) -> (Talk, String) {
    let mut ada = Talk::to(node);
    let session = ada.welcome["session"].as_str().unwrap().to_owned();
    ada.ok(json!({"type": "join", "room": room}));
    ada.ok(json!({"type": "state.set", "data": {"a": [1, 2]}}));
    is_told(store, r#"{"a":[1,2]}"#);
    (ada, session)
}

/// Waits until what Redis has of some session mentions this.
fn is_told(store: &Store, word: &str) {
    eventually("Redis knows of the session", || {
        let keys = store.list(&["KEYS", "ringroom:session:*"]);
        keys.iter().any(|key| store.list(&["HGETALL", key]).join(" ").contains(word))
    });
}

fn resumed(node: &Server, session: &str) -> Talk {
    let talk = Talk::at(node, &format!("/ws?session={session}"));
    assert_eq!(talk.welcome["recovered"], true, "{}", talk.welcome);
    assert_eq!(talk.welcome["session"], session);
    talk
}

fn data(messages: Vec<(String, u64, Value)>) -> Vec<Value> {
    messages.into_iter().map(|(_, _, data)| data).collect()
}

#[test]
fn a_killed_nodes_sessions_go_on_elsewhere_with_what_they_missed() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut eve = Talk::joined(&nodes[1], "sure:a");
    let (mut ada, session) = somebody(&store, &nodes[0], "sure:a");
    eve.publish("sure:a", 1);
    ada.messages(1);
    nodes[0].signal("KILL");
    eve.publish("sure:a", 2);
    let mut ada = resumed(&nodes[1], &session);
    assert_eq!(ada.welcome["rooms"][0]["room"], "sure:a");
    assert_eq!(data(ada.messages(2)), [json!(1), json!(2)]);
    assert_eq!(ada.ok(json!({"type": "state.get"}))["data"], json!({"a": [1, 2]}));
}

/// The node is there, and hears nothing: it is passed over before those who wait are given up.
#[test]
fn the_sessions_of_a_node_that_does_not_answer_go_on_elsewhere() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [0, 1].map(|_| unlinked(&store, &["redis.timeout_ms=600"]));
    nodes.iter().for_each(linked);
    let all: Vec<_> = (0..8).map(|_| somebody(&store, &nodes[0], "sure:a")).collect();
    eventually("Redis knows of all sessions", || {
        let keys = store.list(&["KEYS", "ringroom:session:*"]);
        let known = |key: &&String| store.list(&["HGETALL", key]).join(" ").contains("[1,2]");
        keys.iter().filter(known).count() == all.len()
    });
    nodes[0].signal("STOP");
    for (_, session) in &all {
        let talk = resumed(&nodes[1], session);
        assert_eq!(talk.welcome["rooms"][0]["room"], "sure:a");
    }
    nodes[0].signal("CONT");
}

/// A node hears nothing, and somebody who waits at another one for their session goes to a third, which
/// passes the first over sooner: nobody takes it from them for a connection that is gone.
#[test]
fn a_session_is_not_taken_for_somebody_who_went_elsewhere_meanwhile() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let timeouts = ["1000", "8000", "2000"].map(|ms| format!("redis.timeout_ms={ms}"));
    let nodes = timeouts.each_ref().map(|timeout| unlinked(&store, &[timeout]));
    nodes.iter().for_each(linked);
    for stays in [false, true] {
        let (_ada, session) = somebody(&store, &nodes[0], "sure:a");
        nodes[0].signal("STOP");
        let waits = Talk::open(&nodes[1], &format!("/ws?session={session}"));
        let mut again = resumed(&nodes[2], &session);
        let new = json!({"a": format!("newer {stays}")});
        again.ok(json!({"type": "state.set", "data": new}));
        // Who asked for it first, and is there still, gets it as it is by now.
        if stays {
            let mut first = waits;
            let welcome = first.first();
            assert_eq!(
                (&welcome["type"], &welcome["recovered"]),
                (&json!("welcome"), &json!(true))
            );
            assert_eq!(first.ok(json!({"type": "state.get"}))["data"], new);
            assert_eq!(again.event("disconnect")["reason"], "replaced");
        } else {
            drop(waits);
            // As long as that node would wait, and until the other one tells what it has.
            std::thread::sleep(std::time::Duration::from_millis(5_500));
            assert!(again.hears_no_more("disconnect"), "it was taken for nobody");
            let mut third = resumed(&nodes[1], &session);
            assert_eq!(third.ok(json!({"type": "state.get"}))["data"], new);
        }
        nodes[0].signal("CONT");
    }
}

#[test]
fn an_open_connection_elsewhere_is_replaced() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let (mut ada, session) = somebody(&store, &nodes[0], "sure:a");
    ada.publish("sure:a", 1);
    // Its place is answered before it comes with the room's news, and what was not sent is not acknowledged.
    ada.messages(1);
    ada.ok(json!({"type": "ack", "room": "sure:a", "offset": 1}));
    ada.publish("sure:a", 2);
    // A node that is slow to let go is passed over.
    ada.ok(json!({"type": "state.set", "data": {"a": [1, 2, 3]}}));
    is_told(&store, r#"{"a":[1,2,3]}"#);
    let mut again = resumed(&nodes[1], &session);
    assert_eq!(data(again.messages(1)), [json!(2)], "what was acknowledged does not come again");
    assert_eq!(ada.event("disconnect")["reason"], "replaced");
    // And back.
    let mut third = resumed(&nodes[0], &session);
    assert_eq!(third.ok(json!({"type": "state.get"}))["data"], json!({"a": [1, 2, 3]}));
    assert_eq!(again.event("disconnect")["reason"], "replaced");
}

#[test]
fn a_node_that_stands_still_is_passed_over_and_learns_of_it() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let (mut ada, session) = somebody(&store, &nodes[0], "sure:a");
    nodes[0].signal("STOP");
    let mut again = resumed(&nodes[1], &session);
    again.publish("sure:a", 1);
    nodes[0].signal("CONT");
    assert_eq!(ada.event("disconnect")["reason"], "replaced");
    assert!(again.hears_no_more("disconnect"));
}

#[test]
fn nobody_goes_on_with_anothers_session() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [0, 1].map(|_| users::node_with(&store, &["default", "alpha"], &[]));
    let mut ada = users::user(&nodes[0], "ada", "alpha");
    let session = ada.welcome["session"].as_str().unwrap().to_owned();
    ada.ok(json!({"type": "join", "room": "a"}));
    ada.ok(json!({"type": "state.set", "data": "hers"}));
    is_told(&store, "hers");
    drop(ada);
    for (name, tenant, is_hers) in
        [("eve", "alpha", false), ("ada", "default", false), ("ada", "alpha", true)]
    {
        let more = format!("&session={session}");
        let talk = users::user_at(&nodes[1], name, tenant, &more);
        assert_eq!(talk.welcome["recovered"], is_hers, "{name} of {tenant}: {}", talk.welcome);
        assert_eq!(talk.welcome["session"] == session.as_str(), is_hers);
    }
}

#[test]
fn without_redis_a_node_resumes_what_it_had_itself() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let node = node(&store);
    let (ada, session) = somebody(&store, &node, "a");
    store.kill();
    crate::node::is(&node, "lost");
    drop(ada);
    let mut ada = resumed(&node, &session);
    assert_eq!(ada.ok(json!({"type": "state.get"}))["data"], json!({"a": [1, 2]}));
    assert_eq!(ada.welcome["rooms"][0]["local"], true, "{}", ada.welcome);
    store.run();
    linked(&node);
    eventually("the room is open there", || {
        let ada = resumed(&node, &session);
        ada.welcome["rooms"][0]["local"].is_null()
    });
}
