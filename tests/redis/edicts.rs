//! What the operator decides on one node holds on all of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Response};
use crate::identity::OPERATOR;
use crate::node::{is, linked};
use crate::server::{Server, eventually, folder};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users::{node_with, target, user};

fn node(store: &Store) -> Server {
    let token = token();
    node_with(store, &["default", "alpha"], &[&token, "redis.reconnect_max_ms=200"])
}

/// The setting by which [`operate`] is listened to.
pub(crate) fn token() -> String {
    let file = folder().join("operator");
    std::fs::write(&file, OPERATOR).unwrap();
    format!("control.token_file={}", file.display())
}

pub(crate) fn operate(node: &Server, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let address = node.control_address();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {OPERATOR}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = http::exchange(address, request.as_bytes()).expect("an answer");
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

/// What somebody is refused with; none: they are let in.
fn refusal(node: &Server, name: &str, tenant: &str) -> Option<String> {
    let address = node.address();
    let upgrade = format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        target(name, tenant, "")
    );
    let response: Response = http::exchange(address, upgrade.as_bytes()).expect("an answer");
    (response.status != 101).then(|| response.text())
}

fn is_refused(node: &Server, name: &str, tenant: &str, word: &str) {
    eventually("it holds here", || {
        refusal(node, name, tenant).is_some_and(|text| text.contains(word))
    });
}

fn is_let_in(node: &Server, name: &str, tenant: &str) {
    eventually("it holds here no more", || refusal(node, name, tenant).is_none());
}

#[test]
fn a_decision_closes_connections_on_all_nodes_and_holds_on_those_that_come_later() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store)];
    let on = |name: &str, tenant: &str| nodes.each_ref().map(|node| user(node, name, tenant));
    let (anns, bobs, eves) = (on("ann", "default"), on("bob", "default"), on("eve", "alpha"));
    let mut cat = user(&nodes[1], "cat", "default");
    for (at, method, path, body) in [
        (0, "POST", "/v1/revocations", json!({"user": "ann"})),
        (1, "POST", "/v1/bans", json!({"user": "bob"})),
        (0, "PUT", "/v1/tenants/alpha/state", json!({"state": "suspended"})),
    ] {
        let (status, answer) = operate(&nodes[at], method, path, &body);
        assert_eq!((status, &answer["closed"]), (200, &json!(1)), "{answer}");
    }
    for (talks, reason) in [(anns, "revoked"), (bobs, "banned"), (eves, "suspended")] {
        for mut talk in talks {
            assert_eq!(talk.event("disconnect")["reason"], reason);
        }
    }
    let late = node(&store);
    for node in nodes.iter().chain([&late]) {
        is_refused(node, "ann", "default", "revoked");
        is_refused(node, "bob", "default", "banned");
        is_refused(node, "eve", "alpha", "suspended");
    }
    // And back.
    assert_eq!(operate(&late, "DELETE", "/v1/bans?user=bob", &Value::Null).0, 200);
    let active = json!({"state": "active"});
    assert_eq!(operate(&late, "PUT", "/v1/tenants/alpha/state", &active).0, 200);
    for node in nodes.iter().chain([&late]) {
        is_let_in(node, "bob", "default");
        is_let_in(node, "eve", "alpha");
        assert!(refusal(node, "ann", "default").is_some());
        assert_eq!(operate(node, "GET", "/v1/bans", &Value::Null).1["bans"], json!([]));
    }
    assert_eq!(cat.ask(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn what_is_decided_without_redis_is_said_to_hold_here_and_reaches_the_others_later() {
    if is_missing() {
        return;
    }
    let mut store = Store::durable();
    let nodes = [node(&store), node(&store)];
    let (status, _) = operate(&nodes[1], "POST", "/v1/bans", &json!({"user": "bob"}));
    assert_eq!(status, 200);
    is_refused(&nodes[0], "bob", "default", "banned");
    store.kill();
    nodes.iter().for_each(|node| is(node, "lost"));
    let (status, answer) = operate(&nodes[0], "POST", "/v1/bans", &json!({"user": "ann"}));
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("on this node"), "{answer}");
    let (status, _) = operate(&nodes[0], "DELETE", "/v1/bans?user=bob", &Value::Null);
    assert_eq!(status, 503);
    is_refused(&nodes[0], "ann", "default", "banned");
    assert!(refusal(&nodes[0], "bob", "default").is_none());
    assert!(refusal(&nodes[1], "ann", "default").is_none(), "nobody has told it");
    store.run();
    nodes.iter().for_each(linked);
    is_refused(&nodes[1], "ann", "default", "banned");
    is_let_in(&nodes[1], "bob", "default");
    assert!(refusal(&nodes[0], "bob", "default").is_none());
}

#[test]
fn a_redis_that_has_forgotten_is_told_by_those_who_know_and_what_is_no_decision_is_passed_over() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let first = node(&store);
    let ban = json!({"address": "192.0.2.1"});
    assert_eq!(operate(&first, "POST", "/v1/bans", &ban).0, 200);
    assert_eq!(operate(&first, "POST", "/v1/bans", &json!({"user": "bob"})).0, 200);
    assert_eq!(store.say(&["FLUSHALL"]), "+OK");
    eventually("it is told again", || {
        store.list(&["HKEYS", "ringroom:{decisions}:lines"]).len() == 3
    });
    let [order, lines] = ["order", "lines"].map(|it| format!("ringroom:{{decisions}}:{it}"));
    for (at, line) in ["", "0 ", " {}", "9 [", " {\"unban\":null}"].iter().enumerate() {
        let (about, score) = (format!("x{at}"), format!("{at}"));
        store.say(&["ZADD", &order, &score, &about]);
        store.say(&["HSET", &lines, &about, line]);
    }
    let second = node(&store);
    is_refused(&second, "bob", "default", "banned");
    eventually("the log says so", || second.log().contains("cannot be read"));
    let bans = operate(&second, "GET", "/v1/bans", &Value::Null).1;
    assert_eq!(bans["bans"].as_array().unwrap().len(), 2, "{bans}");
    let mut ann: Talk = user(&second, "ann", "default");
    assert_eq!(ann.ask(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn one_that_finds_no_place_takes_out_some_of_what_has_run_out() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let [order, lines, ends] =
        ["order", "lines", "ends"].map(|it| format!("ringroom:{{decisions}}:{it}"));
    // As many as may hold, of two tenants; all but one have run out.
    let names: Vec<_> = (1..=402).map(|at| format!("x{at}")).collect();
    let seed = |key: &str, words: Vec<&str>| {
        let command = if key == lines { "HSET" } else { "ZADD" };
        let said = store.say(&[&[command, key], &words[..]].concat());
        assert!(said.starts_with(':'), "{said}");
    };
    let ranks: Vec<_> = (1..=402).map(|at| at.to_string()).collect();
    seed(&order, ranks.iter().zip(&names).flat_map(|(at, name)| [&**at, &**name]).collect());
    seed(&lines, names.iter().flat_map(|name| [&**name, "1 {}"]).chain(["", "a life"]).collect());
    seed(&ends, names[1..].iter().flat_map(|name| ["1", &**name]).collect());
    seed(&lines, vec!["x1", " {}"]);
    let token = token();
    let settings = [&*token, "auth.revocations=200", "redis.reconnect_max_ms=200"];
    let node = node_with(&store, &["default", "alpha"], &settings);
    let ban = |user: &str| operate(&node, "POST", "/v1/bans", &json!({"user": user})).0;
    let count = |key: &str| store.say(&["ZCARD", key]);
    assert_eq!(ban("ann"), 200);
    assert_eq!((count(&order), count(&ends)), (":303".into(), ":302".into()));
    assert_eq!(store.say(&["HLEN", &lines]), ":304");
    // While there is a place, nothing is taken out.
    assert_eq!(ban("bob"), 200);
    assert_eq!(count(&order), ":304");
    assert_eq!(store.say(&["HEXISTS", &lines, "x1"]), ":1", "that one stands");
}

#[test]
fn nothing_of_a_revoked_user_is_stored_after_the_answer() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let stored = || -> Vec<String> {
        let streams = store
            .list(&["KEYS", "*"])
            .into_iter()
            // Which rooms were called is no history.
            .filter(|key| !key.ends_with(":calls"))
            .filter(|key| store.say(&["TYPE", key]).trim() == "+stream");
        streams.map(|key| store.say(&["XLEN", &key])).collect()
    };
    for round in 0..3 {
        let name = format!("ann-{round}");
        let mut ann = user(&node, &name, "default");
        ann.ok(json!({"type": "join", "room": "owed:warm"}));
        store.signal("STOP");
        // One is on its way to Redis, the other waits until Redis has told of its room.
        for room in ["owed:warm".to_owned(), format!("owed:cold-{round}")] {
            ann.send(json!({"type": "publish", "room": room, "data": round}));
        }
        // Most often the server has read them by then; if not, there is less to see.
        std::thread::sleep(Duration::from_millis(100));
        let revoked = json!({"user": name});
        let revoke = || (operate(&node, "POST", "/v1/revocations", &revoked).0, stored());
        let (status, at_once) = std::thread::scope(|scope| {
            let answer = scope.spawn(revoke);
            assert_eq!(ann.event("disconnect")["reason"], "revoked");
            store.signal("CONT");
            answer.join().unwrap()
        });
        assert_eq!(status, 200);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(stored(), at_once, "nothing comes later");
        assert!(at_once.len() <= 1, "what had not gone to Redis is dropped");
    }
}

#[test]
fn a_node_that_starts_lets_nobody_in_before_it_knows_what_was_decided() {
    if is_missing() {
        return;
    }
    let store = Store::start(&["maxmemory-policy noeviction"]);
    let first = node(&store);
    // More than is read at a time.
    for n in 0..600 {
        let ban = json!({"user": format!("other {n}")});
        assert_eq!(operate(&first, "POST", "/v1/bans", &ban).0, 200);
    }
    assert_eq!(operate(&first, "POST", "/v1/bans", &json!({"user": "bob"})).0, 200);
    for memory in ["0", "0", "1"] {
        // Redis may be full.
        assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", memory]), "+OK");
        let later = node(&store);
        let refused = refusal(&later, "bob", "default");
        assert!(refused.as_ref().is_some_and(|it| it.contains("banned")), "{refused:?}");
        assert_eq!(refusal(&later, "ann", "default"), None);
    }
}
