//! What a credential costs: checked for the first time, remembered, and asked about with a message.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use fixture::credential::{CLAIMS, NOW, SECRET, api_key_gate, is_accepted, token};
use ring::hmac;
use ring::rand::SystemRandom;
use ringroom::auth::api_key::{self, NewKey};
use ringroom::auth::cookie::CookieKey;
use ringroom::auth::key::public_key_pem;
use ringroom::auth::{
    Algorithm, Gate, Permission, Permit, Proof, Refusal, Right, Rights, RightsBuilder, SigningKey,
    Verdict,
};
use ringroom::room::pattern::Pattern;
use ringroom::ws::handshake::CredentialKind;

const KEYS: [(Algorithm, &str, &str); 3] = [
    (
        Algorithm::Rs256,
        include_str!("../src/auth/testdata/rsa.pem"),
        include_str!("../src/auth/testdata/rsa_public.pem"),
    ),
    (
        Algorithm::Es256,
        include_str!("../src/auth/testdata/p256.pem"),
        include_str!("../src/auth/testdata/p256_public.pem"),
    ),
    (
        Algorithm::EdDsa,
        include_str!("../src/auth/testdata/ed25519.pem"),
        include_str!("../src/auth/testdata/ed25519_public.pem"),
    ),
];

/// A gate that remembers so many credentials.
fn gate(cached: usize) -> Gate {
    let keys = KEYS.map(|(algorithm, _, public)| public_key_pem(algorithm, public).expect("a key"));
    fixture::credential::gate(cached, keys)
}

fn accept(gate: &mut Gate, kind: CredentialKind, secret: &str) {
    assert!(is_accepted(gate, kind, black_box(secret)));
}

fn credentials(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("credential");
    let random = SystemRandom::new();
    let mut tokens = vec![(Algorithm::Hs256, token())];
    tokens.extend(KEYS.map(|(algorithm, private, _)| {
        let key = SigningKey::private_pem(algorithm, private, &random).expect("a key");
        (algorithm, key.token(CLAIMS, &random).expect("signed"))
    }));
    for (algorithm, token) in &tokens {
        let name = format!("verify {} of {} bytes", algorithm.word(), token.len());
        let mut gate = gate(0);
        group.bench_function(&name, |bencher| {
            bencher.iter(|| accept(&mut gate, CredentialKind::Bearer, token));
        });
    }
    // The least that it takes: the signature alone, of the same bytes.
    let (signed, _) = tokens[0].1.rsplit_once('.').expect("three parts");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = hmac::sign(&key, signed.as_bytes());
    group.bench_function(format!("floor: the HMAC of {} bytes", signed.len()), |bencher| {
        bencher
            .iter(|| hmac::verify(&key, black_box(signed.as_bytes()), tag.as_ref()).expect("good"));
    });
    let session = CookieKey::new("1", SECRET).expect("a key").sign("s", "default", CLAIMS);
    let mut forgetful = gate(0);
    group.bench_function("verify a session", |bencher| {
        bencher.iter(|| accept(&mut forgetful, CredentialKind::Cookie, &session));
    });
    let (_, token) = &tokens[0];
    let mut mindful = gate(16_384);
    group.bench_function(format!("remembered, {} bytes", token.len()), |bencher| {
        bencher.iter(|| accept(&mut mindful, CredentialKind::Bearer, token));
    });
    let forged = format!("{}A", &token[..token.len() - 1]);
    let mut forgetful = gate(0);
    group.bench_function("refuse a forged HS256", |bencher| {
        let proof = Proof { kind: CredentialKind::Bearer, secret: &forged, wanted_tenant: None };
        bencher.iter(|| {
            assert!(matches!(forgetful.judge(NOW, black_box(&proof)), Verdict::Refused(_)));
        });
    });
    group.finish();
}

/// Keys that are refused: how long that takes must say nothing of how near they come to one that is
/// known. Whether it does is told by `timing.rs`.
fn api_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refuse an API key");
    let new = NewKey::of(&[1; api_key::PREFIX_BYTES], &[2; api_key::SECRET_BYTES]);
    let whole = new.key.to_string();
    let mut gate = api_key_gate(&new.prefix, new.hash);
    assert!(is_accepted(&mut gate, CredentialKind::ApiKey, &whole));
    let begin = api_key::BEGINNING.len();
    let secret = whole.rfind('_').expect("two parts") + 1;
    for (name, at) in [
        ("of another prefix, from its first letter", begin),
        ("of another prefix, in its last letter", secret - 2),
        ("of another secret, from its first letter", secret),
        ("of another secret, in its last letter", whole.len() - 1),
    ] {
        let mut other = whole.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("text");
        group.bench_function(name, |bencher| {
            let proof = Proof { kind: CredentialKind::ApiKey, secret: &other, wanted_tenant: None };
            bencher.iter(|| {
                let verdict = gate.judge(NOW, black_box(&proof));
                assert!(matches!(verdict, Verdict::Refused(Refusal::UnknownKey)));
            });
        });
    }
    group.finish();
}

/// Grants on so many patterns, the last of which is `chat:**`.
fn rights(patterns: usize) -> Rights {
    let mut rights = RightsBuilder::default();
    let publish = [Permission::parse("publish").expect("a right")];
    for index in 1..patterns {
        let pattern = Pattern::parse(&format!("project-{index}:**")).expect("a pattern");
        rights.on(&pattern, &publish);
    }
    rights.on(&Pattern::parse("chat:**").expect("a pattern"), &publish);
    rights.finish().expect("few")
}

fn permissions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("permission to publish");
    let mut everywhere = RightsBuilder::default();
    everywhere.state(&Permission::parse("publish").expect("a right"));
    let everywhere = everywhere.finish().expect("few");
    let mut ask = |name: &str, rights: Rights| {
        // As the engine asks: through the trait.
        let permit: Arc<dyn Permit> = Arc::new(rights);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let room = black_box("chat:support/eu/42");
                assert!(permit.allows_event(Right::Publish, room, black_box(Some("message"))));
            });
        });
    };
    ask("granted everywhere", everywhere);
    for patterns in [1, 8, 64] {
        ask(&format!("the last of {patterns} patterns"), rights(patterns));
    }
    group.finish();
}

criterion_group!(benches, credentials, api_keys, permissions);
criterion_main!(benches);
