//! Redis is killed, stopped, emptied and set back; nobody is lied to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{is, linked, node, unlinked, with};
use crate::server::{PATIENCE, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

/// Whether Redis is why: it was not asked, or it was and has not answered.
pub(crate) fn is_refused_by_redis(answer: &Value) -> bool {
    answer["code"] == "unavailable" || answer["code"] == "timeout"
}

/// Publishes until it is taken; what was refused was refused by name, with a hint.
pub(crate) fn publish_at_last(talk: &mut Talk, room: &str, data: &Value) -> Value {
    let began = Instant::now();
    loop {
        let answer = talk.ask(json!({"type": "publish", "room": room, "data": data}));
        if answer["type"] == "ok" {
            return answer;
        }
        assert!(is_refused_by_redis(&answer), "{answer}");
        assert!(answer["retry_after_ms"].as_u64().unwrap() > 0, "{answer}");
        assert!(began.elapsed() < Duration::from_secs(60), "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first offset that this gets once Redis is back: a room may take a moment longer than the link
/// until it is opened there, and does without places until then.
fn first_place(talk: &mut Talk, room: &str, data: &Value) -> Value {
    let mut place = json!(null);
    eventually("it has a place", || {
        place = publish_at_last(talk, room, data)["offset"].clone();
        !place.is_null()
    });
    place
}

/// Everything that a client was told of a room, until it hears what is published now.
fn told(talk: &mut Talk, last: &Value) -> Vec<Value> {
    let (mut told, began) = (Vec::new(), Instant::now());
    loop {
        assert!(began.elapsed() < PATIENCE, "{last} never came: {told:?}");
        let event = match talk.heard.is_empty() {
            true => {
                let id = talk.send(json!({"type": "ping"}));
                let pong = talk.answer(id);
                assert_eq!(pong["type"], "pong");
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            false => talk.heard.remove(0),
        };
        let is_last = event["type"] == "message" && event["data"] == *last;
        if event["type"] == "message" || event["type"] == "gap" {
            told.push(event);
        }
        if is_last {
            return told;
        }
    }
}

/// Checks that whoever was told this was told every offset once, as a message or in a gap; the last
/// place.
pub(crate) fn accounted(told: &[Value]) -> (String, u64) {
    let (mut epoch, mut last) = (String::new(), 0);
    for event in told {
        let now = event["epoch"].as_str().unwrap();
        let (from, to) = match event["type"].as_str() {
            Some("gap") => (event["from"].as_u64().unwrap(), event["to"].as_u64().unwrap()),
            _ => (event["offset"].as_u64().unwrap(), event["offset"].as_u64().unwrap()),
        };
        if epoch != now {
            assert!(
                epoch.is_empty() || event["reason"] == "epoch_changed",
                "{event} after {epoch}"
            );
            (epoch, last) = (now.to_owned(), from - 1);
        }
        assert_eq!(from, last + 1, "{event} after {last}: {told:?}");
        last = to;
    }
    (epoch, last)
}

#[test]
fn what_was_acknowledged_outlives_kills_of_a_redis_that_writes_always() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    let nodes = [node(&store), node(&store)];
    let mut talks: Vec<_> = nodes.iter().map(|node| Talk::joined(node, "safe:a")).collect();
    let mut kept: Vec<(Value, Value)> = Vec::new();
    for round in 0..2 {
        for n in 0..20 {
            for talk in &mut talks {
                let data = json!([round, n]);
                let answer = publish_at_last(talk, "safe:a", &data);
                kept.push((answer["offset"].clone(), data));
            }
        }
        // In the middle of a publish.
        let id = talks[0].send(json!({"type": "publish", "room": "safe:a", "data": "unknown"}));
        store.kill();
        let answer = talks[0].answer(id);
        assert!(answer["type"] == "ok" || is_refused_by_redis(&answer), "{answer}");
        let refused = talks[1].ask(json!({"type": "publish", "room": "safe:a", "data": 0}));
        assert!(is_refused_by_redis(&refused), "{refused}");
        store.run();
        nodes.iter().for_each(linked);
    }
    let last = json!("last");
    publish_at_last(&mut talks[0], "safe:a", &last);
    let heard: Vec<_> = talks.iter_mut().map(|talk| told(talk, &last)).collect();
    let places: Vec<_> = heard.iter().map(|heard| accounted(heard)).collect();
    assert_eq!(places[0], places[1], "all are at the same place");
    assert_eq!(heard[0], heard[1]);
    assert!(heard[0].iter().all(|event| event["type"] == "message"), "nothing was lost");
    for (offset, data) in kept {
        let found = heard[0].iter().find(|event| event["offset"] == offset);
        assert_eq!(found.map(|event| &event["data"]), Some(&data), "at {offset}");
    }
}

#[test]
fn an_emptied_redis_begins_a_new_epoch_of_which_all_are_told() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut talks: Vec<_> = nodes.iter().map(|node| Talk::joined(node, "sure:a")).collect();
    for n in 1..=5 {
        talks[0].publish("sure:a", n);
    }
    talks.iter_mut().for_each(|talk| assert_eq!(talk.messages(5).len(), 5));
    assert_eq!(store.say(&["FLUSHALL"]), "+OK");
    // Someone who has seen nothing of it opens the room first.
    let stranger = node(&store);
    let mut stranger = Talk::joined(&stranger, "sure:a");
    stranger.publish("sure:a", "s");
    talks.push(stranger);
    let last = json!("last");
    publish_at_last(&mut talks[1], "sure:a", &last);
    let heard: Vec<_> = talks.iter_mut().map(|talk| told(talk, &last)).collect();
    let places: Vec<_> = heard.iter().map(|heard| accounted(heard)).collect();
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    for heard in &heard {
        let gap = heard.iter().find(|event| event["type"] == "gap").expect("a gap");
        assert_eq!(gap["reason"], "epoch_changed");
    }
}

#[test]
fn a_redis_that_has_lost_the_newest_is_found_out() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&["dbfilename old.rdb"]);
    let nodes = [node(&store), node(&store)];
    let mut ada = Talk::joined(&nodes[0], "sure:a");
    for n in 1..=5 {
        ada.publish("sure:a", n);
    }
    assert_eq!(store.say(&["SAVE"]), "+OK");
    for n in 6..=10 {
        ada.publish("sure:a", n);
    }
    let first = ada.messages(10)[0].0.clone();
    // Only one node has seen what is lost; the other one goes on from what is there.
    store.kill();
    nodes[0].signal("STOP");
    store.run();
    linked(&nodes[1]);
    let mut eve = Talk::joined(&nodes[1], "sure:a");
    let mut ours = Vec::new();
    for n in 1..=8 {
        ours.push(eve.publish("sure:a", json!(["eve", n])));
    }
    nodes[0].signal("CONT");
    eventually("the node that was stopped is linked again", || {
        nodes[0].metric("ringroom_bridge_connects_total", "") >= 2.0
    });
    linked(&nodes[0]);
    let last = json!("last");
    publish_at_last(&mut ada, "sure:a", &last);
    let mut heard = vec![told(&mut ada, &last), told(&mut eve, &last)];
    let places: Vec<_> = heard.iter().map(|heard| accounted(heard)).collect();
    assert_eq!(places[0], places[1], "{heard:?}");
    assert_ne!(places[0].0, first, "what was seen and lost ends the epoch");
    heard.retain(|heard| !heard.iter().any(|event| event["reason"] == "epoch_changed"));
    assert!(heard.is_empty(), "not told: {heard:?}");
}

#[test]
fn best_effort_goes_on_without_redis_and_reliable_says_that_it_does_not() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    let nodes = [node(&store), node(&store)];
    let mut ada = Talk::joined(&nodes[0], "a");
    let mut bob = Talk::joined(&nodes[0], "a");
    let mut eve = Talk::joined(&nodes[1], "a");
    assert_eq!(ada.publish("a", 1), 1);
    // It is acknowledged before it comes.
    assert_eq!([&mut bob, &mut eve].map(|talk| talk.messages(1)[0].1), [1, 1]);
    store.kill();
    nodes.iter().for_each(|node| is(node, "lost"));
    assert_eq!(nodes[0].control("/ready").status, 200, "by default, a node is ready without");
    let answer = ada.ok(json!({"type": "publish", "room": "a", "data": "here"}));
    assert_eq!(answer["offset"], json!(null), "it has no place");
    let (_, offset, data) = bob.messages(1).remove(0);
    assert_eq!((offset, data), (0, json!("here")));
    // Who joins meanwhile is told of another life, and of its end.
    let mut zoe = Talk::to(&nodes[0]);
    let joined = zoe.ok(json!({"type": "join", "room": "new"}));
    assert_eq!(joined["recovered"], false);
    assert!(joined["epoch"].as_str().unwrap().starts_with("0."), "{joined}");
    assert_eq!(joined["local"], true);
    // So is what was known of a room before.
    let joined = zoe.ok(json!({"type": "join", "room": "a"}));
    assert_eq!((&joined["offset"], &joined["local"]), (&json!(1), &json!(true)), "{joined}");
    let refused = zoe.ask(json!({"type": "publish", "room": "sure:new", "data": 0}));
    assert_eq!(refused["code"], "not_joined", "{refused}");
    zoe.ok(json!({"type": "join", "room": "sure:new"}));
    let refused = zoe.ask(json!({"type": "publish", "room": "sure:new", "data": 0}));
    assert_eq!(refused["code"], "unavailable", "{refused}");
    store.run();
    nodes.iter().for_each(linked);
    assert_eq!(first_place(&mut ada, "a", &json!(2)), 2);
    let (_, offset, data) = eve.messages(1).remove(0);
    assert_eq!((offset, data), (2, json!(2)));
    assert_eq!(first_place(&mut zoe, "new", &json!("n")), 1);
    let joined = zoe.ok(json!({"type": "join", "room": "new"}));
    assert!(joined["local"].is_null(), "{joined}");
}

#[test]
fn a_redis_that_stands_still_is_waited_for_no_longer_than_is_said() {
    if is_missing() {
        return;
    }
    let store = Store::durable();
    let nodes = [node(&store), node(&store)];
    let mut ada = Talk::joined(&nodes[0], "sure:a");
    let mut eve = Talk::joined(&nodes[1], "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    store.signal("STOP");
    let began = Instant::now();
    let publish = json!({"type": "publish", "room": "sure:a", "data": 2, "key": "k"});
    let refused = ada.ask(publish.clone());
    assert_eq!(refused["code"], "timeout", "whether it was kept is not known: {refused}");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    // One second by its settings; the rest is for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    nodes.iter().for_each(|node| is(node, "lost"));
    store.signal("CONT");
    nodes.iter().for_each(linked);
    // Whether the first attempt was kept is not known, and the key makes it one.
    let mut answer = ada.ask(publish.clone());
    while answer["type"] != "ok" {
        answer = ada.ask(publish.clone());
    }
    assert_eq!(answer["offset"], 2, "{answer}");
    let last = json!("last");
    publish_at_last(&mut eve, "sure:a", &last);
    let heard = [told(&mut ada, &last), told(&mut eve, &last)];
    assert_eq!(accounted(&heard[0]).1, 3, "{heard:?}");
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn a_node_that_begins_without_redis_serves_and_is_linked_when_there_is_one() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    store.kill();
    let node = unlinked(&store, &[]);
    let mut ada = Talk::joined(&node, "a");
    store.run();
    linked(&node);
    // Until the room is open there too, it goes on without places.
    eventually("the room is open", || {
        let answer = publish_at_last(&mut ada, "a", &json!(1));
        answer["epoch"].as_str().is_some_and(|epoch| epoch.starts_with("1."))
    });
}

#[test]
fn a_node_may_be_asked_to_be_ready_only_with_redis() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let node = unlinked(&store, &["redis.ready_without=false"]);
    linked(&node);
    assert_eq!(node.control("/ready").status, 200);
    store.kill();
    is(&node, "lost");
    assert_eq!(node.control("/ready").status, 503);
    assert_eq!(node.control("/live").status, 200);
    store.run();
    linked(&node);
    assert_eq!(node.control("/ready").status, 200);
}

#[test]
fn an_ear_that_is_cut_off_is_made_again_and_what_it_missed_is_told() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let mut talk = Talk::joined(&node, "sure:a");
    for n in 0..30 {
        if n % 10 == 9 {
            // As Redis does with who does not read what it is told.
            assert!(store.say(&["CLIENT", "KILL", "TYPE", "PUBSUB"]).starts_with(':'));
        }
        publish_at_last(&mut talk, "sure:a", &json!(n));
    }
    let last = json!("last");
    publish_at_last(&mut talk, "sure:a", &last);
    let heard = told(&mut talk, &last);
    accounted(&heard);
    assert!(heard.iter().all(|event| event["type"] == "message"), "{heard:?}");
}

/// How many connections hear what is published.
fn ears(store: &Store) -> usize {
    store.read(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).lines().count()
}

/// By a UNIX socket, which holds little of what is not read.
#[test]
fn a_node_that_redis_gives_up_for_not_reading_misses_nothing() {
    if is_missing() {
        return;
    }
    let socket = crate::server::folder().join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    let limit = "client-output-buffer-limit pubsub 262144 0 0";
    let store = Store::start(&[&format!("unixsocket {}", socket.display()), limit]);
    let url = format!("redis.url=unix://{}", socket.display());
    let nodes = [node(&store), with(&[&url, "limits.outbox_bytes=8388608"])];
    nodes.iter().for_each(linked);
    let mut ada = Talk::joined(&nodes[0], "sure:a");
    let mut eve = Talk::joined(&nodes[1], "sure:a");
    let all = ears(&store);
    nodes[1].signal("STOP");
    let text = "x".repeat(4_096);
    for n in 0..500 {
        publish_at_last(&mut ada, "sure:a", &json!([n, text]));
    }
    eventually("Redis gives it up", || ears(&store) < all);
    nodes[1].signal("CONT");
    let last = json!("last");
    publish_at_last(&mut ada, "sure:a", &last);
    let heard = told(&mut eve, &last);
    accounted(&heard);
    assert!(heard.iter().all(|event| event["type"] == "message"), "{:?}", heard.first());
    assert_eq!(heard.len(), 501);
}
