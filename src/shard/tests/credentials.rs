//! Connections whose credentials are checked: what they allow, and what is left when they change.

use std::sync::Arc;

use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::auth::key::VerifyingKey;
use crate::auth::{Algorithm, Policy, Setup, SigningKey, TenantSetup, Trust, TrustedKey};
use crate::config::Config;
use crate::id::TenantId;
use crate::shard::Entry;

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";
/// An hour after all of it begins, in seconds.
const LATER: u64 = 1_700_003_600;

fn cluster(cores: u16, config: Config) -> Cluster {
    let key = Arc::new(VerifyingKey::secret(Algorithm::Hs256, SECRET).unwrap());
    let policy = Policy::new(Setup {
        number: 1,
        operator: Trust { keys: vec![TrustedKey { issuer: None, key }], ..Trust::default() },
        tenants: vec![TenantSetup {
            id: TenantId::DEFAULT,
            name: "default".into(),
            trust: Trust::default(),
        }],
        ..Setup::default()
    });
    Cluster::with_policy(cores, config, &Arc::new(policy))
}

fn signing_key() -> SigningKey {
    SigningKey::secret(Algorithm::Hs256, SECRET).unwrap()
}

/// What a user shows who has these permissions everywhere, and these on rooms.
fn credential(user: &str, permissions: &Value, rooms: &Value) -> String {
    let claims = json!({ "sub": user, "exp": LATER, "permissions": permissions, "rooms": rooms })
        .to_string();
    signing_key().token(&claims, &SystemRandom::new()).unwrap()
}

fn room_token(room: &str) -> String {
    let claims = json!({ "room": room, "exp": LATER }).to_string();
    signing_key().room_token(&claims, &SystemRandom::new()).unwrap()
}

/// A connection that shows a credential in its first message.
fn come(cluster: &mut Cluster, core: u16, credential: &str, session: Option<&str>) -> Address {
    let at = cluster.open_with(core, |it| {
        it.entry = Entry::Later(Box::default());
        it.session = session.map(ToOwned::to_owned);
    });
    cluster.send(at, &json!({ "type": "auth", "token": credential }).to_string());
    at
}

fn ask(cluster: &mut Cluster, at: Address, what: Value) -> Value {
    let mut what = what;
    what["id"] = json!(1);
    cluster.send(at, &what.to_string());
    let told = cluster.read(at);
    let answer = told.iter().find(|it| it["id"] == 1);
    answer.unwrap_or_else(|| panic!("no answer to {what}: {told:?}")).clone()
}

/// The rooms of a `welcome`, and its session.
fn welcomed(cluster: &mut Cluster, at: Address) -> (Vec<String>, String) {
    let told = cluster.read(at);
    let welcome = told.iter().find(|it| it["type"] == "welcome");
    let welcome = welcome.unwrap_or_else(|| panic!("no welcome: {told:?}"));
    let rooms = welcome["rooms"].as_array().unwrap().iter();
    let rooms = rooms.map(|it| it["room"].as_str().unwrap().to_owned()).collect();
    (rooms, welcome["session"].as_str().unwrap().to_owned())
}

#[test]
fn what_a_narrower_credential_ends_is_ended_for_who_comes_back_at_once() {
    // Before anybody has heard of it, the connection is lost, or another one takes the session over.
    for (core, is_lost) in [(0, true), (1, true), (2, true), (0, false), (1, false), (2, false)] {
        let mut cluster = cluster(3, Config::default());
        let owner = credential("ann", &json!(["*"]), &json!({}));
        let owner = come(&mut cluster, 0, &owner, None);
        cluster.read(owner);
        for (room, kind) in [("open", "public"), ("hidden", "private")] {
            let create = json!({ "type": "room.create", "room": room, "config": { "type": kind } });
            assert_eq!(ask(&mut cluster, owner, create)["type"], "ok");
            let join = json!({ "type": "join", "room": room });
            assert_eq!(ask(&mut cluster, owner, join)["type"], "ok");
        }
        let broad = credential("bob", &json!([]), &json!({ "open": ["join"] }));
        let narrow = credential("bob", &json!([]), &json!({ "other": ["join"] }));
        let bob = come(&mut cluster, core, &broad, None);
        let (_, session) = welcomed(&mut cluster, bob);
        let join = json!({ "type": "join", "room": "open" });
        assert_eq!(ask(&mut cluster, bob, join)["type"], "ok");
        let join = json!({ "type": "join", "room": "hidden", "token": room_token("hidden") });
        assert_eq!(ask(&mut cluster, bob, join)["type"], "ok");

        cluster.holds = true;
        cluster.send(bob, &json!({ "type": "auth", "token": narrow }).to_string());
        if is_lost {
            cluster.lose(bob);
        }
        let back = come(&mut cluster, (core + 1) % 3, &narrow, Some(&session));
        cluster.holds = false;
        cluster.carry();
        let (rooms, again) = welcomed(&mut cluster, back);
        assert_eq!(again, session, "it is the same session");
        assert_eq!(rooms, ["hidden"], "on core {core}, lost: {is_lost}");
        for room in ["open", "hidden"] {
            let say = json!({ "type": "publish", "room": room, "data": room });
            assert_eq!(ask(&mut cluster, owner, say)["type"], "ok");
        }
        let heard: Vec<_> = cluster.read(back).iter().map(|it| it["data"].clone()).collect();
        assert_eq!(heard, ["hidden"]);
    }
}
