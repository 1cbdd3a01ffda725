//! Backends that know nothing but `PUBLISH` reach the connections of one tenant on all nodes.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::{is, linked, node, unlinked, with};
use crate::server::{Plan, Server, eventually};
use crate::states::{login, rule};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, user};

const ON: &str = "redis.interop.enabled=true";

/// Says something, and how many connections to Redis heard it.
fn publish(store: &Store, channel: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    store.say(&[b"PUBLISH".as_slice(), channel.as_ref(), payload.as_ref()])
}

/// Waits until so many nodes listen.
fn listened_to_by(store: &Store, nodes: usize) {
    let wanted = format!(":{nodes}");
    eventually("the nodes listen", || publish(store, "ws:room:nobody", "0") == wanted);
}

/// What became of messages on a node.
fn outcome(node: &Server, outcome: &str) -> f64 {
    let label = format!("outcome=\"{outcome}\"");
    node.metric("ringroom_bridge_interop_total", &label)
}

/// Everything that has come to a connection so far: what it is told is in order.
fn heard(talk: &mut Talk) -> Vec<Value> {
    talk.ok(json!({"type": "rooms"}));
    let messages = talk.heard.extract_if(.., |event| event["type"] == "message");
    messages.map(|message| message["data"].clone()).collect()
}

#[test]
fn each_kind_reaches_its_own_on_all_nodes_and_no_other_tenant() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let tenants = ["alpha", "beta"];
    let settings = [ON, "redis.interop.tenant=alpha"];
    let nodes = [0, 1].map(|_| node_with(&store, &tenants, &settings));
    listened_to_by(&store, 2);
    // On each node: ann and bob of one tenant, ann of the other; the anns are in a room.
    let mut strangers: Vec<_> = nodes.iter().map(|node| user(node, "ann", "beta")).collect();
    let mut anns: Vec<_> = nodes.iter().map(|node| user(node, "ann", "alpha")).collect();
    let mut bobs: Vec<_> = nodes.iter().map(|node| user(node, "bob", "alpha")).collect();
    for talk in strangers.iter_mut().chain(&mut anns) {
        talk.ok(json!({"type": "join", "room": "chat:42"}));
    }
    let name = |talk: &Talk| talk.welcome["connection"].as_str().unwrap().to_owned();
    let stranger = name(&strangers[0]);
    let to_ann = format!("ws:connection:{}", name(&anns[1]));
    // What is said to one room stands in its order; so each is awaited before the next is said.
    for (channel, data, room, ann_hears, bob_hears) in [
        ("ws:room:chat:42", json!({"kind": "room"}), "chat:42", [true, true], false),
        ("ws:user:ann", json!(["user", 1.5]), "@user/ann", [true, true], false),
        (&to_ann, json!("connection"), "@user/ann", [false, true], false),
        (&format!("ws:connection:{stranger}"), json!("not theirs"), "", [false, false], false),
        ("ws:room:elsewhere", json!("of nobody"), "", [false, false], false),
        ("ws:broadcast", json!(null), "@all", [true, true], true),
    ] {
        assert_eq!(publish(&store, channel, data.to_string()), ":2", "{channel}");
        let anns = anns.iter_mut().zip(ann_hears).filter(|(_, hears)| *hears);
        let bobs = bobs.iter_mut().filter(|_| bob_hears);
        for talk in anns.map(|(talk, _)| talk).chain(bobs) {
            let message = talk.event("message");
            assert_eq!((&message["room"], &message["data"]), (&json!(room), &data));
            assert!(message["at"].is_u64(), "{message}");
            for absent in ["offset", "epoch", "from", "event"] {
                assert_eq!(message.get(absent), None, "{message}");
            }
        }
    }
    // Each node has one core, which has told its own everything by now.
    for talk in anns.iter_mut().chain(&mut bobs).chain(&mut strangers) {
        assert_eq!(heard(talk), [] as [Value; 0]);
    }
    // Nothing of it is kept, and the room goes on where it was.
    assert_eq!(anns[0].publish("chat:42", "placed"), 1);
    assert_eq!(anns[1].event("message")["offset"], 1);
}

#[test]
fn what_is_no_message_is_refused_and_counted_and_harms_nobody() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = unlinked(&store, &[ON]);
    linked(&node);
    listened_to_by(&store, 1);
    let mut ann = Talk::joined(&node, "a");
    let large = format!("\"{}\"", "x".repeat(65_535));
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let payloads: [&[u8]; 9] = [
        b"",
        b" ",
        b"hello",
        b"{\"a\":1",
        b"1 2",
        b"\"\xff\xfe\"",
        b"\x00\x01\x02",
        b"\x81\xa1a\x01",
        deep.as_bytes(),
    ];
    for payload in payloads {
        assert_eq!(publish(&store, "ws:room:a", payload), ":1");
    }
    for _ in 0..2 {
        assert_eq!(publish(&store, "ws:broadcast", &large), ":1");
    }
    let long = format!("ws:room:{}", "x".repeat(100_000));
    let channels: [&[u8]; 14] = [
        b"ws:",
        b"ws::",
        b"ws:room",
        b"ws:room:",
        b"ws:user:",
        b"ws:connection:",
        b"ws:connection:*",
        b"ws:broadcast:",
        b"ws:rooms:a",
        b"ws:room:@all",
        b"ws:room:@user/ann",
        b"ws:room:a\r\nPUBLISH",
        b"ws:room:\xff",
        long.as_bytes(),
    ];
    for channel in channels {
        assert_eq!(publish(&store, channel, "1"), ":1", "{}", channel.escape_ascii());
    }
    // Names that mean something in a pattern are names.
    for channel in ["ws:user:*", "ws:room:*", "ws:room:?", "ws:room:[a]", "ws:room:a:b"] {
        assert_eq!(publish(&store, channel, "1"), ":1");
    }
    for channel in ["ws", "xws:room:a", "WS:room:a"] {
        assert_eq!(publish(&store, channel, "1"), ":0");
    }
    publish(&store, "ws:room:a", "\"good\"");
    assert_eq!(ann.event("message")["data"], "good");
    assert_eq!(heard(&mut ann), [] as [Value; 0]);
    assert_eq!(outcome(&node, "not_json"), 9.0);
    assert_eq!(outcome(&node, "too_large"), 2.0);
    assert_eq!(outcome(&node, "unknown_channel"), 14.0);
    assert_eq!(outcome(&node, "overload"), 0.0);
    // The one that was waited for, those that are names, the good one.
    assert!(outcome(&node, "handed_on") >= 7.0);
    assert!(node.log().contains("messages of backends were not handed on"), "{}", node.log());
    let told = node.log().matches("messages of backends were not handed on").count();
    assert!(told < 14, "it is told once in a while: {told} times");
}

#[test]
fn nobody_listens_unless_it_is_asked_for() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let mut ann = Talk::joined(&node, "a");
    for channel in ["ws:room:a", "ws:broadcast"] {
        assert_eq!(publish(&store, channel, "1"), ":0");
    }
    assert_eq!(store.say(&["PUBSUB", "NUMPAT"]), ":0");
    assert_eq!(heard(&mut ann), [] as [Value; 0]);
}

#[test]
fn it_goes_on_with_another_prefix_after_redis_was_killed() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let node = unlinked(&store, &[ON, "redis.interop.prefix=app.v2/ws:"]);
    linked(&node);
    let mut ann = Talk::joined(&node, "a");
    for turn in 0..3 {
        let heard = || publish(&store, "app.v2/ws:room:a", turn.to_string()) == ":1";
        eventually("the node listens", heard);
        assert_eq!(ann.event("message")["data"], turn);
        assert_eq!(publish(&store, "ws:room:a", "0"), ":0");
        // A dot means itself.
        assert_eq!(publish(&store, "appxv2/ws:room:a", "0"), ":0");
        if turn < 2 {
            store.kill();
            is(&node, "lost");
            store.run();
            linked(&node);
        }
    }
}

#[test]
fn all_cores_are_told_and_each_connection_hears_it_once() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let url = format!("redis.url={}", store.url());
    let node = Plan::new().cores(2).set(&url).set(ON).start();
    linked(&node);
    listened_to_by(&store, 1);
    let mut talks: Vec<_> = (0..16).map(|_| Talk::joined(&node, "a")).collect();
    for turn in 0..20 {
        let channel = if turn % 2 == 0 { "ws:room:a" } else { "ws:broadcast" };
        publish(&store, channel, turn.to_string());
    }
    for (at, talk) in talks.iter().enumerate() {
        let name = talk.welcome["connection"].as_str().unwrap();
        publish(&store, format!("ws:connection:{name}"), (100 + at).to_string());
    }
    publish(&store, "ws:room:a", "1000");
    for (at, talk) in talks.iter_mut().enumerate() {
        let mut heard: Vec<_> = talk.messages(22).into_iter().map(|(_, _, data)| data).collect();
        // Of what was said in one tick, each room's has its own order.
        heard.sort_by_key(Value::as_u64);
        let wanted: Vec<_> = (0..20).chain([100 + at, 1000]).map(Value::from).collect();
        assert_eq!(heard, wanted);
    }
    for talk in &mut talks {
        assert_eq!(heard(talk), [] as [Value; 0]);
    }
}

#[test]
fn in_a_cluster_it_is_heard_once_wherever_it_is_said() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let url = cluster.url();
    let nodes = [0, 1].map(|_| with(&[&*url, "redis.cluster=true", ON]));
    nodes.iter().for_each(linked);
    let mut talks: Vec<_> = nodes.iter().map(|node| Talk::joined(node, "a")).collect();
    let mut said = 0_u64;
    let mut heard_by = [Vec::new(), Vec::new()];
    for store in &cluster.stores {
        // Servers do not repeat what they had no link for, so it may have to be said again.
        let before = said;
        eventually("both nodes have heard this server", || {
            said += 1;
            publish(store, "ws:room:a", said.to_string());
            for (talk, all) in talks.iter_mut().zip(&mut heard_by) {
                all.extend(heard(talk).iter().filter_map(Value::as_u64));
            }
            heard_by.iter().all(|all| all.iter().any(|number| *number > before))
        });
    }
    for (talk, all) in talks.iter_mut().zip(&mut heard_by) {
        assert!(talk.hears_no_more("never"), "time for what is on its way");
        all.extend(heard(talk).iter().filter_map(Value::as_u64));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "something was heard twice");
    }
}

#[test]
fn the_documented_addition_to_the_rule_is_enough_and_without_it_only_this_is_denied() {
    if is_missing() {
        return;
    }
    let login = login();
    let settings = [ON, &login[0], &login[1]];
    let backend = "user default on nopass resetkeys allchannels -@all +publish";
    let store = Store::start(&[&rule("&ws:* +psubscribe"), backend]);
    let node = unlinked(&store, &settings);
    linked(&node);
    listened_to_by(&store, 1);
    let mut ann = Talk::joined(&node, "a");
    publish(&store, "ws:room:a", "1");
    assert_eq!(ann.event("message")["data"], 1);

    // Without it rooms go on, and nobody is left in doubt.
    let store = Store::start(&[&rule(""), backend]);
    let node = unlinked(&store, &settings);
    linked(&node);
    eventually("it is told", || node.log().contains("backends are not listened to"));
    assert!(node.log().contains("denied"), "{}", node.log());
    let mut ann = Talk::joined(&node, "a");
    assert_eq!(ann.publish("a", "of the room"), 1);
    assert_eq!(node.metric("ringroom_bridge_interop_up", ""), 0.0);
    assert_eq!(publish(&store, "ws:room:a", "1"), ":0");
}

#[test]
fn a_backend_that_says_too_much_for_redis_cuts_off_no_room() {
    if is_missing() {
        return;
    }
    // Redis ends a listener for whom so many bytes wait: one large message is too much.
    let store = Store::start(&["client-output-buffer-limit pubsub 32768 0 0"]);
    let node = unlinked(&store, &[ON]);
    linked(&node);
    let mut ann = Talk::joined(&node, "sure:a");
    for turn in 1..=3 {
        listened_to_by(&store, 1);
        publish(&store, "ws:room:sure:a", format!("\"small {turn}\""));
        assert_eq!(ann.event("message")["data"], format!("small {turn}"));
        publish(&store, "ws:room:sure:a", format!("\"{}\"", "x".repeat(60_000)));
        let told = || node.log().matches("backends are not listened to").count();
        eventually("the listener is cut off", || told() >= turn);
        assert_eq!(ann.publish("sure:a", turn), turn as u64);
        assert_eq!(ann.event("message")["offset"], turn);
    }
    listened_to_by(&store, 1);
    eventually("it listens", || node.metric("ringroom_bridge_interop_up", "") == 1.0);
    assert_eq!(node.metric("ringroom_bridge_connects_total", ""), 1.0, "the link was never lost");
}
