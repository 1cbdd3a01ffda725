//! A policy with a key of every kind, and tokens that it accepts.

use std::sync::Arc;

use ring::rand::SystemRandom;

use crate::auth::cookie::CookieKey;
use crate::auth::key::{VerifyingKey, public_key_pem};
use crate::auth::{
    Algorithm, Gate, Limits, Permission, Policy, Proof, Refusal, Setup, SigningKey, TenantSetup,
    Trust, TrustedKey, Verdict,
};
use crate::clock::{Moment, Now};
use crate::hash::Seed;
use crate::id::TenantId;
use crate::ws::handshake::CredentialKind;

/// When all of it happens, in seconds.
pub(in crate::auth) const NOW: u64 = 1_700_000_000;
pub(in crate::auth) const NOW_MS: u64 = NOW * 1_000;

/// A point in time, by both clocks.
pub(in crate::auth) fn at(unix_ms: u64) -> Now {
    Now { moment: Moment::default().plus_ms(unix_ms), unix_ms }
}

pub(in crate::auth) const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";
pub(in crate::auth) const OTHER_SECRET: &[u8] = b"another secret of thirty-two bytes or more";

pub(in crate::auth) const RSA: &str = include_str!("../testdata/rsa.pem");
pub(in crate::auth) const RSA_PUBLIC: &str = include_str!("../testdata/rsa_public.pem");
pub(in crate::auth) const P256: &str = include_str!("../testdata/p256.pem");
pub(in crate::auth) const P256_PUBLIC: &str = include_str!("../testdata/p256_public.pem");
pub(in crate::auth) const P384: &str = include_str!("../testdata/p384.pem");
pub(in crate::auth) const P384_PUBLIC: &str = include_str!("../testdata/p384_public.pem");
pub(in crate::auth) const ED25519: &str = include_str!("../testdata/ed25519.pem");
pub(in crate::auth) const ED25519_PUBLIC: &str = include_str!("../testdata/ed25519_public.pem");

/// The private and the public half of an algorithm's key.
pub(in crate::auth) fn pair(algorithm: Algorithm) -> (SigningKey, VerifyingKey) {
    let (private, public) = match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            let signing = SigningKey::secret(algorithm, SECRET).expect("a secret");
            return (signing, VerifyingKey::secret(algorithm, SECRET).expect("a secret"));
        }
        Algorithm::Es256 => (P256, P256_PUBLIC),
        Algorithm::Es384 => (P384, P384_PUBLIC),
        Algorithm::EdDsa => (ED25519, ED25519_PUBLIC),
        _ => (RSA, RSA_PUBLIC),
    };
    let signing = SigningKey::private_pem(algorithm, private, &SystemRandom::new());
    (signing.expect("a key"), public_key_pem(algorithm, public).expect("a key"))
}

/// Trust in these keys.
pub(in crate::auth) fn trust(keys: impl IntoIterator<Item = VerifyingKey>) -> Trust {
    let keys = keys.into_iter().map(|key| TrustedKey { issuer: None, key: Arc::new(key) });
    Trust { keys: keys.collect(), ..Trust::default() }
}

/// A tenant that believes nobody but the operator.
pub(in crate::auth) fn tenant(id: u32, name: &str) -> TenantSetup {
    TenantSetup { id: TenantId(id), name: name.into(), trust: Trust::default() }
}

/// The tenant `default`, and thirty seconds of leeway.
pub(in crate::auth) fn setup(operator: Trust) -> Setup {
    Setup {
        number: 1,
        leeway_ms: 30_000,
        permissions: vec![Permission::parse("join").expect("a right")],
        operator,
        tenants: vec![tenant(0, "default"), tenant(1, "acme")],
        believe_ms: 60_000,
        ..Setup::default()
    }
}

pub(in crate::auth) fn gate(setup: Setup) -> Gate {
    Gate::new(Arc::new(Policy::new(setup)), Limits::default(), Seed(1, 2))
}

/// A gate that believes a secret `k1` and public keys `rs`, `es`, `ed`.
pub(in crate::auth) fn usual_gate() -> Gate {
    let key = |algorithm, id| pair(algorithm).1.called(Some(id));
    let mut operator = trust([
        key(Algorithm::Hs256, "k1"),
        key(Algorithm::Rs256, "rs"),
        key(Algorithm::Es256, "es"),
        key(Algorithm::EdDsa, "ed"),
    ]);
    operator.issuers = vec!["https://id.example".into()];
    operator.audiences = vec!["rooms".into()];
    operator.cookie_keys = vec![Arc::new(CookieKey::new("c1", SECRET).expect("a key"))];
    gate(Setup { cookie_name: Some("__Host-ringroom".into()), ..setup(operator) })
}

pub(in crate::auth) fn proof(secret: &str) -> Proof<'_> {
    Proof { kind: CredentialKind::Bearer, secret, wanted_tenant: None }
}

/// Who is accepted, in a word: the user, or why not.
pub(in crate::auth) fn judged(gate: &mut Gate, secret: &str) -> Result<String, Refusal> {
    match gate.judge(at(NOW_MS), &proof(secret)) {
        Verdict::Accepted(accepted) => Ok(accepted.user.as_deref().unwrap_or("").to_owned()),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Ask(question) => panic!("asked: {question:?}"),
    }
}

/// A token with this header and payload, signed by the key of an algorithm.
pub(in crate::auth) fn signed(algorithm: Algorithm, header: &str, payload: &str) -> String {
    pair(algorithm).0.sign(header, payload, &SystemRandom::new()).expect("randomness")
}

/// What every good payload says: `more` begins with a comma or is empty.
pub(in crate::auth) fn payload(more: &str) -> String {
    let exp = NOW + 600;
    format!(r#"{{"sub":"ann","iss":"https://id.example","aud":"rooms","exp":{exp}{more}}}"#)
}

pub(in crate::auth) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#;
