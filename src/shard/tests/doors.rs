//! Connections before it is known whose they are, and those that stay or come after the operator has
//! decided something.

use std::sync::Arc;

use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::store;
use crate::auth::key::VerifyingKey;
use crate::auth::{
    Algorithm, Permission, Policy, Revocation, Revoked, Setup, SigningKey, TenantSetup, Trust,
    TrustedKey,
};
use crate::config::{Config, RoomDefaults, Tenant};
use crate::id::{CoreId, TenantId};
use crate::shard::{Edict, Entry, Input};

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";
const ACME: TenantId = TenantId(1);

fn policy() -> Arc<Policy> {
    policy_that(|_| ())
}

fn policy_that(differs: impl FnOnce(&mut Setup)) -> Arc<Policy> {
    let key = Arc::new(VerifyingKey::secret(Algorithm::Hs256, SECRET).unwrap());
    let operator = Trust { keys: vec![TrustedKey { issuer: None, key }], ..Trust::default() };
    let tenants = [(TenantId::DEFAULT, "default"), (ACME, "acme")].map(|(id, name)| TenantSetup {
        id,
        name: name.into(),
        trust: Trust::default(),
    });
    let mut setup = Setup { number: 1, operator, tenants: tenants.into(), ..Setup::default() };
    differs(&mut setup);
    Arc::new(Policy::new(setup))
}

/// Two tenants; how `default` is limited is said.
fn config(default: impl FnOnce(&mut Tenant)) -> Config {
    let mut config = Config::default();
    let mut tenant = Tenant::default();
    default(&mut tenant);
    config.tenants.insert("default".to_owned(), tenant);
    config.tenants.insert("acme".to_owned(), Tenant::default());
    config
}

/// A user's credential.
fn token(tenant: &str, user: &str, id: &str) -> String {
    let claims = json!({
        "tenant": tenant, "sub": user, "jti": id, "exp": 1_700_003_600, "iat": 1_700_000_000,
        "permissions": ["*"],
    });
    let key = SigningKey::secret(Algorithm::Hs256, SECRET).unwrap();
    key.token(&claims.to_string(), &SystemRandom::new()).unwrap()
}

/// A connection that has not said yet who it is.
fn stranger(cluster: &mut Cluster, core: u16) -> Address {
    let at = cluster.open_with(core, |it| it.entry = Entry::Later(Box::default()));
    assert_eq!(cluster.read(at)[0]["type"], "auth_required");
    at
}

fn auth(cluster: &mut Cluster, at: Address, token: &str) -> Vec<Value> {
    cluster.send(at, &json!({ "type": "auth", "id": 0, "token": token }).to_string());
    cluster.read(at)
}

/// A connection that has said who it is.
fn come(cluster: &mut Cluster, core: u16, token: &str) -> Address {
    let at = stranger(cluster, core);
    let told = auth(cluster, at, token);
    assert_eq!(told.last().unwrap()["type"], "welcome", "{told:?}");
    at
}

/// Every core hears what the operator has decided.
fn decide(cluster: &mut Cluster, edict: &Edict) {
    for core in 0..cluster.shards.len() {
        let core = CoreId(u16::try_from(core).unwrap());
        let at = Address { core, key: crate::id::ConnectionKey { index: 0, generation: 0 } };
        cluster.input(at, Input::Edict { number: 1, edict: edict.clone() });
    }
}

#[test]
fn a_suspended_tenant_takes_nobody_with_it_who_has_not_said_whose_they_are() {
    let mut cluster = Cluster::with_policy(2, config(|_| ()), &policy());
    let ann = come(&mut cluster, 0, &token("default", "ann", "a"));
    let (later, other) = (stranger(&mut cluster, 0), stranger(&mut cluster, 1));
    cluster.shards[0].tenants.get(TenantId::DEFAULT).suspend(true);
    decide(&mut cluster, &Edict::Suspend(TenantId::DEFAULT));
    assert_eq!(cluster.read(ann)[0]["reason"], "suspended");
    for at in [later, other] {
        assert!(cluster.read(at).is_empty(), "it is nobody's");
    }
    let told = auth(&mut cluster, later, &token("acme", "bob", "b"));
    assert_eq!(told.last().unwrap()["type"], "welcome", "{told:?}");
    let told = auth(&mut cluster, other, &token("default", "ann", "a"));
    assert_eq!(told[0]["reason"], "suspended", "{told:?}");
}

/// How many of `count` pings are answered.
fn answered(cluster: &mut Cluster, at: Address, count: usize) -> usize {
    let pongs = (0..count).map(|_| cluster.ask(at, r#"{"type":"ping","id":1}"#));
    pongs.filter(|it| it["type"] == "pong").count()
}

#[test]
fn who_has_not_said_whose_they_are_spends_nothing_of_any_tenant_and_waits_for_none() {
    let mut config = config(|tenant| {
        (tenant.rows.messages_per_second, tenant.rows.ban_ms) = (10, 60_000);
    });
    (config.rate.messages_per_second, config.rate.burst) = (0, 0);
    let mut cluster = Cluster::with_policy(2, config, &policy());
    let ann = come(&mut cluster, 0, &token("default", "ann", "a"));
    let flooder = stranger(&mut cluster, 1);
    assert_eq!(answered(&mut cluster, flooder, 100), 100);
    assert_eq!(answered(&mut cluster, ann, 10), 10, "all of it is left, her first message too");
    assert_eq!(answered(&mut cluster, ann, 1), 0);
    // Now nothing of it is left, and still everybody comes in.
    assert_eq!(answered(&mut cluster, flooder, 100), 100);
    come(&mut cluster, 1, &token("acme", "bob", "b"));
    let other = come(&mut cluster, 1, &token("default", "cid", "c"));
    assert_eq!(answered(&mut cluster, other, 1), 0, "from here on it counts");
}

#[test]
fn who_has_not_said_whose_they_are_is_held_by_their_connection_and_address() {
    let from = |cluster: &mut Cluster, last: u8| {
        let at = cluster.open_with(0, |it| {
            it.entry = Entry::Later(Box::default());
            it.address = Some([10, 0, 0, last].into());
        });
        cluster.read(at);
        at
    };
    let mut of_connection = config(|_| ());
    (of_connection.rate.messages_per_second, of_connection.rate.burst) = (3, 3);
    let mut cluster = Cluster::with_policy(1, of_connection, &policy());
    for _ in 0..2 {
        let at = from(&mut cluster, 1);
        assert_eq!(answered(&mut cluster, at, 5), 3);
    }
    let mut of_address = config(|_| ());
    (of_address.addresses.messages_per_second, of_address.addresses.burst) = (3, 3);
    let mut cluster = Cluster::with_policy(1, of_address, &policy());
    for (last, passed) in [(1, 3), (1, 0), (2, 3)] {
        let at = from(&mut cluster, last);
        assert_eq!(answered(&mut cluster, at, 5), passed);
    }
}

#[test]
fn every_credential_that_is_shown_on_the_way_to_the_welcome_is_answered_once() {
    let mut waited = 0;
    for user in ["ann", "bob", "cid", "dee", "eve", "fay"] {
        let mut config = config(|_| ());
        config.limits.connections_per_user = 5;
        let mut cluster = Cluster::with_policy(3, config, &policy());
        let at = stranger(&mut cluster, 0);
        let (own, other) = (token("acme", user, "1"), token("acme", "other", "2"));
        // Where their home is another core, that has to let them in.
        cluster.holds = true;
        cluster.send(at, &json!({ "type": "auth", "id": 1, "token": own }).to_string());
        let again = json!([
            { "type": "auth", "id": 2, "token": own },
            { "type": "auth", "id": 3, "token": other },
        ]);
        cluster.send(at, &again.to_string());
        let mut told = cluster.read(at);
        waited += usize::from(!told.iter().any(|it| it["type"] == "welcome"));
        cluster.holds = false;
        cluster.carry();
        told.extend(cluster.read(at));
        let answers = told.iter().filter(|it| it["id"].is_number());
        let answers: Vec<_> = answers.map(|it| (it["id"].clone(), it["type"].clone())).collect();
        let expected = [(1, "ok"), (2, "ok"), (3, "error")];
        assert_eq!(answers, expected.map(|(id, kind)| (json!(id), json!(kind))), "{told:?}");
        assert_eq!(told.iter().filter(|it| it["type"] == "welcome").count(), 1, "{told:?}");
        assert_eq!(cluster.ask(at, r#"{"type":"ping","id":5}"#)["type"], "pong");
    }
    assert!(waited > 0, "some have to wait");
}

/// What is taken back of `default`, whenever it was made.
fn revoke(what: Revoked) -> Edict {
    let tenant = TenantId::DEFAULT;
    Edict::Revoke(Revocation { tenant, what, issued_before_ms: u64::MAX, until_ms: u64::MAX })
}

/// On one node alone, and on one with a Redis.
fn fleets(policy: &Arc<Policy>) -> [Fleet; 2] {
    [Config::default(), store::config()].map(|mut config| {
        for tenant in ["default", "acme"] {
            config.tenants.insert(tenant.to_owned(), Tenant::default());
        }
        let inherits = RoomDefaults { parent_inherit: Some(true), ..RoomDefaults::default() };
        config.namespace_rooms.insert("h".to_owned(), inherits);
        let is_linked = config.redis.is_on();
        let mut fleet = Fleet::new([Cluster::with_policy(2, config, policy)], 0);
        if is_linked {
            fleet.restore(0);
        }
        fleet.carry();
        fleet
    })
}

/// Rooms that ask others, or Redis, before anybody is answered.
const ROOMS: [&str; 8] =
    ["one", "two", "h:a/one", "h:a/two", "h:a/three", "h:b/one", "h:b/two", "h:b/three"];

fn joins(id: u64) -> String {
    let join = |(at, room)| json!({ "type": "join", "id": id + at, "room": room });
    let messages: Vec<_> = (1..).zip(ROOMS).map(join).collect();
    json!({ "type": "batch", "id": id, "messages": messages }).to_string()
}

#[test]
fn the_anonymous_have_shown_nothing_that_could_be_taken_back() {
    let policy = policy_that(|setup| {
        setup.anonymous = Some(vec![Permission::parse("*").unwrap()]);
    });
    for mut fleet in fleets(&policy) {
        let open = |fleet: &mut Fleet, core: u16| {
            let entry = Entry::Accepted(Arc::clone(policy.anonymous().unwrap()));
            let at = fleet.nodes[0].open_with(core, |it| it.entry = entry);
            fleet.carry();
            assert_eq!(fleet.nodes[0].read(at)[0]["type"], "welcome");
            at
        };
        let before = open(&mut fleet, 0);
        decide(&mut fleet.nodes[0], &revoke(Revoked::Tenant));
        let after = open(&mut fleet, 1);
        for at in [before, after] {
            fleet.nodes[0].send(at, &joins(10));
            fleet.carry();
            let told = fleet.nodes[0].read(at);
            let mut ok: Vec<_> = told.iter().filter(|it| it["type"] == "ok").collect();
            assert_eq!(ok.len(), ROOMS.len() + 1, "{told:?}");
            assert_eq!(ok.pop().unwrap()["id"], 10, "the batch after its messages");
        }
    }
}

#[test]
fn what_was_asked_by_a_credential_that_was_taken_back_is_refused_and_not_swallowed() {
    for mut fleet in fleets(&policy()) {
        let ann = fleet.nodes[0].open_with(0, |it| it.entry = Entry::Later(Box::default()));
        auth(&mut fleet.nodes[0], ann, &token("default", "ann", "old"));
        fleet.carry();
        fleet.nodes[0].read(ann);
        fleet.nodes[0].holds = true;
        fleet.nodes[0].send(ann, &joins(10));
        let mut told = auth(&mut fleet.nodes[0], ann, &token("default", "ann", "new"));
        decide(&mut fleet.nodes[0], &revoke(Revoked::Token("old".into())));
        fleet.nodes[0].holds = false;
        fleet.nodes[0].carry();
        fleet.carry();
        told.extend(fleet.nodes[0].read(ann));
        let mut ids: Vec<_> = told.iter().map(|it| it["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.pop(), Some(10), "the batch after its messages: {told:?}");
        ids.sort_unstable();
        assert_eq!(ids, [0, 11, 12, 13, 14, 15, 16, 17, 18], "{told:?}");
        assert!(told.iter().any(|it| it["code"] == "forbidden"), "some had to wait: {told:?}");
        fleet.nodes[0].send(ann, &joins(20));
        fleet.carry();
        let told = fleet.nodes[0].read(ann);
        let ok = told.iter().filter(|it| it["type"] == "ok").count();
        assert_eq!(ok, ROOMS.len() + 1, "{told:?}");
    }
}
