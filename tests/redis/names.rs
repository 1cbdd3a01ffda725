//! What rooms, users and tenants are called means nothing to Redis.

use std::collections::HashSet;

use serde_json::json;

use crate::node::node;
use crate::server::{Server, eventually};
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::users;

#[test]
fn no_name_is_ever_seen_by_redis_and_no_two_rooms_share_a_key() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node(&store);
    let names = names();
    let mut made = 0;
    let seen = store.watch(|| made = names.iter().filter(|name| is_its_own(&node, name)).count());
    assert!(made > 100, "{made} names are none");
    assert!(keys(&seen, "}:s") >= made, "{made} rooms have {} keys", keys(&seen, "}:s"));
    means_nothing(&seen);
}

#[test]
fn no_two_users_of_any_tenants_share_a_key_and_each_hears_only_what_is_for_them() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let quoted: Vec<String> = TENANTS.iter().map(|name| format!("{name:?}")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    // On the second node, other tenants stand where these do on the first.
    let nodes =
        [users::node_with(&store, &quoted, &[]), users::node_with(&store, &quoted[1..], &[])];
    let mut pairs = Vec::new();
    let names = names().into_iter().filter(|name| name.len() <= USER_BYTES);
    for (at, name) in names.step_by(7).enumerate() {
        // The same name in two tenants, one of them always another.
        for tenant in [TENANTS[1 + at % 3], TENANTS[4 + at % (TENANTS.len() - 4)]] {
            pairs.push((name.clone(), tenant));
        }
    }
    let mut all = Vec::new();
    let seen = store.watch(|| {
        for (name, tenant) in &pairs {
            let talks = nodes.each_ref().map(|node| users::user(node, name, tenant));
            all.push(talks);
        }
        for node in &nodes {
            eventually("all are listened to", || {
                node.metric("ringroom_bridge_rooms", "") >= pairs.len() as f64
            });
        }
        for ((name, tenant), [here, _]) in pairs.iter().zip(&mut all) {
            let data = format!("for {name} of {tenant}");
            here.ok(json!({"type": "send", "to": {"user": name}, "data": data}));
        }
        for ((name, tenant), talks) in pairs.iter().zip(&mut all) {
            for talk in talks {
                assert_eq!(talk.event("message")["data"], format!("for {name} of {tenant}"));
            }
        }
        for talk in all.iter_mut().flatten() {
            assert!(talk.hears_no_more_now("message"), "it is for somebody else");
        }
    });
    let places = keys(&seen, ".u}:places");
    assert_eq!(places, pairs.len(), "{} users have {places} keys", pairs.len());
    means_nothing(&seen);
}

/// The longest name of a user.
const USER_BYTES: usize = 128;
/// What tenants may be called: pieces of keys, of patterns, and of what other names become there.
const TENANTS: [&str; 10] =
    ["default", "a", "a.b", "b", "*", "a:b", "{x}", "}:{", "YQ", "\u{e9} \\"];

/// How many keys there are with this end.
fn keys(seen: &str, end: &str) -> usize {
    seen.split('"').filter(|word| word.ends_with(end)).collect::<HashSet<_>>().len()
}

/// Whatever names are made of is no part of a key, and no pattern is ever asked for.
fn means_nothing(seen: &str) {
    for key in seen.split('"').filter(|word| word.starts_with("ringroom:")) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.{}".contains(&byte);
        assert!(key.bytes().all(plain), "{key}");
    }
    for pattern in ["PSUBSCRIBE", "KEYS", "SCAN"] {
        assert!(!seen.to_uppercase().contains(&format!("\"{pattern}\"")), "{pattern} was said");
    }
}

/// Whether a name is one of a room; then nobody has published there before.
fn is_its_own(node: &Server, name: &str) -> bool {
    let mut talk = Talk::to(node);
    let joined = talk.ask(json!({"type": "join", "room": name}));
    if joined["code"] == "invalid_room" {
        return false;
    }
    // Redis is not as durable as these ask, and they do not open.
    assert_eq!(joined["type"] == "ok", !name.starts_with("safe:"), "{name:?}: {joined}");
    if joined["type"] == "ok" {
        let key: String = format!("k:*{name}").chars().take(12).collect();
        let publish = json!({"type": "publish", "room": name, "data": name, "key": key});
        let answer = talk.ask(publish);
        assert_eq!(answer["offset"], 1, "{name:?} shares its place: {answer}");
        assert_eq!(talk.messages(1)[0].2, name, "{name:?}");
    }
    true
}

/// Names that mean something somewhere, and names made of such pieces.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a:b",
        "a",
        "b",
        "*",
        "?",
        "[x]",
        "{slot}",
        "}{",
        "a}:s",
        "c:s",
        "\u{e9}",
        "e\u{301}",
        "\u{202e}abc",
        "a/b",
        "a b",
        "'; DROP",
        "\\",
        "\"",
        "0.YQ",
        "safe:a",
        "$5",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("\u{1f600}".repeat(50));
    names.push("x".repeat(200));
    let mut seed = 88_172_645_463_325_252_u64;
    while names.len() < 300 {
        let mut name = String::new();
        for _ in 0..=seed % 5 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let of =
                [":", "{", "}", "*", "?", "[", "]", "/", "x", "\u{7ff}", "#", "-", "_", ".", "%"];
            name.push_str(of[(seed % of.len() as u64) as usize]);
        }
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    names
}
