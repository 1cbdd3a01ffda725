//! Who clients are, and what they may.

use std::sync::Arc;

use ringroom::id::TenantId;
use ringroom::protocol::Scalar;
use ringroom::shard::identity::{Identity, Permit, Right};

/// Everyone may do everything but govern rooms, which only some may; one may publish from outside.
#[derive(Clone, Copy, Debug)]
struct Granted {
    governs: bool,
    from_outside: bool,
}

impl Permit for Granted {
    fn allows(&self, right: Right, _on: &str) -> bool {
        self.governs || !matches!(right, Right::Moderate | Right::Configure)
    }

    fn allows_from_outside(&self, right: Right, _on: &str) -> bool {
        self.from_outside && right == Right::Publish
    }
}

/// A user, or somebody anonymous.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) tenant: u32,
    pub(crate) user: Option<String>,
    /// `team` of the credential.
    pub(crate) team: i64,
    pub(crate) identity: Arc<Identity>,
}

/// Users `u0` to `u4` and two anonymous ones of each of two tenants.
pub(crate) fn people() -> Vec<Person> {
    let mut people = Vec::new();
    for tenant in 0..2 {
        for number in 0..7_u32 {
            let user = (number < 5).then(|| format!("u{number}"));
            let team = i64::from(number % 2);
            let identity = Identity {
                is_known: true,
                tenant: TenantId(tenant),
                tenant_name: format!("t{tenant}").into(),
                user: user.as_deref().map(Into::into),
                metadata: [("team".into(), Scalar::Integer(team))].into(),
                expires_at_ms: None,
                permit: Arc::new(Granted { governs: number == 0, from_outside: number == 3 }),
                accepted: None,
            };
            people.push(Person { tenant, user, team, identity: Arc::new(identity) });
        }
    }
    people
}
