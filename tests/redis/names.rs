//! What users call rooms means nothing to Redis.

use std::collections::HashSet;

use serde_json::json;

use crate::node::node;
use crate::server::Server;
use crate::store::{Store, is_missing};
use crate::talk::Talk;

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
    let keys: HashSet<&str> = seen.split('"').filter(|word| word.ends_with("}:s")).collect();
    assert!(keys.len() >= made, "{made} rooms have {} keys", keys.len());
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
