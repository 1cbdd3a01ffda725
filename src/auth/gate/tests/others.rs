//! Who is asked about what is not known here, and in which order.

use std::sync::Arc;

use ring::rand::SystemRandom;

use super::{answer, token};
use crate::auth::Algorithm::{EdDsa, Hs256};
use crate::auth::api_key::{ApiKey, NewKey};
use crate::auth::cookie::CookieKey;
use crate::auth::tests::support::{
    NOW, NOW_MS, OTHER_SECRET, SECRET, at, gate, pair, setup, signed, trust,
};
use crate::auth::{
    Gate, KeySource, Limits, Policy, Proof, Question, Quota, Refusal, Setup, SigningKey, Strategy,
    Trust, Verdict, Whom,
};
use crate::hash::Seed;
use crate::id::TenantId;
use crate::ws::handshake::CredentialKind::{self, ApiKey as Key, Bearer, Cookie};
use Whom::{Hook, Introspection};

const INACTIVE: Result<&str, Refusal> = Ok(r#"{"active":false}"#);
const ACTIVE: Result<&str, Refusal> = Ok(r#"{"active":true,"sub":"ann"}"#);

fn api_key(number: u8, expires_at_ms: Option<u64>) -> (ApiKey, String) {
    let new = NewKey::of(&[number; 9], &[number; 32]);
    let key = ApiKey {
        prefix: new.prefix.as_str().into(),
        hash: new.hash,
        tenant: TenantId(0),
        tenant_name: "default".into(),
        user: None,
        rights: Arc::default(),
        expires_at_ms,
        quota: Arc::new(Quota::new(0, 0)),
    };
    (key, new.key.to_string())
}

/// Everything that can be known here, and both who may be asked.
fn everything() -> Setup {
    let mut operator = trust([pair(Hs256).1.called(Some("k1"))]);
    operator.cookie_keys = vec![Arc::new(CookieKey::new("c1", SECRET).expect("a key"))];
    Setup {
        cookie_name: Some("s".into()),
        api_keys: vec![api_key(1, Some(1)).0],
        introspection: true,
        hook: true,
        ..setup(operator)
    }
}

/// Who was asked about a credential, and how it was accepted in the end or why not. The backend says
/// yes; `said` is what the authorization server says.
fn asked(
    gate: &mut Gate,
    (kind, secret): (CredentialKind, &str),
    said: Result<&str, Refusal>,
) -> (Vec<Whom>, Result<Strategy, Refusal>) {
    let mut asked = Vec::new();
    loop {
        let proof = Proof { kind, secret, wanted_tenant: None };
        let question = match gate.judge(at(NOW_MS), &proof) {
            Verdict::Accepted(accepted) => return (asked, Ok(accepted.strategy)),
            Verdict::Refused(refusal) => return (asked, Err(refusal)),
            Verdict::Ask(question) => question,
        };
        let Question::Identity { whom, .. } = &question else { panic!("{question:?}") };
        asked.push(*whom);
        assert!(asked.len() < 4, "again and again: {asked:?}");
        let said = if *whom == Hook { Ok(r#"{"user":"ann"}"#) } else { said };
        assert!(gate.learn(at(NOW_MS), &answer(&question, said)));
    }
}

#[test]
fn what_no_key_here_is_named_for_is_asked_of_the_one_and_then_of_the_other() {
    let claims = format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 60);
    let nowhere = format!(r#"{{"sub":"ann","tenant":"nowhere","exp":{}}}"#, NOW + 60);
    let jwt = |kid: &str, claims: &str| {
        signed(Hs256, &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), claims)
    };
    let forged = jwt("k2", &claims).replace(
        jwt("k2", &claims).split('.').next().expect("a header"),
        jwt("k1", &claims).split('.').next().expect("a header"),
    );
    let cookie =
        |id: &str, secret| CookieKey::new(id, secret).expect("a key").sign("s", "default", &claims);
    let (known, unknown) = (api_key(1, None).1, api_key(2, None).1);
    let both = vec![Introspection, Hook];
    for (case, kind, secret, whom, end) in [
        ("a ticket", Bearer, "ticket", both.clone(), Ok(Strategy::Hook)),
        ("three parts of nothing", Bearer, "a.b.c", both.clone(), Ok(Strategy::Hook)),
        ("another's token", Bearer, &jwt("k2", &claims), both.clone(), Ok(Strategy::Hook)),
        (
            "of a tenant that is none",
            Bearer,
            &jwt("k2", &nowhere),
            both.clone(),
            Ok(Strategy::Hook),
        ),
        ("another algorithm", Bearer, &token("k2"), both.clone(), Ok(Strategy::Hook)),
        ("ours, forged", Bearer, &forged, vec![], Err(Refusal::Signature)),
        ("ours, of another kind", Bearer, &token("k1"), vec![], Err(Refusal::Algorithm)),
        ("ours", Bearer, &jwt("k1", &claims), vec![], Ok(Strategy::Token)),
        ("another's key", Key, &unknown, both.clone(), Ok(Strategy::Hook)),
        ("half a key", Key, "rr_half", both, Ok(Strategy::Hook)),
        ("ours, and over", Key, &known, vec![], Err(Refusal::Expired)),
        ("another's session", Cookie, "4711", vec![Hook], Ok(Strategy::Hook)),
        ("of another key", Cookie, &cookie("c2", SECRET), vec![Hook], Ok(Strategy::Hook)),
        ("ours, forged", Cookie, &cookie("c1", OTHER_SECRET), vec![], Err(Refusal::Signature)),
        ("ours", Cookie, &cookie("c1", SECRET), vec![], Ok(Strategy::Cookie)),
    ] {
        let mut gate = gate(everything());
        let found = asked(&mut gate, (kind, secret), INACTIVE);
        assert_eq!(found, (whom.clone(), end), "{case}");
        let again = asked(&mut gate, (kind, secret), INACTIVE);
        assert_eq!(again, (vec![], end), "{case}: remembered");
        // Where nothing is remembered, what was said is for whoever has asked.
        let limits = Limits { cached: 0, ..Limits::default() };
        let mut forgetful = Gate::new(Arc::new(Policy::new(everything())), limits, Seed(1, 2));
        assert_eq!(asked(&mut forgetful, (kind, secret), INACTIVE), (whom, end), "{case}");
    }
}

#[test]
fn a_token_without_a_name_that_no_nameless_key_has_signed_may_be_somebody_else_s() {
    let claims = format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 60);
    let nameless = || Setup { hook: true, ..setup(trust([pair(Hs256).1])) };
    let foreign = signed(EdDsa, r#"{"alg":"EdDSA"}"#, &claims);
    let other = SigningKey::secret(Hs256, OTHER_SECRET).expect("a key");
    let other = other.token(&claims, &SystemRandom::new()).expect("signed");
    for secret in [foreign, other] {
        let found = asked(&mut gate(nameless()), (Bearer, &secret), INACTIVE);
        assert_eq!(found, (vec![Hook], Ok(Strategy::Hook)), "{secret}");
    }
    let mut operator = trust([pair(Hs256).1]);
    operator.issuers = vec!["https://id.example".into()];
    let elsewhere = format!(r#"{{"sub":"ann","iss":"https://other.example","exp":{}}}"#, NOW + 60);
    let elsewhere = signed(Hs256, r#"{"alg":"HS256"}"#, &elsewhere);
    let mut gate = gate(Setup { hook: true, ..setup(operator) });
    assert_eq!(asked(&mut gate, (Bearer, &elsewhere), INACTIVE), (vec![Hook], Ok(Strategy::Hook)));
}

#[test]
fn the_backend_is_asked_what_the_authorization_server_does_not_know_and_nothing_else() {
    for (said, whom, end) in [
        (INACTIVE, vec![Introspection, Hook], Ok(Strategy::Hook)),
        (ACTIVE, vec![Introspection], Ok(Strategy::Introspection)),
        (Err(Refusal::Unavailable), vec![Introspection], Err(Refusal::Unavailable)),
        (Err(Refusal::Busy), vec![Introspection], Err(Refusal::Busy)),
        (Ok(r#"{"active":true}"#), vec![Introspection], Err(Refusal::Claims)),
    ] {
        let found = asked(&mut gate(everything()), (Bearer, "ticket"), said);
        assert_eq!(found, (whom, end), "{said:?}");
    }
    let alone =
        Setup { introspection: true, cookie_name: Some("s".into()), ..setup(Trust::default()) };
    let found = asked(&mut gate(alone), (Cookie, "4711"), ACTIVE);
    assert_eq!(found, (vec![], Err(Refusal::Unsupported)), "it is told of no session");
}

#[test]
fn a_key_that_may_be_newer_than_a_set_is_waited_for_and_not_asked_of_others() {
    let source = KeySource { url: "https://id.example/keys".into(), issuer: None, algorithm: None };
    let operator = Trust { sources: vec![source], ..Trust::default() };
    let mut gate = gate(Setup { hook: true, ..setup(operator) });
    super::learn(&mut gate, NOW_MS, Ok(super::set("a")));
    assert_eq!(super::word(&mut gate, NOW_MS, &token("b")), Err(Refusal::Unavailable));
    assert_eq!(super::word(&mut gate, NOW_MS + 10_000, &token("b")), Ok("asked"), "the URL");
    super::learn(&mut gate, NOW_MS + 10_000, Ok(super::set("a")));
    let at = at(NOW_MS + 10_000);
    let proof = Proof { kind: Bearer, secret: &token("b"), wanted_tenant: None };
    let Verdict::Ask(Question::Identity { whom: Hook, .. }) = gate.judge(at, &proof) else {
        panic!("the backend may know it")
    };
}
