//! What is wrong with Redis is told by name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::edicts::{operate, token};
use crate::node::{is, linked, node, unlinked, with};
use crate::outage::{is_refused_by_redis, publish_at_last};
use crate::server::{Plan, Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

#[test]
fn a_password_that_is_not_accepted_is_named() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["requirepass a-long-enough-password"]);
    let without = unlinked(&store, &[]);
    is(&without, "wrong_password");
    let file = crate::server::folder().join("password");
    std::fs::write(&file, "a-long-enough-password\n").unwrap();
    let with = unlinked(&store, &[&format!("redis.password_file={}", file.display())]);
    linked(&with);
    assert!(!with.log().contains("a-long-enough"), "{}", with.log());
}

/// What the guide says that suffices, as a server's configuration has it, and more.
pub(crate) fn rule(more: &str) -> String {
    let (_, from) =
        include_str!("../../src/bridge/GUIDE.md").split_once("ACL SETUSER ringroom").unwrap();
    let (rule, _) = from.split_once("```").unwrap();
    let words: Vec<_> = rule.split_whitespace().collect();
    let rule = words.join(" ").replace(">PASSWORD", ">a-long-enough-password");
    format!("user ringroom {rule} {more}")
}

/// The settings of who comes by that rule.
pub(crate) fn login() -> [String; 2] {
    let file = crate::server::folder().join("password");
    std::fs::write(&file, "a-long-enough-password").unwrap();
    [format!("redis.password_file={}", file.display()), "redis.username=ringroom".to_owned()]
}

/// Uses all that nodes have Redis do; Redis has refused nothing.
fn nothing_is_denied(stores: &[&Store], settings: &[&str], room: &str) {
    let (login, token) = (login(), token());
    let usual = ["redis.grace_ms=0", &token, &login[0], &login[1]];
    let settings: Vec<_> = usual.iter().copied().chain(settings.iter().copied()).collect();
    let nodes = [with(&settings), with(&settings)];
    nodes.iter().for_each(linked);
    let mut ada = Talk::joined_at_last(&nodes[0], room);
    let mut eve = Talk::joined_at_last(&nodes[1], room);
    // Who receives a room by a pattern keeps it for minutes: another one than ends here.
    let heard = format!("{room}/heard");
    let mut ear = Talk::to(&nodes[1]);
    ear.ok(json!({"type": "subscribe", "pattern": heard}));
    let mut teller = Talk::joined(&nodes[0], &heard);
    eventually("it is placed", || teller.publish(&heard, 1) == 1);
    assert_eq!(ear.messages(1)[0].1, 1);
    eventually("it is placed", || {
        let publish = json!({"type": "publish", "room": room, "data": 1, "key": "k"});
        ada.ask(publish)["offset"] == 1
    });
    assert_eq!(eve.publish(room, 2), 2);
    for talk in [&mut ada, &mut eve] {
        assert_eq!(talk.messages(2)[1].1, 2);
    }
    ada.ok(json!({"type": "ack", "room": room, "offset": 1}));
    ada.ok(json!({"type": "history", "room": room, "limit": 10}));
    ada.ok(json!({"type": "presence", "room": room}));
    ada.ok(json!({"type": "room.update", "room": room, "config": {"slow_mode_ms": 1}}));
    ada.ok(json!({"type": "state.set", "data": 1}));
    let ban = json!({"address": "192.0.2.1"});
    assert_eq!(operate(&nodes[0], "POST", "/v1/bans", &ban).0, 200);
    let session = ada.welcome["session"].as_str().unwrap().to_owned();
    let mut again = Talk::at(&nodes[1], &format!("/ws?session={session}"));
    assert_eq!(again.welcome["recovered"], true, "{}", again.welcome);
    for talk in [&mut again, &mut eve] {
        talk.ok(json!({"type": "leave", "room": room}));
    }
    let ended = || nodes.iter().map(|it| it.metric("ringroom_bridge_ended_total", "")).sum::<f64>();
    eventually("the room ends", || ended() >= 1.0);
    nodes.iter().for_each(linked);
    for store in stores {
        assert_eq!(store.read(&["ACL", "LOG"]).trim(), "");
    }
}

#[test]
fn the_documented_rule_is_enough_and_less_is_named() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[&rule("")]);
    let url = format!("redis.url={}", store.url());
    nothing_is_denied(&[&store], &[&url], "sure:a");

    let rule = "user ringroom on >a-long-enough-password ~ringroom:* &ringroom:* +hello +ping";
    let store = Store::start(&[rule, "user default off"]);
    is(&unlinked(&store, &login().each_ref().map(String::as_str)), "denied");
}

#[test]
fn the_documented_rule_is_enough_in_a_cluster_and_for_replicas() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::with(&[&rule("+cluster|slots +wait")]);
    let stores: Vec<_> = cluster.stores.iter().collect();
    nothing_is_denied(&stores, &[&cluster.url(), "redis.cluster=true"], "twice:a");
}

#[test]
fn a_replica_takes_no_writes() {
    if is_missing() {
        return;
    }
    let primary = Store::start(&[]);
    let replica = Store::start(&[&format!("replicaof 127.0.0.1 {}", primary.port)]);
    is(&unlinked(&replica, &[]), "read_only");
    // A primary that becomes one under a node is noticed by the first write.
    let node = node(&primary);
    let mut ada = Talk::joined(&node, "sure:a");
    let to = Store::start(&[]);
    assert_eq!(primary.say(&["REPLICAOF", "127.0.0.1", &to.port.to_string()]), "+OK");
    let answer = ada.ask(json!({"type": "publish", "room": "sure:a", "data": 1}));
    assert!(is_refused_by_redis(&answer), "{answer}");
    is(&node, "read_only");
}

#[test]
fn no_link_is_made_to_a_server_that_takes_no_writes() {
    if is_missing() {
        return;
    }
    let cluster = Cluster::start();
    let node = with(&[&cluster.url(), "redis.cluster=true"]);
    linked(&node);
    // Another one than has what the nodes agree on, which is written whenever a link to it is made.
    let slot: u16 =
        cluster.stores[0].read(&["CLUSTER", "KEYSLOT", "{nodes}"]).trim().parse().unwrap();
    let store = &cluster.stores[usize::from(slot <= 5_460)];
    store.fail_to_save();
    is(&node, "partial");
    let connects = || node.metric("ringroom_bridge_connects_total", "");
    let (before, began) = (connects(), Instant::now());
    eventually("some attempts are made", || began.elapsed() > Duration::from_secs(2));
    assert_eq!(connects(), before, "links were made in vain");
    assert_eq!(store.say(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]), "+OK");
    linked(&node);
}

#[test]
fn links_that_end_at_once_are_made_ever_more_seldom() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let rights = ["on", ">a-long-enough-password", "~*", "&*", "+@all", "-ssubscribe"];
    assert_eq!(store.say(&[&["ACL", "SETUSER", "ringroom"][..], &rights].concat()), "+OK");
    let other = node(&store);
    let [password, username] = login();
    let node = unlinked(&store, &[&password, &username, "redis.reconnect_max_ms=600000"]);
    let connects = || node.metric("ringroom_bridge_connects_total", "");
    eventually("some links are made", || connects() >= 3.0);
    stays(&other, "up");
    // Each pause is up to twice as long as the one before it may have been.
    assert!(connects() < 40.0, "{}", connects());
}

#[test]
fn a_full_memory_is_an_error_and_no_loss() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["maxmemory-policy noeviction"]);
    let node = node(&store);
    let mut ada = Talk::joined(&node, "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    let answer = ada.ask(json!({"type": "publish", "room": "sure:a", "data": 2}));
    assert_eq!(answer["code"], "unavailable", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("memory"), "{answer}");
    // A room that could not be opened meanwhile is opened when it can be.
    ada.ok(json!({"type": "join", "room": "sure:b"}));
    let answer = ada.ask(json!({"type": "publish", "room": "sure:b", "data": 1}));
    assert!(is_refused_by_redis(&answer), "{answer}");
    assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    eventually("the room is open", || {
        ada.ask(json!({"type": "publish", "room": "sure:b", "data": 1}))["type"] == "ok"
    });
    assert_eq!(ada.publish("sure:a", 3), 2);
    is(&node, "up");
}

#[test]
fn a_room_is_as_durable_as_redis_is_or_says_that_it_is_not() {
    if is_missing() {
        return;
    }
    for (settings, is_durable) in [
        (["appendonly yes", "appendfsync always"].as_slice(), true),
        (&["appendonly yes", "appendfsync everysec"], false),
        (&["appendonly no", "appendfsync always"], false),
        (&["appendonly yes", "appendfsync always", "no-appendfsync-on-rewrite yes"], false),
    ] {
        let store = Store::start(settings);
        let node = node(&store);
        let mut ada = Talk::to(&node);
        let answer = ada.ask(json!({"type": "join", "room": "safe:a"}));
        assert_eq!(answer["type"] == "ok", is_durable, "{settings:?}: {answer}");
        if is_durable {
            assert_eq!(ada.publish("safe:a", 1), 1);
        } else {
            assert!(is_refused_as_unsafe(&answer), "{settings:?}: {answer}");
        }
        // Neither is one made that asks for more, or an other one made to.
        let config = json!({"mode": "guaranteed", "durability": "always"});
        ada.ok(json!({"type": "room.create", "room": "b"}));
        for command in ["room.create", "room.update"] {
            let room = if command == "room.create" { "c" } else { "b" };
            let answer = ada.ask(json!({"type": command, "room": room, "config": config}));
            let is_refused = is_refused_as_unsafe(&answer);
            assert_eq!((answer["type"] == "ok", is_refused), (is_durable, !is_durable), "{answer}");
        }
    }
}

/// Whether Redis would have to be configured otherwise, and the words say how.
pub(crate) fn is_refused_as_unsafe(answer: &Value) -> bool {
    let message = answer["message"].as_str().unwrap_or_default();
    answer["code"] == "unavailable" && message.contains("always needs appendonly yes")
}

#[test]
fn who_is_in_a_room_stays_when_redis_becomes_less_safe_and_nobody_else_comes() {
    if is_missing() {
        return;
    }
    let store = Store::durable();
    let node = node(&store);
    let mut ada = Talk::joined(&node, "safe:a");
    let mut bob = Talk::joined(&node, "safe:a");
    assert_eq!(ada.publish("safe:a", 1), 1);
    assert_eq!(store.say(&["CONFIG", "SET", "appendfsync", "everysec"]), "+OK");
    let publish = json!({"type": "publish", "room": "safe:a", "data": 2});
    eventually("it is noticed", || is_refused_as_unsafe(&bob.ask(publish.clone())));
    let join = json!({"type": "join", "room": "safe:a"});
    let refused = Talk::to(&node).ask(join.clone());
    assert!(is_refused_as_unsafe(&refused), "{refused}");
    bob.ok(join.clone());
    let session = ada.welcome["session"].as_str().unwrap().to_owned();
    let mut ada = Talk::at(&node, &format!("/ws?session={session}"));
    assert_eq!(ada.welcome["rooms"][0]["room"], "safe:a", "{}", ada.welcome);
    let refused = ada.ask(publish.clone());
    assert!(is_refused_as_unsafe(&refused), "{refused}");
    assert_eq!(store.say(&["CONFIG", "SET", "appendfsync", "always"]), "+OK");
    eventually("it is safe again", || ada.ask(publish.clone())["type"] == "ok");
    Talk::joined(&node, "safe:a");
}

#[test]
fn a_cluster_is_refused_by_name() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["cluster-enabled yes"]);
    is(&unlinked(&store, &[]), "cluster");
}

#[test]
fn what_is_no_cluster_is_named() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    is(&unlinked(&store, &["redis.cluster=true"]), "no_cluster");
    // A cluster that nobody has given its slots.
    let store = Store::start(&["cluster-enabled yes"]);
    is(&unlinked(&store, &["redis.cluster=true"]), "cluster_down");
}

#[test]
fn a_redis_that_reads_its_data_is_waited_for() {
    if is_missing() {
        return;
    }
    let mut store = Store::start(&["rdbcompression no"]);
    for n in 0..300 {
        store.say(&["SET", &format!("k{n}"), &"x".repeat(1_000)]);
    }
    assert_eq!(store.say(&["SAVE"]), "+OK");
    store.kill();
    // In microseconds for each.
    store.add("key-load-delay 50000");
    store.add("loading-process-events-interval-bytes 1024");
    store.run();
    let node = unlinked(&store, &[]);
    is(&node, "loading");
    assert_eq!(store.say(&["CONFIG", "SET", "key-load-delay", "0"]), "+OK");
    linked(&node);
}

#[test]
fn what_makes_no_sense_is_refused_before_it_begins() {
    for (settings, named) in [
        (["redis.url=redis://:secret@127.0.0.1:6379"].as_slice(), "redis.url"),
        (&["redis.url=127.0.0.1:6379"], "redis.url"),
        (&["redis.url=redis://"], "redis.url"),
        (&["redis.url=redis-sentinel://127.0.0.1:26379"], "redis.url"),
        (&["redis.url=redis://a,redis://b"], "redis.cluster"),
        (&["redis.url=redis://a/1", "redis.cluster=true"], "redis.url"),
        (&["redis.cluster=true"], "redis.cluster"),
        (&["redis.sentinels=redis://a"], "redis.master"),
        (&["redis.sentinels=a", "redis.master=m"], "redis.sentinels"),
        (&["redis.sentinels=redis://a", "redis.master=m", "redis.url=redis://b"], "redis.url"),
        (&["redis.url=rediss://a", "redis.certificate_file=/a"], "redis.certificate_file"),
    ] {
        let plan = settings.iter().fold(Plan::new(), |plan, setting| plan.set(setting));
        let said = plan.refuses();
        assert!(said.contains(named) && !said.contains("secret"), "{settings:?}: {said}");
    }
}

/// Waits until the node has heard itself several times, and says this of its link each time it is asked.
pub(crate) fn stays(node: &Server, state: &str) {
    let words = format!("\"redis\":\"{state}\"");
    let heard = || node.metric("ringroom_bridge_heard_total", "");
    let before = heard();
    eventually("it hears itself", || {
        let health = node.control("/health").text();
        assert!(health.contains(&words), "{health}");
        heard() >= before + 6.0
    });
}

#[test]
fn a_full_memory_is_told_until_there_is_some_again() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["maxmemory-policy noeviction"]);
    let node = node(&store);
    assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
    // Nobody publishes.
    is(&node, "out_of_memory");
    stays(&node, "out_of_memory");
    assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    is(&node, "up");
}

#[test]
fn rooms_that_promise_nothing_go_on_where_redis_takes_no_writes() {
    if is_missing() {
        return;
    }
    for (setting, good, bad, state) in [
        ("maxmemory", "0", "1", "out_of_memory"),
        ("min-replicas-to-write", "0", "1", "too_few_replicas"),
    ] {
        let store = Store::start(&["maxmemory-policy noeviction"]);
        let node = node(&store);
        let set = |value| assert_eq!(store.say(&["CONFIG", "SET", setting, value]), "+OK");
        let mut ada = Talk::joined(&node, "lobby");
        ada.ok(json!({"type": "join", "room": "sure:a"}));
        for room in ["lobby", "sure:a"] {
            eventually("it has a place", || {
                publish_at_last(&mut ada, room, &json!(1))["offset"].is_u64()
            });
        }
        let mut eve = Talk::joined(&node, "lobby");
        set(bad);
        is(&node, state);
        let plain = json!({"type": "publish", "data": 2, "exclude_self": true});
        for (more, counted) in [(json!({}), None), (json!({"receipt": "delivered"}), Some((1, 1)))]
        {
            let publish = |room: &str| {
                let mut publish = plain.clone();
                publish["room"] = room.into();
                publish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                publish
            };
            let went = ada.ok(publish("lobby"));
            assert_eq!(went["offset"], Value::Null, "{went}");
            let told = went["delivered"].as_u64().zip(went["total"].as_u64());
            assert_eq!(told, counted, "{went}");
            assert_eq!(eve.event("message")["data"], 2);
            let refused = ada.ask(publish("sure:a"));
            assert!(is_refused_by_redis(&refused), "{state}: {refused}");
        }
        stays(&node, state);
        set(good);
        is(&node, "up");
        publish_at_last(&mut ada, "sure:a", &json!(3));
        publish_at_last(&mut ada, "lobby", &json!(3));
        // Who comes while it is so finds it named, too.
        set(bad);
        is(&unlinked(&store, &[]), state);
    }
}

#[test]
fn scripts_that_may_not_be_loaded_are_named() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let mut ada = Talk::joined(&node, "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    assert_eq!(store.say(&["ACL", "SETUSER", "default", "-script|load"]), "+OK");
    assert_eq!(store.say(&["SCRIPT", "FLUSH"]), "+OK");
    let refused = ada.ask(json!({"type": "publish", "room": "sure:a", "data": 2}));
    assert!(is_refused_by_redis(&refused), "{refused}");
    is(&node, "denied");
    assert_eq!(store.say(&["ACL", "SETUSER", "default", "+script|load"]), "+OK");
    is(&node, "up");
    publish_at_last(&mut ada, "sure:a", &json!(3));
}

#[test]
fn a_denied_wait_is_named() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["repl-diskless-sync-delay 0"]);
    let _replica = Store::start(&[&format!("replicaof 127.0.0.1 {}", store.port)]);
    let node = node(&store);
    let mut ada = Talk::joined_at_last(&node, "twice:a");
    publish_at_last(&mut ada, "twice:a", &json!(1));
    assert_eq!(store.say(&["ACL", "SETUSER", "default", "-wait"]), "+OK");
    let refused = ada.ask(json!({"type": "publish", "room": "twice:a", "data": 2}));
    assert!(is_refused_by_redis(&refused), "{refused}");
    is(&node, "denied");
    stays(&node, "denied");
    assert_eq!(store.say(&["ACL", "SETUSER", "default", "+wait"]), "+OK");
    publish_at_last(&mut ada, "twice:a", &json!(3));
    is(&node, "up");
}

#[test]
fn what_is_denied_is_told_until_it_is_allowed() {
    if is_missing() {
        return;
    }
    // All scripts, and one of them: what Redis may not remember that it has published.
    let others = ["resetkeys", "~ringroom:{*}:[^k]*", "~ringroom:node:*", "~ringroom:session:*"];
    for (denied, allowed) in [(&["-evalsha"][..], "+evalsha"), (&others[..], "~*")] {
        let store = Store::start(&[]);
        let node = node(&store);
        let mut ada = Talk::joined(&node, "sure:a");
        let publish = json!({"type": "publish", "room": "sure:a", "data": 1, "key": "k"});
        let rule =
            |words: &[&str]| store.say(&[&["ACL", "SETUSER", "default"][..], words].concat());
        assert_eq!(rule(denied), "+OK");
        let refused = ada.ask(publish.clone());
        assert_eq!(refused["code"], "unavailable", "{denied:?}: {refused}");
        is(&node, "denied");
        stays(&node, "denied");
        assert_eq!(rule(&[allowed]), "+OK");
        ada.ok(publish);
        is(&node, "up");
    }
}
