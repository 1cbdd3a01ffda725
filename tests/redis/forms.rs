//! Nodes of two versions on one Redis: they write the older form, or one of them says that it cannot.
//!
//! There is one form so far; what a node says that it knows is a setting.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::{is, linked, unlinked, with};
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

const KEY: &str = "ringroom:{nodes}:form";
/// How soon the form rises: not while a node that is there is only slow to say so.
const SOON: &str = "redis.older_form_ms=4000";
/// Beats come more often.
const SHORT: &str = "redis.lease_ms=2000";

/// A node that knows these forms.
fn knowing(store: &Store, oldest: u8, newest: u8, settings: &[&str]) -> Server {
    let (oldest, newest) =
        (format!("dev.oldest_form={oldest}"), format!("dev.newest_form={newest}"));
    let settings: Vec<_> = settings.iter().copied().chain([&*oldest, &*newest]).collect();
    unlinked(store, &settings)
}

fn health(node: &Server) -> Value {
    serde_json::from_str(&node.control("/health").text()).unwrap()
}

/// The form in which a node writes.
fn form(node: &Server) -> u64 {
    health(node)["redis_form"]["in_force"].as_u64().unwrap_or(0)
}

/// A node says of this form that it does not know it, wherever somebody looks, and does nothing.
fn is_barred(node: &Server, form: u64, own: (u8, u8)) {
    is(node, "other_version");
    let known = json!({"in_force": form, "min": own.0, "max": own.1});
    assert_eq!(health(node)["redis_form"], known);
    assert_eq!(health(node)["ready"], false);
    let ready = node.control("/ready");
    assert_eq!(ready.status, 503);
    let version = env!("CARGO_PKG_VERSION");
    let reason: Value = serde_json::from_str(&ready.text()).unwrap();
    assert_eq!(
        reason["reason"],
        format!(
            "the nodes on this Redis write in form {form}; this one, of version {version}, knows the \
             forms {} to {}",
            own.0, own.1
        )
    );
    let said = [format!("form={form}"), format!("oldest={}", own.0), format!("newest={}", own.1)];
    eventually("the log names both", || {
        node.log()
            .lines()
            .any(|line| line.contains(version) && said.iter().all(|word| line.contains(word)))
    });
    // In rooms of every mode; the cores hear of it a little later.
    let mut ann = Talk::to(node);
    for room in ["some", "sure:a"] {
        eventually("a join is refused", || {
            let answer = ann.ask(json!({"type": "join", "room": room}));
            answer["code"] == "unavailable" && answer["retry_after_ms"].is_u64()
        });
        let answer = ann.ask(json!({"type": "publish", "room": room, "data": 1}));
        assert_eq!(answer["type"], "error", "{answer}");
    }
}

/// Two nodes hear each other in a room.
fn talk(one: &Server, other: &Server, room: &str) {
    let (mut ann, mut bob) = (Talk::joined(one, room), Talk::joined(other, room));
    ann.publish(room, 1);
    bob.publish(room, 2);
    assert_eq!(ann.messages(2), bob.messages(2));
}

#[test]
fn nodes_of_another_version_are_not_mixed() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    assert_eq!(store.say(&["HSET", KEY, "form", "999"]), ":1");
    let node = unlinked(&store, &[]);
    is_barred(&node, 999, (1, 1));
    assert_eq!(store.say(&["HSET", KEY, "form", "1"]), ":0");
    linked(&node);
    assert_eq!(node.control("/ready").status, 200);
    assert_eq!(Talk::joined(&node, "sure:a").publish("sure:a", 1), 1);
}

#[test]
fn a_node_that_finds_that_the_others_have_gone_on_without_it_serves_nothing_more() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = unlinked(&store, &[SHORT]);
    linked(&node);
    let mut ann = Talk::joined(&node, "some");
    assert_eq!(store.say(&["HSET", KEY, "form", "2"]), ":0");
    is_barred(&node, 2, (1, 1));
    let answer = ann.ask(json!({"type": "publish", "room": "some", "data": 1}));
    assert_eq!(answer["code"], "unavailable", "{answer}");
    ann.ok(json!({"type": "leave", "room": "some"}));
    // What an emptied Redis does not know, it is told again.
    assert_eq!(store.say(&["FLUSHALL"]), "+OK");
    linked(&node);
    ann.ok(json!({"type": "join", "room": "some"}));
    assert_eq!(store.say(&["FLUSHALL"]), "+OK");
    eventually("the form is there again", || store.read(&["HGET", KEY, "form"]).trim() == "1");
}

#[test]
fn a_newer_node_writes_as_an_older_one_reads_until_that_has_been_gone_for_long() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let mut older = knowing(&store, 1, 1, &[SOON, SHORT]);
    let newer = knowing(&store, 1, 2, &[SOON, SHORT]);
    linked(&older);
    linked(&newer);
    talk(&older, &newer, "sure:a");
    // For longer than it stays for those that are not there.
    std::thread::sleep(std::time::Duration::from_millis(4_500));
    assert_eq!((form(&older), form(&newer)), (1, 1));
    talk(&newer, &older, "sure:b");
    older.signal("TERM");
    older.ended();
    eventually("the form rises", || form(&newer) == 2);
    is(&newer, "up");
    let late = knowing(&store, 1, 1, &[SOON, SHORT]);
    is_barred(&late, 2, (1, 1));
    // One that knows no other now, and one that both know.
    let newest = knowing(&store, 2, 3, &[SOON, SHORT]);
    linked(&newest);
    talk(&newer, &newest, "sure:c");
    assert_eq!((form(&newest), form(&newer)), (2, 2));
}

#[test]
fn nodes_that_begin_at_once_agree_on_a_form_that_both_know() {
    if is_missing() {
        return;
    }
    for round in 0..4 {
        let store = Store::start(&[]);
        let (older, newer) = std::thread::scope(|scope| {
            let older = scope.spawn(|| knowing(&store, 1, 1, &[]));
            let newer = scope.spawn(|| knowing(&store, 1, 3, &[]));
            (older.join().unwrap(), newer.join().unwrap())
        });
        linked(&older);
        linked(&newer);
        assert_eq!((form(&older), form(&newer)), (1, 1), "round {round}");
        talk(&older, &newer, "sure:a");
    }
}

#[test]
fn in_a_cluster_no_server_is_used_before_one_has_told_the_form() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let set = |form: &str| {
        cluster.stores.iter().any(|store| !store.say(&["HSET", KEY, "form", form]).starts_with('-'))
    };
    eventually("the form is set", || set("7"));
    let node = with(&["redis.cluster=true", &cluster.url()]);
    is_barred(&node, 7, (1, 1));
    assert!(!node.log().contains("a link to Redis is up"), "{}", node.log());
    eventually("the form is set", || set("1"));
    linked(&node);
    assert_eq!(Talk::joined(&node, "sure:a").publish("sure:a", 1), 1);
}
