//! Connections whose credentials are checked: what they allow, and what is left when they change.

use std::sync::Arc;

use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::auth::key::VerifyingKey;
use crate::auth::{
    Algorithm, Answer, KeySource, Policy, Question, Setup, SigningKey, TenantSetup, Trust,
    TrustedKey,
};
use crate::config::Config;
use crate::id::TenantId;
use crate::shard::{Entry, Input};

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";
/// An hour after all of it begins, in seconds.
const LATER: u64 = 1_700_003_600;

fn cluster(cores: u16, config: Config) -> Cluster {
    cluster_that_trusts(cores, config, Vec::new())
}

/// The same, which fetches keys from these places as well.
fn cluster_that_trusts(cores: u16, config: Config, sources: Vec<KeySource>) -> Cluster {
    let key = Arc::new(VerifyingKey::secret(Algorithm::Hs256, SECRET).unwrap());
    let policy = Policy::new(Setup {
        number: 1,
        operator: Trust {
            keys: vec![TrustedKey { issuer: None, key }],
            sources,
            ..Trust::default()
        },
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
        it.session = session.map(|it| it.to_owned().into());
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

/// A room with its owner in it and one message; its beginning.
fn reliable_room() -> (Cluster, Address, Value) {
    let mut cluster = cluster(2, Config::default());
    let owner = credential("ann", &json!(["*"]), &json!({}));
    let owner = come(&mut cluster, 0, &owner, None);
    cluster.read(owner);
    let config = json!({ "mode": "reliable" });
    let create = json!({ "type": "room.create", "room": "r", "config": config });
    assert_eq!(ask(&mut cluster, owner, create)["type"], "ok");
    let joined = ask(&mut cluster, owner, json!({ "type": "join", "room": "r" }));
    let start = json!({ "epoch": joined["epoch"], "offset": 0 });
    say(&mut cluster, owner);
    (cluster, owner, start)
}

fn say(cluster: &mut Cluster, owner: Address) {
    let say = json!({ "type": "publish", "room": "r", "data": 1 });
    assert_eq!(ask(cluster, owner, say)["type"], "ok");
}

fn bob_with(rights: &[&str]) -> String {
    credential("bob", &json!(rights), &json!({}))
}

fn join(since: Option<&Value>) -> Value {
    let mut join = json!({ "type": "join", "room": "r", "presence": true });
    if let Some(since) = since {
        join["since"] = since.clone();
    }
    join
}

/// How often somebody hears of another one who comes.
fn notices(cluster: &mut Cluster, at: Address) -> usize {
    let other = credential("cid", &json!(["join"]), &json!({}));
    let other = come(cluster, 0, &other, None);
    cluster.send(other, &json!({ "type": "join", "room": "r" }).to_string());
    let told = cluster.read(at);
    cluster.lose(other);
    cluster.wait(5_000);
    cluster.read(at);
    told.iter().filter(|it| it["type"] == "presence").count()
}

/// The offsets of messages.
fn offsets(told: &[Value]) -> Vec<u64> {
    told.iter().filter_map(|it| it["offset"].as_u64()).collect()
}

#[test]
fn a_join_gives_no_notices_and_no_history_to_who_may_not_ask_for_them() {
    for core in [0, 1] {
        let (mut cluster, owner, start) = reliable_room();
        let least = bob_with(&["join"]);
        let bob = come(&mut cluster, core, &least, None);
        let (_, session) = welcomed(&mut cluster, bob);
        for command in ["presence", "history"] {
            let command = json!({ "type": command, "room": "r" });
            assert_eq!(ask(&mut cluster, bob, command)["code"], "forbidden");
        }
        cluster.send(bob, &join(Some(&start)).to_string());
        let told = cluster.read(bob);
        assert!(told.is_empty(), "no history: {told:?}");
        let joined = ask(&mut cluster, bob, join(Some(&start)));
        assert_eq!((&joined["type"], &joined["recovered"]), (&json!("ok"), &json!(false)));
        assert_eq!(notices(&mut cluster, bob), 0);

        // What a session missed of the live stream, it gets.
        cluster.lose(bob);
        say(&mut cluster, owner);
        let bob = come(&mut cluster, 1 - core, &least, Some(&session));
        let told = cluster.read(bob);
        assert_eq!(offsets(&told), [2], "{told:?}");

        let refresh = json!({ "type": "auth", "token": bob_with(&["join", "history"]) });
        assert_eq!(ask(&mut cluster, bob, refresh)["type"], "ok");
        cluster.send(bob, &join(Some(&start)).to_string());
        let told = cluster.read(bob);
        assert_eq!(offsets(&told), [1, 2], "{told:?}");
    }
}

#[test]
fn notices_end_with_the_right_to_presence() {
    for core in [0, 1] {
        let (mut cluster, ..) = reliable_room();
        let (least, most) = (bob_with(&["join"]), bob_with(&["join", "presence"]));
        let mut bob = come(&mut cluster, core, &most, None);
        let (_, session) = welcomed(&mut cluster, bob);
        assert_eq!(ask(&mut cluster, bob, join(None))["type"], "ok");
        assert_eq!(notices(&mut cluster, bob), 1);
        let refresh = |cluster: &mut Cluster, bob, token: &str| {
            let refresh = json!({ "type": "auth", "token": token });
            assert_eq!(ask(cluster, bob, refresh)["type"], "ok");
        };
        refresh(&mut cluster, bob, &least);
        assert_eq!(notices(&mut cluster, bob), 0, "narrowed");
        refresh(&mut cluster, bob, &most);
        assert_eq!(notices(&mut cluster, bob), 0, "nobody has asked for them again");
        assert_eq!(ask(&mut cluster, bob, join(None))["type"], "ok");
        for (credential, heard) in [(&most, 1), (&least, 0)] {
            cluster.lose(bob);
            bob = come(&mut cluster, core, credential, Some(&session));
            cluster.read(bob);
            assert_eq!(notices(&mut cluster, bob), heard, "after a return");
        }
    }
}

#[test]
fn who_guesses_a_room_s_password_or_token_is_counted_and_sent_away() {
    for core in [0, 1] {
        let mut cluster = cluster(2, Config::default());
        let owner = credential("ann", &json!(["*"]), &json!({}));
        let owner = come(&mut cluster, 0, &owner, None);
        cluster.read(owner);
        for kind in ["protected", "invite_only"] {
            let config = json!({ "type": kind, "password": "sesame-sesame" });
            let create = json!({ "type": "room.create", "room": kind, "config": config });
            assert_eq!(ask(&mut cluster, owner, create)["type"], "ok");
        }
        let bob = credential("bob", &json!(["join"]), &json!({}));
        let at = |cluster: &mut Cluster| {
            let at = come(cluster, core, &bob, None);
            cluster.read(at);
            at
        };
        let join = |room: &str, password: &str| json!({ "type": "join", "room": room, "password": password });
        let failures = |cluster: &mut Cluster| {
            let effects = cluster.effects.iter_mut();
            let of = |it: &mut crate::shard::Effects| std::mem::take(&mut it.failures);
            let words: Vec<_> = effects.flat_map(of).map(|it| it.refusal.word()).collect();
            words
        };
        let bob_1 = at(&mut cluster);
        // What is no guess is not counted: none given, or one that is not asked for.
        let none = json!({ "type": "join", "room": "protected" });
        assert_eq!(ask(&mut cluster, bob_1, none)["code"], "forbidden");
        assert_eq!(ask(&mut cluster, bob_1, join("open", "sesame"))["type"], "ok");
        assert_eq!(ask(&mut cluster, bob_1, join("protected", "sesame-sesame"))["type"], "ok");
        assert!(failures(&mut cluster).is_empty());

        let most = Config::default().limits.bad_messages;
        let guess = |cluster: &mut Cluster, what: &dyn Fn(u16) -> Value, code: &str| {
            let at = at(cluster);
            for n in 1..most {
                assert_eq!(ask(cluster, at, what(n))["code"], code, "{n}");
            }
            cluster.send(at, &what(most).to_string());
            let told = cluster.read(at);
            let codes: Vec<_> =
                told.iter().map(|it| it["code"].as_str().or(it["reason"].as_str())).collect();
            assert_eq!(codes, [Some(code), Some("auth_failed")], "{told:?}");
        };
        guess(&mut cluster, &|n| join("protected", &format!("sesame-{n}")), "forbidden");
        guess(&mut cluster, &|n| join("invite_only", &format!("sesame-{n}")), "invite_required");
        assert_eq!(failures(&mut cluster), vec!["password"; usize::from(most) * 2]);
        let by_token = |n: u16| {
            let mut token = room_token("protected");
            token.replace_range(token.len() - 8..token.len() - 4, &format!("{n:04}"));
            json!({ "type": "join", "room": "protected", "token": token })
        };
        guess(&mut cluster, &by_token, "forbidden");
        assert_eq!(failures(&mut cluster), vec!["signature"; usize::from(most)]);
    }
}

#[test]
fn what_waits_behind_a_room_token_is_answered_though_the_token_is_bad() {
    let source = KeySource { url: "https://id.example/keys".into(), issuer: None, algorithm: None };
    let mut cluster = cluster_that_trusts(2, Config::default(), vec![source]);
    let bob = credential("bob", &json!(["join", "publish", "history"]), &json!({}));
    let bob = come(&mut cluster, 0, &bob, None);
    cluster.read(bob);
    let claims = json!({ "room": "r", "exp": LATER }).to_string();
    let other = SigningKey::secret(Algorithm::Hs256, &[7; 32]).unwrap();
    let token = other.room_token(&claims, &SystemRandom::new()).unwrap();
    let batch = json!({ "type": "batch", "id": 9, "messages": [
        { "type": "join", "id": 1, "room": "r", "token": token },
        { "type": "publish", "id": 2, "room": "r", "data": 1 },
        { "type": "history", "id": 3, "room": "r" },
    ] });
    cluster.send(bob, &batch.to_string());
    assert!(cluster.read(bob).is_empty(), "the keys are fetched");
    let question = cluster.effects[0].questions.pop();
    let Some(Question::Keys { policy, source }) = question else { panic!("{question:?}") };
    // One of RFC 8037, which has not signed it.
    let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"e",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let answer = Answer::Keys { policy, source, keys: Ok(keys.into()) };
    cluster.input(bob, Input::Answer(Box::new(answer)));
    let told = cluster.read(bob);
    let mut ids: Vec<_> = told.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!((ids.pop(), told[0]["code"].as_str()), (Some(9), Some("forbidden")), "{told:?}");
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3], "{told:?}");
}
