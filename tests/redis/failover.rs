//! A cluster whose slots move and whose primaries die, and a primary that Sentinels replace, under
//! load. What is acknowledged where a replica has to have it is there after it; what is lost
//! elsewhere is counted, and everyone is told.
//!
//! `REDIS_KILLS` is how often something is killed: two in the short form.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, Watched};
use crate::load::Load;
use crate::node::{linked, unlinked, with};
use crate::outage::publish_at_last;
use crate::server::{Server, eventually};
use crate::states::is_refused_as_unsafe;
use crate::store::{Store, is_missing};
use crate::talk::Talk;

fn kills() -> usize {
    let kills = std::env::var("REDIS_KILLS").ok();
    kills.map_or(2, |kills| kills.parse().expect("a number"))
}

fn names(kinds: &[&str], count: usize) -> Vec<String> {
    kinds.iter().flat_map(|kind| (0..count).map(move |n| format!("{kind}:{n}"))).collect()
}

/// Kills a primary that has answered for more than its replica has, and whose replica takes over.
fn kill_ahead(stores: &mut [Store], victim: usize) {
    let port = stores[victim].port.to_string();
    let follows = |store: &&Store| store.fact("replication", "master_port") == port;
    let replica = stores.iter().position(|store| follows(&store)).expect("it has a replica");
    // What is in its socket already would still be read.
    stores[replica].signal("STOP");
    assert!(stores[victim].say(&["CLIENT", "KILL", "TYPE", "REPLICA"]).starts_with(':'));
    std::thread::sleep(Duration::from_millis(500));
    stores[victim].kill();
    stores[replica].signal("CONT");
}

/// A room that asks for replicas takes publications.
fn takes(node: &Server, room: &str) {
    publish_at_last(&mut Talk::joined_at_last(node, room), room, &json!(0));
}

#[test]
fn slots_move_under_load_and_nothing_is_lost() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let settings = [&*cluster.url(), "redis.cluster=true"];
    let nodes = [with(&settings), with(&settings)];
    nodes.iter().for_each(linked);
    let rooms = names(&["sure"], 4);
    let load = Load::start(&nodes, &rooms);
    for room in rooms.iter().cycle().take(2 * rooms.len()) {
        std::thread::sleep(Duration::from_millis(100));
        cluster.move_slot(room);
    }
    std::thread::sleep(Duration::from_millis(300));
    let found = load.end();
    assert!(found.acknowledged > 50 && found.lost.values().all(|lost| *lost == 0), "{found:?}");
    let moved = nodes[0].metric("ringroom_bridge_silenced_total", "");
    assert!(moved >= rooms.len() as f64, "{moved} subscriptions were ended by Redis");
}

#[test]
fn primaries_of_a_cluster_die_under_load() {
    if is_missing() {
        return;
    }
    let mut cluster = Cluster::start();
    let settings = [&*cluster.url(), "redis.cluster=true"];
    let nodes = [with(&settings), with(&settings)];
    nodes.iter().for_each(linked);
    nodes.iter().for_each(|node| takes(node, "twice:0"));
    let rooms = names(&["sure", "twice"], 3);
    let load = Load::start(&nodes, &rooms);
    for n in 0..kills() {
        std::thread::sleep(Duration::from_millis(500));
        let victim = cluster.owner(&rooms[n % rooms.len()]);
        kill_ahead(&mut cluster.stores, victim);
        cluster.replaced(victim);
        cluster.stores[victim].run();
        cluster.is_whole();
    }
    let found = load.end();
    nodes.iter().for_each(linked);
    let lost = |kind: &str| -> usize {
        found.lost.iter().filter(|it| it.0.starts_with(kind)).map(|it| it.1).sum()
    };
    assert_eq!(lost("twice"), 0, "what a replica had to have is there: {found:?}");
    assert!(found.acknowledged > 50, "{found:?}");
}

#[test]
fn a_primary_that_sentinels_replace_dies_under_load() {
    if is_missing() {
        return;
    }
    let mut watched = Watched::start();
    let settings = watched.settings();
    let settings = settings.each_ref().map(String::as_str);
    let nodes = [with(&settings), with(&settings)];
    nodes.iter().for_each(linked);
    nodes.iter().for_each(|node| takes(node, "twice:0"));
    let rooms = names(&["sure", "twice"], 1);
    let load = Load::start(&nodes, &rooms);
    for _ in 0..kills() {
        std::thread::sleep(Duration::from_millis(500));
        let victim = watched.primary();
        kill_ahead(&mut watched.stores, victim);
        eventually("its replica takes over", || watched.primary() != victim);
        watched.stores[victim].run();
        watched.is_whole();
        // Nodes look now and then whether there are replicas: it is published there between two kills.
        nodes.iter().for_each(|node| takes(node, "twice:0"));
    }
    let found = load.end();
    nodes.iter().for_each(linked);
    assert_eq!(found.lost["twice:0"], 0, "what a replica had to have is there: {found:?}");
    assert!(found.acknowledged > 50, "{found:?}");
}

#[test]
fn a_room_that_asks_for_more_replicas_than_there_are_says_so() {
    if is_missing() {
        return;
    }
    let primary = Store::start(&["repl-diskless-sync-delay 0"]);
    let node = crate::node::node(&primary);
    let answer = Talk::to(&node).ask(json!({"type": "join", "room": "twice:a"}));
    assert_eq!(answer["code"], "unavailable", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("N replicas online"), "{answer}");
    let follows = format!("replicaof 127.0.0.1 {}", primary.port);
    let replica = Store::start(&[&follows]);
    let mut ada = Talk::joined_at_last(&node, "twice:a");
    let publish = json!({"type": "publish", "room": "twice:a", "data": 1});
    publish_at_last(&mut ada, "twice:a", &json!(1));
    // It no longer answers, and the primary has not noticed yet.
    replica.signal("STOP");
    let mut counted = publish.clone();
    counted["receipt"] = "delivered".into();
    for publish in [&publish, &counted] {
        let answer = ada.ask(publish.clone());
        assert_eq!(answer["code"], "timeout", "whether it stays is not known: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("replicas"), "{answer}");
    }
    // Others do not wait for it.
    assert_eq!(Talk::joined(&node, "sure:a").publish("sure:a", 1), 1);
    replica.signal("CONT");
    eventually("it is taken again", || ada.ask(publish.clone())["type"] == "ok");
}

#[test]
fn a_replica_that_stands_still_holds_up_neither_the_link_nor_another_room() {
    if is_missing() {
        return;
    }
    let primary = Store::start(&["repl-diskless-sync-delay 0"]);
    let node = crate::node::node(&primary);
    let follows = format!("replicaof 127.0.0.1 {}", primary.port);
    let replica = Store::start(&[&follows]);
    takes(&node, "twice:a");
    let (mut ada, mut eve) = (Talk::joined(&node, "twice:a"), Talk::joined(&node, "sure:a"));
    replica.signal("STOP");
    // Each in a tick of its own, and more than may be on their way to a server.
    let mut waiting = Vec::new();
    for n in 0..40 {
        waiting.push(ada.send(json!({"type": "publish", "room": "twice:a", "data": n})));
        ada.ask(json!({"type": "ping"}));
        assert_eq!(eve.publish("sure:a", n), n + 1, "others do not wait for it");
    }
    for id in waiting {
        let answer = ada.answer(id);
        assert_eq!(answer["code"], "timeout", "whether it stays is not known: {answer}");
    }
    assert_eq!(eve.publish("sure:a", "after"), 41);
    let connects = node.metric("ringroom_bridge_connects_total", "");
    assert!((connects - 1.0).abs() < 0.5, "the link was lost: {connects}");
    replica.signal("CONT");
    takes(&node, "twice:a");
}

#[test]
fn a_room_waits_for_no_replica_that_only_others_ask_for() {
    if is_missing() {
        return;
    }
    let primary = Store::start(&["repl-diskless-sync-delay 0"]);
    let follows = format!("replicaof 127.0.0.1 {}", primary.port);
    let replicas = [Store::start(&[&follows]), Store::start(&[&follows])];
    // Half of it is how long Redis waits for the one that does not answer.
    let node = unlinked(&primary, &["redis.timeout_ms=20000"]);
    linked(&node);
    let rooms = ["thrice:a", "twice:a"];
    rooms.iter().for_each(|room| takes(&node, room));
    let mut ada = Talk::joined(&node, rooms[0]);
    ada.ok(json!({"type": "join", "room": rooms[1]}));
    replicas[0].signal("STOP");
    let publish = |room| json!({"type": "publish", "room": room, "data": 1});
    let waits = ada.send(publish(rooms[0]));
    ada.ok(publish(rooms[1]));
    assert!(ada.heard.iter().all(|it| it["id"] != waits), "{:?}", ada.heard);
    replicas[0].signal("CONT");
    assert_eq!(ada.answer(waits)["type"], "ok");
}

#[test]
fn what_a_primary_keeps_that_is_none_any_more_holds_nobody_back() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::with(&["appendonly yes", "appendfsync always"]);
    assert_eq!(cluster.stores[0].say(&["CONFIG", "SET", "appendfsync", "everysec"]), "+OK");
    let node = with(&[&cluster.url(), "redis.cluster=true"]);
    linked(&node);
    let mut rooms = names(&["safe"], 100).into_iter();
    let is_of_second = |room: &String| {
        (5_461..10_923).contains(&cluster.slot(room).parse::<u16>().expect("a number"))
    };
    let room = rooms.find(is_of_second).expect("there is one");
    let (mut ada, join) = (Talk::to(&node), json!({"type": "join", "room": room}));
    let refused = ada.ask(join.clone());
    assert!(is_refused_as_unsafe(&refused), "{refused}");
    cluster.retire_first();
    eventually("the room opens", || ada.ask(join.clone())["type"] == "ok");
    eventually("it is published", || {
        ada.ask(json!({"type": "publish", "room": room, "data": 1}))["type"] == "ok"
    });
}
