//! What each strategy accepts, and what it gives.

use std::sync::Arc;

use ring::rand::SystemRandom;

use super::support::{
    HEADER, NOW, NOW_MS, OTHER_SECRET, SECRET, at, gate, judged, pair, payload, proof, setup,
    signed, tenant, trust, usual_gate,
};
use crate::auth::Algorithm::{EdDsa, Es256, Hs256};
use crate::auth::api_key::{ApiKey, NewKey};
use crate::auth::cookie::CookieKey;
use crate::auth::key::VerifyingKey;
use crate::auth::{
    Accepted, Algorithm, Custom, Gate, Permission, Permit, Proof, Quota, Refusal, Revocation,
    Revoked, Right, Rights, RightsBuilder, RoomVerdict, Setup, SigningKey, Strategy, TenantSetup,
    Trust, TrustedKey, Verdict,
};
use crate::clock::Now;
use crate::id::TenantId;
use crate::protocol::{Role, Scalar};
use crate::room::name::RoomName;
use crate::ws::handshake::CredentialKind;

fn accepted(gate: &mut Gate, secret: &str) -> Arc<Accepted> {
    match gate.judge(at(NOW_MS), &proof(secret)) {
        Verdict::Accepted(accepted) => accepted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_says_who_what_where_and_until_when() {
    let mut setup = setup(trust([VerifyingKey::secret(Hs256, SECRET).expect("a key")]));
    let moderator = vec![Permission::parse("moderate").expect("a right")];
    setup.roles.insert("moderator".into(), moderator);
    let mut gate = gate(setup);
    let token = format!(
        r#"{{"sub":"ann","tenant":"acme","exp":{},"iat":{NOW},"jti":"t1","info":{{"name":"Ann"}},
        "metadata":{{"tier":"gold","level":3,"beta":true}},"roles":["moderator","unknown"],
        "permissions":["publish:cursor.*"],"rooms":{{"team:**":["join","publish"]}},
        "join":["team:1"]}}"#,
        NOW + 600
    );
    let ann = accepted(&mut gate, &signed(Hs256, HEADER, &token));
    assert_eq!((ann.tenant, &*ann.tenant_name), (TenantId(1), "acme"));
    assert_eq!(ann.user.as_deref(), Some("ann"));
    assert_eq!(ann.info.as_deref(), Some(r#"{"name":"Ann"}"#));
    assert!(ann.metadata.contains(&("level".into(), Scalar::Integer(3))));
    assert_eq!(ann.join, [RoomName::parse("team:1").expect("a room")].into());
    assert_eq!(ann.expires_at_ms, Some((NOW + 600) * 1_000));
    assert_eq!((ann.token_id.as_deref(), ann.issued_at_ms), (Some("t1"), Some(NOW_MS)));
    assert!(ann.rights.allows(Right::Publish, "team:1/a"));
    assert!(ann.rights.allows(Right::Moderate, "anything"), "by the role");
    assert!(ann.rights.allows_event(Right::Publish, "lobby", Some("cursor.move")));
    assert!(!ann.rights.allows(Right::Join, "lobby"), "what it says takes the defaults' place");
}

#[test]
fn what_is_remembered_ends_when_it_says() {
    let mut gate = usual_gate();
    let token = signed(Hs256, HEADER, &payload(""));
    let end_ms = (NOW + 600) * 1_000 + 30_000;
    for (at_ms, good) in [(NOW_MS, true), (end_ms - 1, true), (end_ms, false)] {
        let verdict = gate.judge(at(at_ms), &proof(&token));
        assert_eq!(matches!(verdict, Verdict::Accepted(_)), good, "{at_ms}");
    }
}

#[test]
fn a_wall_clock_that_jumps_prolongs_nothing_that_is_remembered_and_forgets_no_refusal() {
    let mut gate = usual_gate();
    let token = signed(Hs256, HEADER, &payload(""));
    let (hour_ms, end_ms) = (60 * 60 * 1_000, (NOW + 600) * 1_000 + 30_000);
    let start = at(NOW_MS).moment;
    let good = |gate: &mut Gate, after_ms: u64, unix_ms: u64| {
        let now = Now { moment: start.plus_ms(after_ms), unix_ms };
        matches!(gate.judge(now, &proof(&token)), Verdict::Accepted(_))
    };
    assert!(good(&mut gate, 0, NOW_MS));
    assert!(!good(&mut gate, 1, end_ms), "forward: it is over");
    // The refusal is remembered for ten seconds of a clock that does not jump.
    for unix_ms in [NOW_MS - hour_ms, NOW_MS, end_ms + hour_ms] {
        assert!(!good(&mut gate, 10_000, unix_ms), "{unix_ms}");
    }
    assert!(good(&mut gate, 10_001, NOW_MS), "and no longer");
    assert!(!good(&mut gate, 10_002, end_ms + hour_ms), "forward again");
    assert!(!good(&mut gate, 10_003, NOW_MS), "refused a moment ago");
    assert!(
        good(&mut gate, 20_003, NOW_MS - hour_ms),
        "back: what was refused is not, for an hour"
    );
}

/// Two issuers, and a key of each, and one that names nobody.
fn two_issuers(lists: [&[&str]; 2]) -> Gate {
    let key = |algorithm, issuer: Option<&str>| TrustedKey {
        issuer: issuer.map(Into::into),
        key: Arc::new(pair(algorithm).1),
    };
    let [operator, own] = lists.map(|list| list.iter().map(|it| (*it).into()).collect());
    let operator = Trust {
        keys: vec![key(Hs256, None), key(Es256, Some("a"))],
        issuers: operator,
        ..Trust::default()
    };
    let acme = Trust { keys: vec![key(EdDsa, None)], issuers: own, ..Trust::default() };
    let acme = TenantSetup { trust: acme, ..tenant(1, "acme") };
    gate(Setup { tenants: vec![tenant(0, "default"), acme], ..setup(operator) })
}

#[test]
fn a_key_speaks_for_no_issuer_that_another_is_known_by() {
    let token = |algorithm: Algorithm, issuer: &str, tenant: &str| {
        let iss = if issuer.is_empty() { String::new() } else { format!(r#","iss":"{issuer}""#) };
        let exp = NOW + 60;
        let payload = format!(r#"{{"sub":"ann","exp":{exp},"tenant":"{tenant}"{iss}}}"#);
        signed(algorithm, &format!(r#"{{"alg":"{}"}}"#, algorithm.word()), &payload)
    };
    let nobody: [&[&str]; 2] = [&[], &[]];
    let a_of_all: [&[&str]; 2] = [&["a"], &[]];
    let b_of_acme: [&[&str]; 2] = [&[], &["b"]];
    for (case, lists, algorithm, issuer, tenant, is_good) in [
        ("named", nobody, Es256, "a", "default", true),
        ("named, another", nobody, Es256, "c", "default", false),
        ("named, none", nobody, Es256, "", "default", false),
        ("unnamed, of the named", nobody, Hs256, "a", "default", false),
        ("unnamed, of nobody known", nobody, Hs256, "c", "default", true),
        ("unnamed, none", nobody, Hs256, "", "default", true),
        ("a tenant's, of the operator's", nobody, EdDsa, "a", "acme", false),
        ("a tenant's, of nobody known", nobody, EdDsa, "c", "acme", true),
        ("unnamed, of the one in the list", a_of_all, Hs256, "a", "default", true),
        ("a tenant's, of the one in the operator's list", a_of_all, EdDsa, "a", "acme", false),
        ("the operator's, of the one in a tenant's list", b_of_acme, Hs256, "b", "acme", false),
        ("a tenant's, of the one in its list", b_of_acme, EdDsa, "b", "acme", true),
        ("the operator's, where the list does not hold", b_of_acme, Hs256, "b", "default", true),
    ] {
        let verdict = judged(&mut two_issuers(lists), &token(algorithm, issuer, tenant));
        assert_eq!(verdict.is_ok(), is_good, "{case}: {verdict:?}");
    }
}

#[test]
fn eight_keys_are_tried_and_the_one_that_is_named_first() {
    let secret = |index: u8| [b'0' + index; 32];
    let key = |index| VerifyingKey::secret(Hs256, &secret(index)).expect("a key");
    let token = |index: u8, kid: Option<&str>| {
        let key = SigningKey::secret(Hs256, &secret(index)).expect("a key").called(kid);
        let claims = format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 60);
        key.token(&claims, &SystemRandom::new()).expect("signed")
    };
    let mut nameless = gate(setup(trust((0..9).map(key))));
    for index in 0..8 {
        assert!(judged(&mut nameless, &token(index, None)).is_ok(), "{index}");
    }
    for index in [8, 9] {
        let verdict = judged(&mut nameless, &token(index, None));
        assert_eq!(verdict, Err(Refusal::UnknownKey), "{index}: it may be one that was not tried");
    }
    let named = key(9).called(Some("k"));
    let mut gate = gate(setup(trust((0..9).map(key).chain([named]))));
    assert!(judged(&mut gate, &token(9, Some("k"))).is_ok(), "found by its name");
    assert!(judged(&mut gate, &token(3, Some("k"))).is_ok(), "a key without a name may have any");
}

#[test]
fn the_tenant_that_is_asked_for_must_agree() {
    let mut gate = usual_gate();
    let token = signed(Hs256, HEADER, &payload(r#","tenant":"acme""#));
    for (wanted, right) in [(None, true), (Some("acme"), true), (Some("default"), false)] {
        for _ in ["cold", "warm"] {
            let proof = Proof { wanted_tenant: wanted, ..proof(&token) };
            match gate.judge(at(NOW_MS), &proof) {
                Verdict::Accepted(_) => assert!(right, "{wanted:?}"),
                Verdict::Refused(refusal) => {
                    assert_eq!((right, refusal), (false, Refusal::TenantMismatch));
                }
                Verdict::Ask(_) => panic!("asked"),
            }
        }
    }
}

/// Two tenants, each with a key called `k1`, of its own.
fn two_tenants() -> Setup {
    let of = |id, name: &str, secret| {
        let key = VerifyingKey::secret(Hs256, secret).expect("a key").called(Some("k1"));
        let cookie = Arc::new(CookieKey::new("c1", secret).expect("a key"));
        let trust = Trust { cookie_keys: vec![cookie], ..trust([key]) };
        TenantSetup { trust, ..tenant(id, name) }
    };
    let tenants = vec![of(0, "default", SECRET), of(1, "acme", OTHER_SECRET)];
    Setup { tenants, cookie_name: Some("s".into()), ..setup(Trust::default()) }
}

#[test]
fn the_same_names_of_keys_in_two_tenants_never_meet() {
    let mut gate = gate(two_tenants());
    for round in ["cold", "warm"] {
        for (secret, tenant, good) in [
            (SECRET, "default", true),
            (OTHER_SECRET, "acme", true),
            (SECRET, "acme", false),
            (OTHER_SECRET, "default", false),
        ] {
            let claims = format!(r#"{{"sub":"ann","tenant":"{tenant}","exp":{}}}"#, NOW + 600);
            let key = SigningKey::secret(Hs256, secret).expect("a key").called(Some("k1"));
            let token = key.token(&claims, &SystemRandom::new()).expect("signed");
            let verdict = judged(&mut gate, &token);
            assert_eq!(verdict.is_ok(), good, "{round} {tenant} {verdict:?}");
            let cookie = CookieKey::new("c1", secret).expect("a key").sign("s", tenant, &claims);
            let proof = Proof { kind: CredentialKind::Cookie, ..proof(&cookie) };
            let verdict = gate.judge(at(NOW_MS), &proof);
            assert_eq!(matches!(verdict, Verdict::Accepted(_)), good, "{round} cookie {tenant}");
        }
    }
}

#[test]
fn a_tenant_s_cookie_key_hides_none_of_the_operator_s_of_the_same_name() {
    let [third, fourth]: [&[u8]; 2] = [&[3; 32], &[4; 32]];
    let cookie_key = |secret| CookieKey::new("c1", secret).expect("a key");
    let mut setup = two_tenants();
    setup.operator.cookie_keys = vec![Arc::new(cookie_key(third))];
    let mut gate = gate(setup);
    for (secret, tenant, good) in [
        (SECRET, "default", true),
        (OTHER_SECRET, "acme", true),
        (SECRET, "acme", false),
        (third, "default", true),
        (third, "acme", true),
        (fourth, "acme", false),
    ] {
        let claims = format!(r#"{{"sub":"ann","tenant":"{tenant}","exp":{}}}"#, NOW + 600);
        let cookie = cookie_key(secret).sign("s", tenant, &claims);
        let proof = Proof { kind: CredentialKind::Cookie, ..proof(&cookie) };
        let verdict = gate.judge(at(NOW_MS), &proof);
        assert_eq!(matches!(verdict, Verdict::Accepted(_)), good, "{tenant}: {verdict:?}");
    }
}

#[test]
fn a_session_is_good_under_its_name_for_its_tenant() {
    let mut gate = gate(two_tenants());
    let claims =
        |tenant: &str| format!(r#"{{"sub":"ann","tenant":"{tenant}","exp":{}}}"#, NOW + 600);
    let key = CookieKey::new("c1", SECRET).expect("a key");
    for (value, refusal) in [
        (key.sign("t", "default", &claims("default")), Refusal::Signature),
        (key.sign("s", "acme", &claims("default")), Refusal::Signature),
        (key.sign("s", "default", r#"{"sub":"ann"}"#), Refusal::Claims),
        (key.sign("s", "default", r#"{"sub":"ann","exp":1}"#), Refusal::Expired),
        (key.sign("s", "default", r#"{"exp":9999999999}"#), Refusal::Claims),
        (key.sign("s", "default", "[]"), Refusal::Malformed),
        (key.sign("s", "default", &claims("default")).replace(".c1.", ".c2."), Refusal::UnknownKey),
        (key.sign("s", "default", &claims("default")).replace("v1.", "v2."), Refusal::Malformed),
        (format!("{}.x", key.sign("s", "default", &claims("default"))), Refusal::Malformed),
        ("v1..x.y".to_owned(), Refusal::Malformed),
        ("x".repeat(5_000), Refusal::TooLong),
    ] {
        let proof = Proof { kind: CredentialKind::Cookie, ..proof(&value) };
        match gate.judge(at(NOW_MS), &proof) {
            Verdict::Refused(found) => assert_eq!(found, refusal, "{value}"),
            other => panic!("{other:?}"),
        }
    }
    let good = key.sign("s", "default", &claims("default"));
    let as_bearer = gate.judge(at(NOW_MS), &proof(&good));
    assert!(matches!(as_bearer, Verdict::Refused(_)), "a session is no bearer token");
}

fn api_key(new: &NewKey, rights: Rights, expires_at_ms: Option<u64>) -> ApiKey {
    ApiKey {
        prefix: new.prefix.as_str().into(),
        hash: new.hash,
        tenant: TenantId(1),
        tenant_name: "acme".into(),
        user: None,
        rights: Arc::new(rights),
        expires_at_ms,
        quota: Arc::new(Quota::new(2, 5)),
    }
}

#[test]
fn an_api_key_is_found_by_its_prefix_and_its_hash_together() {
    let new = NewKey::of(&[7; 9], &[9; 32]);
    let brief = NewKey::of(&[8; 9], &[9; 32]);
    let mut rights = RightsBuilder::default();
    rights.state(&Permission::parse("publish").expect("a right"));
    let rights = rights.finish().expect("few");
    let (over_ms, nearly_ms) = (NOW_MS - 30_000, NOW_MS - 29_999);
    let late = NewKey::of(&[6; 9], &[9; 32]);
    let api_keys = vec![
        api_key(&new, rights.clone(), None),
        api_key(&brief, rights.clone(), Some(over_ms)),
        api_key(&late, rights, Some(nearly_ms)),
    ];
    let mut gate = gate(Setup { api_keys, ..setup(Trust::default()) });
    let program = accepted(&mut gate, &new.key);
    assert_eq!((program.strategy, program.tenant), (Strategy::ApiKey, TenantId(1)));
    assert_eq!(program.token_id.as_deref(), Some(&*new.prefix));
    assert!(program.rights.allows(Right::Publish, "x") && !program.rights.allows(Right::Join, "x"));
    assert_eq!(accepted(&mut gate, &late.key).expires_at_ms, Some(nearly_ms), "within the leeway");
    let word =
        |gate: &mut Gate, ms| matches!(gate.judge(at(ms), &proof(&late.key)), Verdict::Accepted(_));
    assert!(!word(&mut gate, NOW_MS + 1), "though it is remembered");
    let unknown = NewKey::of(&[1; 9], &[9; 32]);
    let other_secret = NewKey::of(&[7; 9], &[1; 32]);
    for (key, refusal) in [
        (unknown.key.to_string(), Refusal::UnknownKey),
        (other_secret.key.to_string(), Refusal::UnknownKey),
        (brief.key.to_string(), Refusal::Expired),
        (new.key[..new.key.len() - 1].to_owned(), Refusal::Malformed),
        (format!("{}x", &*new.key), Refusal::Malformed),
        ("rr_".to_owned(), Refusal::Malformed),
        ("rr_a_b".to_owned(), Refusal::Malformed),
        (new.key.replace("rr_", "RR_"), Refusal::Unsupported),
    ] {
        assert_eq!(judged(&mut gate, &key), Err(refusal), "{key}");
    }
}

#[test]
fn a_room_token_lets_one_into_one_room() {
    let mut gate = usual_gate();
    let room = RoomName::parse("team").expect("a room");
    let common = format!(r#""iss":"https://id.example","aud":"rooms","exp":{}"#, NOW + 60);
    let key = || SigningKey::secret(Hs256, SECRET).expect("a key").called(Some("k1"));
    let made = |more: &str| {
        key().room_token(&format!("{{{common}{more}}}"), &SystemRandom::new()).expect("signed")
    };
    let mut judge = |token: &str, user: Option<&str>| match gate.judge_room(
        at(NOW_MS),
        token,
        TenantId(0),
        &room,
        user,
    ) {
        RoomVerdict::Granted(grant) => Ok(grant.role),
        RoomVerdict::Refused(refusal) => Err(refusal),
        RoomVerdict::Ask(_) => panic!("asked"),
    };
    let identity = signed(Hs256, HEADER, &payload(r#","room":"team""#));
    for (token, user, expected) in [
        (made(r#","room":"team""#), Some("ann"), Ok(None)),
        (made(r#","room":"team""#), None, Ok(None)),
        (made(r#","room":"team","role":"member""#), None, Ok(Some(Role::Member))),
        (made(r#","room":"team","sub":"ann""#), Some("ann"), Ok(None)),
        (made(r#","room":"team","sub":"ann""#), Some("bob"), Err(Refusal::NotForThis)),
        (made(r#","room":"team","sub":"ann""#), None, Err(Refusal::NotForThis)),
        (made(r#","room":"other""#), None, Err(Refusal::NotForThis)),
        (made(r#","room":"team","tenant":"acme""#), None, Err(Refusal::NotForThis)),
        (made(r#","room":"team","role":"owner""#), None, Err(Refusal::Claims)),
        (made(r#","room":"team","role":"king""#), None, Err(Refusal::Claims)),
        (made(r#","room":"@all""#), None, Err(Refusal::Claims)),
        (made(""), None, Err(Refusal::Claims)),
        (identity, None, Err(Refusal::Header)),
    ] {
        assert_eq!(judge(&token, user), expected, "{token}");
    }
    let as_identity = made(r#","room":"team","sub":"ann""#);
    assert_eq!(judged(&mut gate, &as_identity), Err(Refusal::Header), "it says nothing of who");
}

#[test]
fn what_is_taken_back_is_refused_at_once_and_until_it_ends() {
    let mut gate = usual_gate();
    let token = signed(Hs256, HEADER, &payload(r#","jti":"t1""#));
    assert!(judged(&mut gate, &token).is_ok());
    let held = accepted(&mut gate, &token);
    let revocation = Revocation {
        tenant: TenantId(0),
        what: Revoked::Token("t1".into()),
        issued_before_ms: 0,
        until_ms: NOW_MS + 1_000,
    };
    gate.revoke(NOW_MS, revocation).expect("room for one");
    assert_eq!(judged(&mut gate, &token), Err(Refusal::Revoked), "although it is remembered");
    assert!(gate.is_revoked(NOW_MS, &held) && !gate.is_revoked(NOW_MS + 1_000, &held));
    assert!(matches!(gate.judge(at(NOW_MS + 1_000), &proof(&token)), Verdict::Accepted(_)));
}

/// Accepts whoever says a word.
#[derive(Debug)]
struct Password;

impl Custom for Password {
    fn judge(
        &self,
        _now_unix_ms: u64,
        proof: &Proof<'_>,
    ) -> Option<Result<Arc<Accepted>, Refusal>> {
        match proof.secret.strip_prefix("word:")? {
            "open sesame" => {
                let nobody = Accepted::nobody(TenantId(0), "default".into());
                let user = Some("ali".into());
                Some(Ok(Arc::new(Accepted { user, strategy: Strategy::Custom, ..nobody })))
            }
            _ => Some(Err(Refusal::Denied)),
        }
    }
}

#[test]
fn the_program_s_own_way_comes_first_and_passes_on_what_it_does_not_know() {
    let key = VerifyingKey::secret(Hs256, SECRET).expect("a key");
    let mut gate = gate(Setup { custom: Some(Arc::new(Password)), ..setup(trust([key])) });
    let token = signed(Hs256, HEADER, &format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 60));
    for (secret, expected) in [
        ("word:open sesame", Ok("ali".to_owned())),
        ("word:open barley", Err(Refusal::Denied)),
        (&token, Ok("ann".to_owned())),
        ("something else", Err(Refusal::Unsupported)),
    ] {
        assert_eq!(judged(&mut gate, secret), expected);
    }
}
