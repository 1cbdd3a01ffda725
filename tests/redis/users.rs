//! Users and tenants over several nodes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::node::linked;
use crate::server::{Plan, Server, folder};
use crate::store::{Store, is_missing};
use crate::talk::Talk;

const SECRET: &str = "a secret that only the two of us know, or so I hope";

/// A node that checks tokens, with these tenants.
fn node(store: &Store, tenants: &[&str]) -> Server {
    node_with(store, tenants, &[])
}

/// The same, with more settings.
pub(crate) fn node_with(store: &Store, tenants: &[&str], settings: &[&str]) -> Server {
    let file = folder().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let mut config = format!(
        "listen = [\"127.0.0.1:0\"]\n[redis]\nurl = \"{}\"\n[auth.jwt]\nsecret_file = {:?}\n\
         [namespaces.owed]\nmode = \"guaranteed\"\n",
        store.url(),
        file.display().to_string()
    );
    for tenant in tenants {
        config.push_str(&format!("[tenants.{tenant}]\nconnections = 100000\n"));
    }
    let plan = Plan::new().listeners(&config);
    let node = settings.iter().fold(plan, |plan, setting| plan.set(setting)).start();
    linked(&node);
    node
}

fn token(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
}

pub(crate) fn user(node: &Server, name: &str, tenant: &str) -> Talk {
    user_at(node, name, tenant, "")
}

/// The same, with more in its URL.
pub(crate) fn user_at(node: &Server, name: &str, tenant: &str, more: &str) -> Talk {
    Talk::at(node, &target(name, tenant, more))
}

/// A user's connection, which has not looked yet at what it is told.
pub(crate) fn connect(node: &Server, name: &str, tenant: &str) -> Talk {
    Talk::open(node, &target(name, tenant, ""))
}

pub(crate) fn target(name: &str, tenant: &str, more: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Made before whatever a test takes back, however slow the machine is.
    let claims = json!({
        "sub": name, "tenant": tenant, "iat": now - 600, "exp": now + 3_600,
        "permissions": ["join", "publish", "history", "presence", "create", "send", "broadcast"],
    });
    format!("/ws?token={}{more}", token(&claims))
}

#[test]
fn a_message_to_a_user_reaches_all_devices_on_all_nodes_and_everyone_hears_a_broadcast() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store, &["default"]), node(&store, &["default"])];
    let mut ann = user(&nodes[0], "ann", "default");
    let mut bobs: Vec<_> = nodes.iter().map(|node| user(node, "bob", "default")).collect();
    let mut eve = user(&nodes[1], "eve", "default");
    // Each node listens to a user's room once one of them is there.
    for node in &nodes {
        crate::server::eventually("all are listened to", || {
            node.metric("ringroom_bridge_rooms", "") >= 3.0
        });
    }
    ann.ok(json!({"type": "send", "to": {"user": "bob"}, "data": "psst"}));
    for bob in &mut bobs {
        let message = bob.event("message");
        assert_eq!((&message["data"], &message["from"]["user"]), (&json!("psst"), &json!("ann")));
        assert!(bob.hears_no_more("message"));
    }
    eve.ok(json!({"type": "broadcast", "data": "all"}));
    for talk in [&mut ann, &mut eve].into_iter().chain(&mut bobs) {
        assert_eq!(talk.event("message")["data"], "all");
        assert!(talk.hears_no_more("message"));
    }
}

#[test]
fn a_message_to_somebody_who_is_nowhere_leaves_nothing_in_redis() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let node = node_with(&store, &["default"], &["redis.grace_ms=0"]);
    let mut ann = user(&node, "ann", "default");
    let states = |store: &Store| {
        let keys = store.list(&["KEYS", "*:s"]);
        keys.len()
    };
    crate::server::eventually("her own rooms are there", || states(&store) == 2);
    let nobody: Vec<_> = (0..50).map(|n| format!("nobody {n}")).collect();
    let sent = ann.ok(json!({"type": "send", "to": {"users": nobody}, "data": "psst"}));
    assert_eq!(sent["delivered"], 0);
    crate::server::eventually("nothing is left", || states(&store) == 2);
}

#[test]
fn tenants_never_meet_though_nodes_count_them_differently() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    // On the second node, the only tenant stands where another does on the first.
    let (one, other) = (node(&store, &["alpha", "beta"]), node(&store, &["beta"]));
    let mut alpha = user(&one, "ann", "alpha");
    let (mut here, mut there) = (user(&one, "ann", "beta"), user(&other, "ann", "beta"));
    for talk in [&mut alpha, &mut here, &mut there] {
        talk.ok(json!({"type": "join", "room": "a"}));
    }
    assert_eq!(alpha.publish("a", "of alpha"), 1);
    assert_eq!(there.publish("a", "of beta"), 1);
    assert_eq!(here.publish("a", "too"), 2);
    let datas = |talk: &mut Talk, count| {
        talk.messages(count).into_iter().map(|(_, _, data)| data).collect::<Vec<_>>()
    };
    assert_eq!(datas(&mut alpha, 1), ["of alpha"]);
    assert_eq!(datas(&mut here, 2), ["of beta", "too"]);
    assert_eq!(datas(&mut there, 2), ["of beta", "too"]);
    for talk in [&mut alpha, &mut here, &mut there] {
        assert!(talk.hears_no_more("message"));
    }
}

#[test]
fn who_comes_first_to_a_room_is_its_owner_on_no_other_node() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store, &["default"]), node(&store, &["default"])];
    let mut ann = user(&nodes[0], "ann", "default");
    assert_eq!(ann.ok(json!({"type": "join", "room": "a"}))["role"], "owner");
    let mut eve = user(&nodes[1], "eve", "default");
    assert_eq!(eve.ok(json!({"type": "join", "room": "a"}))["role"], "guest");
}

#[test]
fn a_message_to_a_connection_reaches_it_on_whichever_node_and_says_whether() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let lease = "redis.lease_ms=2000";
    let tenants: [&[_]; 2] = [&["alpha", "beta"], &["beta"]];
    let first = node_with(&store, tenants[0], &[lease]);
    let mut ann = user(&first, "ann", "beta");
    let mut eve = user(&first, "eve", "alpha");
    // This one has hardly begun when it is spoken to.
    let mut second = node_with(&store, tenants[1], &[lease]);
    let mut bob = user(&second, "bob", "beta");
    let mut phone = user(&second, "bob", "beta");
    let to = |talk: &Talk| json!({"connection": talk.welcome["connection"]});
    let say = |to: &Value, data: &str| json!({"type": "send", "to": to, "data": data});
    assert_eq!(ann.ok(say(&to(&bob), "psst"))["delivered"], 1);
    let message = bob.event("message");
    assert_eq!((&message["data"], &message["from"]["user"]), (&json!("psst"), &json!("ann")));
    assert!(phone.hears_no_more("message"));
    let back = json!({"connection": message["from"]["connection"]});
    assert_eq!(bob.ok(say(&back, "yes?"))["delivered"], 1);
    assert_eq!(ann.event("message")["data"], "yes?");
    assert_eq!(eve.ask(say(&to(&bob), "psst"))["code"], "not_found", "another tenant's");
    let gone = to(&phone);
    drop(phone);
    crate::server::eventually("it has gone", || ann.ask(say(&gone, "psst"))["code"] == "not_found");
    second.signal("KILL");
    second.ended();
    // Whether it comes back nobody knows before its lease is over.
    let refused = ann.ask(say(&to(&bob), "psst"));
    assert!(refused["code"] == "unavailable" || refused["code"] == "not_found", "{refused}");
    crate::server::eventually("its node is no more", || {
        ann.ask(say(&to(&bob), "psst"))["code"] == "not_found"
    });
}
