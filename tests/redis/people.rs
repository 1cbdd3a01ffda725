//! Who is where: presence over nodes, nodes that end with their users, and the list of nodes.
//!
//! The long form: `NODE_KILLS=20 NODE_KILL_USERS=2000 cargo test --test redis killed -- --nocapture`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::node::{is, linked};
use crate::server::{PATIENCE, Server, eventually};
use crate::states::{login, stays};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, user};

const LEASE_MS: u64 = 4_000;

fn node(store: &Store) -> Server {
    let lease = format!("redis.lease_ms={LEASE_MS}");
    let settings = [
        lease.as_str(),
        "redis.reconnect_max_ms=200",
        "rate.messages_per_second=0",
        "presence.grace_ms=300",
        "admission.connections_per_ip=0",
        "heartbeat.interval_ms=600000",
    ];
    node_with(store, &["default"], &settings)
}

/// A user in a room who is told who comes and goes.
fn watcher(node: &Server, name: &str) -> Talk {
    let mut talk = user(node, name, "default");
    talk.ok(json!({"type": "join", "room": "a", "presence": true}));
    talk
}

fn member(node: &Server, name: &str) -> Talk {
    let mut talk = user(node, name, "default");
    talk.ok(json!({"type": "join", "room": "a"}));
    talk
}

fn count(talk: &mut Talk) -> u64 {
    talk.ok(json!({"type": "presence", "room": "a", "limit": 1}))["count"].as_u64().unwrap()
}

/// Waits until a user sees so many.
fn sees(talk: &mut Talk, users: u64) {
    eventually(&format!("{users} are there"), || count(talk) == users);
}

/// What was told of users until now, and how often.
fn notices(talk: &mut Talk) -> BTreeMap<String, u32> {
    // Large rooms tell a little later than they know.
    std::thread::sleep(Duration::from_millis(400));
    count(talk);
    let mut told = BTreeMap::new();
    for event in std::mem::take(&mut talk.heard) {
        if event["type"] == "presence" {
            let text = format!(
                "{} {}",
                event["action"].as_str().unwrap(),
                event["user"].as_str().unwrap()
            );
            *told.entry(text).or_insert(0) += 1;
        }
    }
    told
}

fn once(texts: &[&str]) -> BTreeMap<String, u32> {
    texts.iter().map(|text| ((*text).to_owned(), 1)).collect()
}

#[test]
fn all_nodes_tell_the_first_in_and_the_last_out_once_and_list_the_same() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store), node(&store)];
    let mut eves: Vec<_> = nodes.iter().map(|node| watcher(node, "eve")).collect();
    for eve in &mut eves {
        sees(eve, 1);
        notices(eve);
    }
    let mut anns: Vec<_> = (0..2).map(|at| member(&nodes[at], "ann")).collect();
    anns[1].ok(json!({"type": "presence.set", "room": "a", "info": {"mood": "fine"}}));
    for eve in &mut eves {
        eventually("all know of both", || {
            let list = eve.ok(json!({"type": "presence", "room": "a"}));
            list["users"][0] == json!({"user": "ann", "info": {"mood": "fine"}, "connections": 2})
        });
        let told = notices(eve);
        assert_eq!(told.get("join ann"), Some(&1), "{told:?}");
        assert!(told.keys().all(|it| it == "join ann" || it == "update ann"), "{told:?}");
    }
    // Who comes new to the room on any node is told the same.
    let late = user(&nodes[2], "late", "default").ok(json!({"type": "join", "room": "a"}));
    assert_eq!(late["user_count"], 3);
    for eve in &mut eves {
        eventually("late has gone", || notices(eve).contains_key("leave late"));
    }
    anns.remove(0);
    std::thread::sleep(Duration::from_millis(600));
    for eve in &mut eves {
        assert_eq!(notices(eve), once(&[]), "ann is still on another node");
    }
    anns.clear();
    for eve in &mut eves {
        sees(eve, 1);
        assert_eq!(notices(eve), once(&["leave ann"]));
    }
}

#[test]
fn what_is_written_otherwise_keeps_nobody_from_being_there() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut eve = watcher(&nodes[0], "eve");
    let mut rooms = Vec::new();
    eventually("Redis knows who is there", || {
        rooms = store.list(&["KEYS", "*:p"]);
        rooms.len() == 1
    });
    let fields = ["n0000000000000001", "3", "nobody", "?", "uzed", "?", "ubob", "?:1 \n"];
    let words = [&["HSET", &*rooms[0]], &fields[..]].concat();
    assert_eq!(store.say(&words), ":4");
    let mut zed = member(&nodes[1], "zed");
    // A node that says nothing in this life of the room is forgotten.
    sees(&mut zed, 2);
    sees(&mut eve, 2);
    drop(zed);
    sees(&mut eve, 1);
}

#[test]
fn who_comes_back_to_another_node_was_never_away() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut eve = watcher(&nodes[0], "eve");
    let ann = member(&nodes[0], "ann");
    sees(&mut eve, 2);
    notices(&mut eve);
    drop(ann);
    let ann = member(&nodes[1], "ann");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!((count(&mut eve), notices(&mut eve)), (2, once(&[])));
    drop(ann);
    sees(&mut eve, 1);
    assert_eq!(notices(&mut eve), once(&["leave ann"]));
}

/// What is in the environment, or this.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_users_of_a_node_that_is_killed_are_gone_everywhere_and_each_leave_is_told_once() {
    if is_missing() {
        return;
    }
    let (kills, users) = (number("NODE_KILLS", 2), number("NODE_KILL_USERS", 30));
    let store = Store::start(&[]);
    let survivors = [node(&store), node(&store)];
    let mut eves: Vec<_> = survivors.iter().map(|node| watcher(node, "eve")).collect();
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        let victim = node(&store);
        let names: Vec<_> = (0..users).map(|user| format!("u{user}")).collect();
        let talks: Vec<_> = names.iter().map(|name| member(&victim, name)).collect();
        // One of them has another device, on a node that stays.
        let mut stays = member(&survivors[0], "u0");
        for eve in &mut eves {
            sees(eve, users as u64 + 1);
            let told = notices(eve);
            assert_eq!((told.len(), told.values().max()), (users, Some(&1)), "{told:?}");
        }
        let began = Instant::now();
        drop(victim);
        for eve in &mut eves {
            sees(eve, 2);
        }
        let took = began.elapsed();
        assert!(took < Duration::from_millis(LEASE_MS) + PATIENCE, "{took:?}");
        slowest = slowest.max(took);
        let leaves: Vec<_> = names[1..].iter().map(|name| format!("leave {name}")).collect();
        let leaves: Vec<_> = leaves.iter().map(String::as_str).collect();
        for eve in &mut eves {
            assert_eq!(notices(eve), once(&leaves), "kill {kill}");
        }
        assert_eq!(count(&mut stays), 2);
        drop((talks, stays));
        for eve in &mut eves {
            sees(eve, 1);
            assert_eq!(notices(eve), once(&["leave u0"]));
        }
    }
    println!(
        "{kills} kills of {users} users: gone at the latest after {slowest:?} of {LEASE_MS} ms"
    );
}

#[test]
fn a_node_that_was_cut_off_comes_back_with_its_users() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let mut eve = watcher(&one, "eve");
    let mut ann = member(&other, "ann");
    sees(&mut eve, 2);
    notices(&mut eve);
    other.signal("STOP");
    sees(&mut eve, 1);
    assert_eq!(notices(&mut eve), once(&["leave ann"]));
    other.signal("CONT");
    sees(&mut eve, 2);
    assert_eq!(notices(&mut eve), once(&["join ann"]));
    sees(&mut ann, 2);
}

#[test]
fn a_redis_that_is_emptied_is_told_again_who_is_there() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let mut eve = watcher(&nodes[0], "eve");
    let mut ann = member(&nodes[1], "ann");
    sees(&mut eve, 2);
    sees(&mut ann, 2);
    notices(&mut eve);
    store.say(&["FLUSHALL"]);
    let _bob = member(&nodes[1], "bob");
    sees(&mut eve, 3);
    sees(&mut ann, 3);
    assert_eq!(notices(&mut eve), once(&["join bob"]));
    let third = node(&store);
    let late = user(&third, "late", "default").ok(json!({"type": "join", "room": "a"}));
    assert_eq!(late["user_count"], 4);
}

/// The nodes that one of them lists: their states, by their ids.
fn listed(node: &Server) -> BTreeMap<String, Value> {
    let text = node.control("/v1/nodes").text();
    let list: Value = serde_json::from_str(&text).unwrap();
    let nodes = list["nodes"].as_array().unwrap().clone();
    nodes.into_iter().map(|node| (node["id"].as_str().unwrap().to_owned(), node)).collect()
}

#[test]
fn nodes_list_each_other_and_see_a_drain_and_an_end() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, mut other) = (node(&store), node(&store));
    for node in [&one, &other] {
        eventually("both are listed", || {
            listed(node).values().filter(|it| it["cores"] == 1).count() == 2
        });
    }
    let nodes = listed(&one);
    let own = nodes.values().find(|it| it["self"] == true).unwrap();
    let theirs = nodes.values().find(|it| it["self"] == false).unwrap().clone();
    assert_eq!(own["addresses"], json!([one.address().to_string()]));
    assert_eq!(theirs["addresses"], json!([other.address().to_string()]));
    assert_eq!(theirs["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&theirs["state"], &theirs["cores"]), (&json!("up"), &json!(1)));
    let id = theirs["id"].as_str().unwrap().to_owned();
    let _ann = member(&other, "ann");
    eventually("its connection is listed", || listed(&one)[&id]["connections"] == 1);
    other.signal("TERM");
    eventually("its drain is seen, or its end", || {
        listed(&one).get(&id).is_none_or(|node| node["state"] == "draining")
    });
    other.ended();
    eventually("its end is seen", || !listed(&one).contains_key(&id));
    assert_eq!(listed(&one).len(), 1);
}

#[test]
fn nothing_is_said_of_nodes_that_nobody_can_tell_of() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&[]);
    let settings = ["redis.lease_ms=1000", "redis.advertise=ws://node-7.example:8000"];
    let nodes = ["default", "default"].map(|tenant| node_with(&store, &[tenant], &settings));
    let theirs = |node: &Server| listed(node).into_values().find(|it| it["self"] == false);
    for node in &nodes {
        eventually("the other is listed", || {
            theirs(node).is_some_and(|it| it["addresses"] == json!(["ws://node-7.example:8000"]))
        });
        assert_eq!(theirs(node).unwrap()["state"], "up");
    }
    store.kill();
    for node in &nodes {
        eventually("the other may be anything", || theirs(node).unwrap()["state"] == "unknown");
        let own = listed(node).into_values().find(|it| it["self"] == true).unwrap();
        assert_eq!(own["state"], "up");
    }
}

/// What a connection of a user is told first on a node with these settings.
fn comes(node: &Server, name: &str) -> (Talk, Value) {
    let mut talk = crate::users::connect(node, name, "default");
    let first = talk.first();
    (talk, first)
}

fn limited(store: &Store, overflow: &str) -> Server {
    let overflow = format!("limits.user_overflow={overflow}");
    let lease = format!("redis.lease_ms={LEASE_MS}");
    let settings = ["limits.connections_per_user=2", overflow.as_str(), lease.as_str()];
    node_with(store, &["default"], &settings)
}

#[test]
fn a_user_has_no_more_connections_than_may_be_on_all_nodes_together() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [limited(&store, "refuse"), limited(&store, "refuse")];
    let (first, told) = comes(&nodes[0], "ann");
    assert_eq!(told["type"], "welcome");
    let (_second, told) = comes(&nodes[1], "ann");
    assert_eq!(told["type"], "welcome");
    for node in &nodes {
        assert_eq!(comes(node, "ann").1["reason"], "connection_limit");
    }
    assert_eq!(comes(&nodes[1], "bob").1["type"], "welcome");
    drop(first);
    eventually("there is a place again", || comes(&nodes[1], "ann").1["type"] == "welcome");
    // What a node held that is killed does not count for ever.
    let [_, other] = nodes;
    let third = limited(&store, "refuse");
    let held: Vec<_> = (0..2).map(|_| comes(&third, "cat")).collect();
    assert_eq!(comes(&other, "cat").1["reason"], "connection_limit");
    drop(third);
    eventually("they do not count any more", || comes(&other, "cat").1["type"] == "welcome");
    drop(held);
}

/// Where a link came and went before all were told over it, some stand there under links that nobody else
/// hears of.
#[test]
fn a_connection_that_has_gone_is_counted_over_no_link() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = limited(&store, "refuse");
    let [(first, _), (_second, _)] = [(); 2].map(|()| comes(&node, "ann"));
    let key = store.list(&["KEYS", "*:places"]).remove(0);
    let places = || store.list(&["HKEYS", &key]);
    for told in places() {
        let (link, at) = told.split_once(' ').unwrap();
        let (id, number) = link.split_once('.').unwrap();
        let later = format!("{id}.{} {at}", number.parse::<u64>().unwrap() + 1);
        let since = store.read(&["HGET", &key, &told]);
        assert_eq!(store.say(&["HSET", &key, &later, since.trim()]), ":1");
    }
    drop(first);
    eventually("it has gone", || places().len() < 4);
    let left = places();
    let at = |told: &String| told.split_once(' ').unwrap().1.to_owned();
    assert_eq!((left.len(), at(&left[0])), (2, at(&left[1])), "{left:?}");
}

#[test]
fn the_oldest_connection_of_a_user_goes_on_whichever_node_it_is() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [limited(&store, "replace_oldest"), limited(&store, "replace_oldest")];
    let (mut first, _) = comes(&nodes[0], "ann");
    let (mut second, _) = comes(&nodes[1], "ann");
    let (_third, told) = comes(&nodes[1], "ann");
    assert_eq!(told["type"], "welcome");
    assert_eq!(first.event("disconnect")["reason"], "replaced");
    let (_fourth, told) = comes(&nodes[0], "ann");
    assert_eq!(told["type"], "welcome");
    assert_eq!(second.event("disconnect")["reason"], "replaced");
}

#[test]
fn the_oldest_connection_of_a_user_is_the_oldest_over_another_link_too() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let rights = ["on", ">a-long-enough-password", "~*", "&*", "+@all"];
    assert_eq!(store.say(&[&["ACL", "SETUSER", "ringroom"][..], &rights].concat()), "+OK");
    let [password, username] = login();
    let settings = ["limits.connections_per_user=2", "limits.user_overflow=replace_oldest"];
    let known = [&settings[..], &[&password, &username]].concat();
    let nodes = [&known[..], &settings[..]].map(|all| node_with(&store, &["default"], all));
    let (mut first, _) = comes(&nodes[0], "ann");
    let (_second, _) = comes(&nodes[1], "ann");
    let key = store.list(&["KEYS", "*:places"]).remove(0);
    let before = store.list(&["HKEYS", &key]);
    assert!(store.say(&["CLIENT", "KILL", "USER", "ringroom"]).starts_with(':'));
    eventually("the first is told anew", || {
        store.list(&["HKEYS", &key]).iter().any(|told| !before.contains(told))
    });
    let (_third, told) = comes(&nodes[1], "ann");
    assert_eq!(told["type"], "welcome");
    let left = store.list(&["HKEYS", &key]);
    let node = |told: &String| told.split_once('.').unwrap().0.to_owned();
    assert_eq!((left.len(), node(&left[0])), (2, node(&left[1])), "the first has gone: {left:?}");
    assert_eq!(first.event("disconnect")["reason"], "replaced");
}

/// Where memory is full, what keeps a node alive is written all the same; where Redis wants replicas
/// before it writes anything, nothing is.
#[test]
fn nobody_is_gone_because_redis_would_not_hear_of_them() {
    if is_missing() {
        return;
    }
    let lease = Duration::from_secs(2);
    let settings =
        ["limits.connections_per_user=2", "redis.lease_ms=2000", "presence.grace_ms=300"];
    let store = Store::start(&["maxmemory-policy noeviction"]);
    let nodes = [(); 2].map(|()| node_with(&store, &["default"], &settings));
    let mut watchers = [watcher(&nodes[0], "ann"), watcher(&nodes[1], "bob")];
    let _cats = nodes.each_ref().map(|node| comes(node, "cat"));
    watchers.iter_mut().for_each(|it| sees(it, 2));
    watchers.iter_mut().for_each(|it| drop(notices(it)));
    for setting in ["maxmemory", "min-replicas-to-write"] {
        assert_eq!(store.say(&["CONFIG", "SET", setting, "1"]), "+OK");
        let began = Instant::now();
        eventually("a lease has passed, and more", || began.elapsed() > lease * 3 / 2);
        assert_eq!(store.say(&["CONFIG", "SET", setting, "0"]), "+OK");
        for (node, watcher) in nodes.iter().zip(&mut watchers) {
            is(node, "up");
            stays(node, "up");
            assert_eq!(notices(watcher), once(&[]), "{setting}");
            assert_eq!(comes(node, "cat").1["reason"], "connection_limit", "{setting}");
        }
    }
}

#[test]
fn connections_of_users_are_counted_over_all_links_to_a_cluster() {
    if is_missing() {
        return;
    }
    let mut cluster = Cluster::start();
    let url = cluster.url();
    let settings = ["limits.connections_per_user=2", "redis.reconnect_max_ms=200"];
    let settings = [&settings[..], &[&url, "redis.cluster=true"]].concat();
    let nodes = [(); 2].map(|()| node_with(&cluster.stores[0], &["default"], &settings));
    // On whichever primary the slot of each is.
    let names: Vec<_> = (0..12).map(|n| format!("u{n}")).collect();
    let come = |name: &String| nodes.iter().map(|node| comes(node, name)).collect::<Vec<_>>();
    let mut talks: Vec<_> = names.iter().map(come).collect();
    assert!(talks.iter().flatten().all(|(_, told)| told["type"] == "welcome"));
    for victim in 0..2 {
        cluster.stores[victim].kill();
        // Redis may not hear of it.
        talks.iter_mut().skip(victim).step_by(2).for_each(Vec::clear);
        cluster.replaced(victim);
        cluster.stores[victim].run();
        cluster.is_whole();
        nodes.iter().for_each(linked);
        for (name, talks) in names.iter().zip(&mut talks) {
            if !talks.is_empty() {
                let is_refused = |node| comes(node, name).1["reason"] == "connection_limit";
                assert!(nodes.iter().all(is_refused), "{name}");
                continue;
            }
            eventually("there is a place again", || {
                talks.clear();
                talks.extend(come(name));
                talks.iter().all(|(_, told)| told["type"] == "welcome")
            });
        }
    }
}

#[test]
fn who_stays_in_a_room_is_not_forgotten_as_long_as_somebody_looks() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (crate::node::node(&store), crate::node::node(&store));
    let _ann = Talk::joined(&one, "a");
    let key = || store.list(&["KEYS", "*:p"]).pop();
    eventually("it is noted who is there", || key().is_some());
    let key = key().unwrap();
    let left_ms = || store.say(&["PTTL", &key])[1..].parse::<i64>().unwrap();
    store.say(&["PEXPIRE", &key, "60000"]);
    assert!(left_ms() <= 60_000);
    // Nobody comes and nobody goes.
    let info = Talk::to(&other).ok(json!({"type": "room.info", "room": "a"}));
    assert_eq!(info["user_count"], 1, "{info}");
    assert!(left_ms() > 60_000, "{}", left_ms());
}
