//! API keys with limits of their own.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::auth::api_key::{ApiKey, NewKey};
use crate::auth::{Permission, Policy, Quota, RightsBuilder, Setup, TenantSetup, Trust};
use crate::config::{Config, Tenant};
use crate::id::TenantId;
use crate::shard::{Admission, Claim, Denied, Entry};
use crate::ws::handshake::{Credential, CredentialKind};

/// A program's key, with so many connections and messages a second.
struct Key {
    new: NewKey,
    quota: Arc<Quota>,
}

impl Key {
    fn new(number: u8, connections: u32, messages_per_second: u32) -> Self {
        let new = NewKey::of(&[number; 9], &[number; 32]);
        Self { new, quota: Arc::new(Quota::new(connections, messages_per_second)) }
    }

    fn known(&self) -> ApiKey {
        let mut rights = RightsBuilder::default();
        rights.state(&Permission::parse("*").expect("a right"));
        ApiKey {
            prefix: self.new.prefix.as_str().into(),
            hash: self.new.hash,
            tenant: TenantId::DEFAULT,
            tenant_name: "default".into(),
            user: Some("billing".into()),
            rights: Arc::new(rights.finish().expect("few")),
            expires_at_ms: None,
            quota: Arc::clone(&self.quota),
        }
    }

    /// A connection that shows it in its first message.
    fn come(&self, cluster: &mut Cluster, core: u16) -> Address {
        let at = cluster.open_with(core, |it| it.entry = Entry::Later(Box::default()));
        let auth = json!({ "type": "auth", "token": &*self.new.key });
        cluster.send(at, &auth.to_string());
        at
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.connections_per_user = 0;
    for rate in [&mut config.rate.messages_per_second, &mut config.users.messages_per_second] {
        *rate = 0;
    }
    config.addresses.messages_per_second = 0;
    config
}

fn cluster(cores: u16, config: Config, keys: &[&Key]) -> Cluster {
    let policy = Policy::new(Setup {
        number: 1,
        tenants: vec![TenantSetup {
            id: TenantId::DEFAULT,
            name: "default".into(),
            trust: Trust::default(),
        }],
        api_keys: keys.iter().map(|key| key.known()).collect(),
        ..Setup::default()
    });
    Cluster::with_policy(cores, config, &Arc::new(policy))
}

/// The last that a connection was told.
fn last(cluster: &mut Cluster, at: Address) -> Value {
    cluster.read(at).pop().expect("it was told something")
}

#[test]
fn a_key_has_as_many_connections_as_it_may_whichever_core_they_are_on() {
    let (few, other) = (Key::new(1, 2, 0), Key::new(2, 0, 0));
    let mut cluster = cluster(3, config(), &[&few, &other]);
    let one = few.come(&mut cluster, 0);
    let two = few.come(&mut cluster, 1);
    for at in [one, two] {
        assert_eq!(last(&mut cluster, at)["type"], "welcome");
    }
    let three = few.come(&mut cluster, 2);
    assert_eq!(last(&mut cluster, three)["reason"], "connection_limit");
    let secret = few.new.key.clone();
    let credential = Credential { kind: CredentialKind::ApiKey, secret };
    let claim = Claim { credential: Some(&credential), tenant: None, page: None };
    let now = cluster.now;
    let mut effects = crate::shard::Effects::default();
    let admission = cluster.shards[2].admit(now, three.key, &claim, &mut effects);
    assert!(matches!(admission, Admission::Refuse(Denied::CredentialFull)), "{admission:?}");
    for core in 0..3 {
        let at = other.come(&mut cluster, core);
        assert_eq!(last(&mut cluster, at)["type"], "welcome", "another key is another");
    }
    cluster.lose(one);
    let four = few.come(&mut cluster, 2);
    assert_eq!(last(&mut cluster, four)["type"], "welcome", "the place was given back");
    cluster.lose(three);
    let five = few.come(&mut cluster, 0);
    assert_eq!(last(&mut cluster, five)["reason"], "connection_limit", "who had none gives none");
}

#[test]
fn a_connection_that_shows_another_key_counts_for_that_one() {
    let (one, two) = (Key::new(1, 1, 0), Key::new(2, 1, 0));
    let mut cluster = cluster(2, config(), &[&one, &two]);
    let (first, second) = (one.come(&mut cluster, 0), two.come(&mut cluster, 1));
    let refresh = |cluster: &mut Cluster, at: Address, key: &Key| {
        let auth = json!({ "type": "auth", "id": 1, "token": &*key.new.key });
        cluster.ask(at, &auth.to_string())
    };
    for at in [first, second] {
        assert_eq!(last(&mut cluster, at)["type"], "welcome");
    }
    assert_eq!(refresh(&mut cluster, first, &two)["code"], "limit_exceeded");
    assert_eq!(refresh(&mut cluster, first, &one)["type"], "ok", "its own place");
    cluster.lose(second);
    assert_eq!(refresh(&mut cluster, first, &two)["type"], "ok");
    let again = one.come(&mut cluster, 1);
    assert_eq!(last(&mut cluster, again)["type"], "welcome", "its place was given back");
    cluster.lose(first);
    let again = two.come(&mut cluster, 0);
    assert_eq!(last(&mut cluster, again)["type"], "welcome", "and so was the other's");
}

/// How many of `count` pings of each are answered, in turn.
fn answered(cluster: &mut Cluster, all: &[Address], count: u32) -> usize {
    let ping = r#"{"type":"ping","id":1}"#;
    let pings = (0..count).flat_map(|_| all);
    pings.filter(|at| cluster.ask(**at, ping)["type"] == "pong").count()
}

#[test]
fn all_connections_of_a_key_send_together_what_it_may() {
    let (slow, other) = (Key::new(1, 0, 10), Key::new(2, 0, 0));
    let mut cluster = cluster(3, config(), &[&slow, &other]);
    let all: Vec<_> = (0..3).map(|core| slow.come(&mut cluster, core)).collect();
    let free = other.come(&mut cluster, 0);
    for at in all.iter().chain([&free]) {
        assert_eq!(last(&mut cluster, *at)["type"], "welcome");
    }
    cluster.wait(1_000);
    assert_eq!(answered(&mut cluster, &all, 10), 10, "of 30");
    let refused = cluster.ask(all[1], r#"{"type":"ping","id":1}"#);
    assert_eq!(refused["code"], "rate_limited");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms <= 100), "{refused}");
    assert_eq!(answered(&mut cluster, &[free], 100), 100, "another key is another");
    for at in all {
        cluster.lose(at);
    }
    let again = slow.come(&mut cluster, 2);
    assert_eq!(last(&mut cluster, again)["type"], "welcome");
    assert_eq!(answered(&mut cluster, &[again], 1), 0, "coming back makes nobody new");
    cluster.wait(500);
    assert_eq!(answered(&mut cluster, &[again], 10), 5);
}

#[test]
fn what_a_key_may_not_send_is_not_taken_from_its_tenant() {
    let (slow, free) = (Key::new(1, 0, 1), Key::new(2, 0, 0));
    let mut config = config();
    let mut tenant = Tenant::default();
    tenant.rows.messages_per_second = 20;
    config.tenants.insert("default".to_owned(), tenant);
    let mut cluster = cluster(1, config, &[&slow, &free]);
    let (slow, free) = (slow.come(&mut cluster, 0), free.come(&mut cluster, 0));
    for at in [slow, free] {
        assert_eq!(last(&mut cluster, at)["type"], "welcome");
    }
    cluster.wait(2_000);
    assert_eq!(answered(&mut cluster, &[slow], 100), 1);
    assert_eq!(answered(&mut cluster, &[free], 30), 19);
}
