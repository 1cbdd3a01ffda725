//! Two tenants whose keys are at URLs, under the same name.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::word;
use crate::auth::tests::support::{NOW, NOW_MS, at, gate, setup, tenant};
use crate::auth::{
    Algorithm, Answer, Gate, KeySource, Refusal, RoomVerdict, Setup, SigningKey, SourceId,
    TenantSetup, Trust,
};
use crate::id::TenantId;
use crate::room::name::RoomName;

/// A new key called `k`, and a set with its public half.
fn pair() -> (SigningKey, Arc<str>) {
    let random = SystemRandom::new();
    let der = Ed25519KeyPair::generate_pkcs8(&random).expect("randomness");
    let public = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key");
    let x = URL_SAFE_NO_PAD.encode(public.public_key().as_ref());
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let key = SigningKey::private_pem(Algorithm::EdDsa, &pem, &random).expect("a key");
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    (key.called(Some("k")), set.into())
}

/// The tenants `default` and `acme`, each with a URL of its own; both may have the same issuer.
fn two_tenants(issuer: Option<&str>) -> Gate {
    let of = |id, name: &str| {
        let url = format!("https://{name}.example/keys").into();
        let source = KeySource { url, issuer: issuer.map(Into::into), algorithm: None };
        let trust = Trust { sources: vec![source], ..Trust::default() };
        TenantSetup { trust, ..tenant(id, name) }
    };
    gate(Setup { tenants: vec![of(0, "default"), of(1, "acme")], ..setup(Trust::default()) })
}

fn learn(gate: &mut Gate, source: u16, set: &Arc<str>) {
    let answer = Answer::Keys { policy: 1, source: SourceId(source), keys: Ok(Arc::clone(set)) };
    assert!(gate.learn(at(NOW_MS), &answer));
}

#[test]
fn the_same_name_of_keys_at_the_urls_of_two_tenants_never_meets() {
    for issuer in [None, Some("https://id.example")] {
        let ((ours, our_set), (theirs, their_set)) = (pair(), pair());
        let iss = issuer.map(|it| format!(r#","iss":"{it}""#)).unwrap_or_default();
        let claims = |more: &str| format!(r#"{{"exp":{}{iss}{more}}}"#, NOW + 600);
        let token = |key: &SigningKey, tenant: &str| {
            let claims = claims(&format!(r#","sub":"ann","tenant":"{tenant}""#));
            key.token(&claims, &SystemRandom::new()).expect("signed")
        };
        let mut gate = two_tenants(issuer);
        learn(&mut gate, 0, &our_set);
        // One set is known, and another of the same names is not.
        assert_eq!(word(&mut gate, NOW_MS, &token(&ours, "default")), Ok("accepted"));
        assert_eq!(word(&mut gate, NOW_MS, &token(&ours, "acme")), Ok("asked"), "cold");
        assert_eq!(word(&mut gate, NOW_MS, &token(&theirs, "acme")), Ok("asked"), "cold");
        learn(&mut gate, 1, &their_set);
        for round in ["cold", "warm"] {
            for (key, tenant, expected) in [
                (&ours, "default", Ok("accepted")),
                (&theirs, "acme", Ok("accepted")),
                (&ours, "acme", Err(Refusal::Signature)),
                (&theirs, "default", Err(Refusal::Signature)),
            ] {
                let found = word(&mut gate, NOW_MS, &token(key, tenant));
                assert_eq!(found, expected, "{round}, {tenant}");
            }
        }
        let room = RoomName::parse("r").expect("a name");
        for (key, tenant, expected) in [(&theirs, "acme", true), (&ours, "acme", false)] {
            let claims = claims(&format!(r#","room":"r","tenant":"{tenant}""#));
            let token = key.room_token(&claims, &SystemRandom::new()).expect("signed");
            let verdict = gate.judge_room(at(NOW_MS), &token, TenantId(1), &room, None);
            assert_eq!(matches!(verdict, RoomVerdict::Granted(_)), expected, "{verdict:?}");
        }
        // One of them is withdrawn, and the other one stays.
        learn(&mut gate, 0, &r#"{"keys":[]}"#.into());
        assert_eq!(word(&mut gate, NOW_MS, &token(&theirs, "acme")), Ok("accepted"));
        let gone = word(&mut gate, NOW_MS, &token(&ours, "default"));
        assert_eq!(gone, Err(Refusal::UnknownKey));
    }
}
