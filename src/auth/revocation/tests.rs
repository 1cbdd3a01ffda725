use std::sync::Arc;

use super::{Revocation, Revocations, Revoked, TooManyRevocations};
use crate::auth::{Accepted, Rights, Strategy};
use crate::hash::Seed;
use crate::id::TenantId;

const NOW: u64 = 1_000_000;

fn accepted(tenant: u32, user: &str, token: &str, issued_at_ms: Option<u64>) -> Accepted {
    Accepted {
        strategy: Strategy::Token,
        tenant: TenantId(tenant),
        tenant_name: "t".into(),
        user: Some(user.into()),
        info: None,
        metadata: Box::default(),
        roles: Box::default(),
        rights: Arc::new(Rights::default()),
        join: Box::default(),
        issued_at_ms,
        expires_at_ms: None,
        token_id: Some(token.into()),
        issuer: None,
        quota: None,
    }
}

fn revocation(tenant: u32, what: Revoked) -> Revocation {
    Revocation { tenant: TenantId(tenant), what, issued_before_ms: NOW, until_ms: NOW + 1_000 }
}

#[test]
fn a_revocation_covers_its_own_and_ends() {
    let user = Revoked::User("ann".into());
    let token = Revoked::Token("t1".into());
    for (what, accepted, covered) in [
        (&user, accepted(1, "ann", "t9", Some(NOW - 1)), true),
        (&user, accepted(1, "ann", "t9", None), true),
        (&user, accepted(1, "ann", "t9", Some(NOW)), false),
        (&user, accepted(2, "ann", "t9", Some(NOW - 1)), false),
        (&user, accepted(1, "bob", "ann", Some(NOW - 1)), false),
        (&token, accepted(1, "bob", "t1", Some(NOW + 5)), true),
        (&token, accepted(2, "bob", "t1", Some(NOW - 1)), false),
        (&token, accepted(1, "t1", "t2", Some(NOW - 1)), false),
        (&Revoked::Tenant, accepted(1, "bob", "t1", Some(NOW - 1)), true),
        (&Revoked::Tenant, accepted(2, "bob", "t1", Some(NOW - 1)), false),
    ] {
        let mut revocations = Revocations::new(Seed(1, 2), 10);
        revocations.add(revocation(1, what.clone()), NOW).expect("room");
        assert_eq!(revocations.cover(&accepted, NOW), covered, "{what:?} {accepted:?}");
        assert!(!revocations.cover(&accepted, NOW + 1_000), "it has ended");
    }
}

#[test]
fn one_too_many_is_refused_until_others_end() {
    let mut revocations = Revocations::new(Seed(1, 2), 2);
    let of = |name: &str| revocation(1, Revoked::User(name.into()));
    revocations.add(of("a"), NOW).expect("room");
    revocations.add(of("b"), NOW).expect("room");
    revocations.add(of("a"), NOW).expect("it is there");
    assert_eq!(revocations.add(of("c"), NOW), Err(TooManyRevocations));
    assert!(revocations.cover(&accepted(1, "a", "t", None), NOW), "none was forgotten");
    let later = Revocation { until_ms: NOW + 9_000, ..of("c") };
    revocations.add(later, NOW + 1_000).expect("the others have ended");
    assert_eq!(revocations.len(), 1);
}
