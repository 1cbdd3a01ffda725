//! Beside an implementation that we did not write: what we accept, `jsonwebtoken` accepts.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, Validation, decode};
use proptest::prelude::*;

use super::support::{
    ED25519_PUBLIC, P256_PUBLIC, RSA_PUBLIC, SECRET, at, gate, pair, proof, setup, signed, trust,
};
use crate::auth::{Algorithm, Gate, Verdict};

const ALGORITHMS: [(Algorithm, jsonwebtoken::Algorithm); 5] = [
    (Algorithm::Hs256, jsonwebtoken::Algorithm::HS256),
    (Algorithm::Hs512, jsonwebtoken::Algorithm::HS512),
    (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
    (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
];

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("for a while")
}

/// What follows the fixed head of a public key in PEM.
fn bits(pem: &str, head_bytes: usize) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).expect("PEM")[head_bytes..].to_vec()
}

fn their_key(algorithm: Algorithm) -> DecodingKey {
    match algorithm {
        Algorithm::Rs256 => DecodingKey::from_rsa_der(&bits(RSA_PUBLIC, 24)),
        Algorithm::Es256 => DecodingKey::from_ec_der(&bits(P256_PUBLIC, 26)),
        Algorithm::EdDsa => DecodingKey::from_ed_der(&bits(ED25519_PUBLIC, 12)),
        _ => DecodingKey::from_secret(SECRET),
    }
}

fn they_accept(of: usize, token: &str) -> bool {
    let (ours, theirs) = ALGORITHMS[of];
    let mut validation = Validation::new(theirs);
    validation.leeway = 30;
    validation.validate_nbf = true;
    validation.set_audience(&["rooms"]);
    validation.set_issuer(&["joe"]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    decode::<serde_json::Value>(token, &their_key(ours), &validation).is_ok()
}

fn our_gate(of: usize) -> Gate {
    let mut operator = trust([pair(ALGORITHMS[of].0).1]);
    operator.issuers = vec!["joe".into()];
    operator.audiences = vec!["rooms".into()];
    gate(setup(operator))
}

fn we_accept(of: usize, token: &str) -> bool {
    matches!(our_gate(of).judge(at(now_ms()), &proof(token)), Verdict::Accepted(_))
}

/// A value that a claim may have been given.
fn value(now: u64) -> impl Strategy<Value = String> {
    prop_oneof![
        // Far from every edge, for their clock is not ours.
        prop::sample::select(vec![now + 600, now.saturating_sub(600), 0, 1])
            .prop_map(|at| at.to_string()),
        (now + 600..now + 700).prop_map(|at| format!("{at}.5")),
        prop::sample::select(vec![
            "null",
            "true",
            "\"\"",
            "-1",
            "1e999",
            "17e8",
            "99999999999999999999",
            "[]",
            "{}",
            "\"rooms\"",
            "[\"rooms\"]",
            "[\"other\"]",
            "\"joe\"",
            "[\"joe\"]",
            "\"ann\"",
            "1",
        ])
        .prop_map(str::to_owned),
    ]
}

fn claims(now: u64) -> impl Strategy<Value = String> {
    let exp = now + 600;
    let good = format!(r#""sub":"ann","iss":"joe","aud":"rooms","exp":{exp}"#);
    let name = prop::sample::select(vec!["sub", "iss", "aud", "exp", "nbf", "iat", "x", "jti"]);
    prop_oneof![
        Just(format!("{{{good}}}")),
        // One more, perhaps a second time.
        (name.clone(), value(now), Just(good))
            .prop_map(|(name, value, good)| format!("{{{good},\"{name}\":{value}}}")),
        // One in place of another.
        (name, value(now)).prop_map(move |(name, value)| {
            let members = [("sub", "\"ann\""), ("iss", "\"joe\""), ("aud", "\"rooms\"")];
            let exp = exp.to_string();
            let members = members.into_iter().chain([("exp", &*exp)]);
            let members = members.filter(|(known, _)| *known != name);
            let rest: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{\"{name}\":{value},{}}}", rest.join(","))
        }),
    ]
}

fn header() -> impl Strategy<Value = String> {
    let algorithm = prop::sample::select(vec![
        "HS256", "HS256", "HS512", "RS256", "ES256", "EdDSA", "none", "hs256", "PS256",
    ]);
    let more = prop::sample::select(vec![
        "",
        "",
        "",
        ",\"typ\":\"JWT\"",
        ",\"kid\":\"x\"",
        ",\"crit\":[\"exp\"]",
        ",\"alg\":\"HS256\"",
        ",\"jku\":\"https://evil.example\"",
        ",\"typ\":\"x\"",
    ]);
    (algorithm, more).prop_map(|(algorithm, more)| format!("{{\"alg\":\"{algorithm}\"{more}}}"))
}

/// What is done to a token when it has been signed.
#[derive(Clone, Debug)]
enum Harm {
    None,
    Byte(usize, u8),
    Cut(usize),
    Add(&'static str),
    Swap,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => Just(Harm::None),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Harm::Byte(at, byte)),
        1 => any::<usize>().prop_map(Harm::Cut),
        1 => prop::sample::select(vec!["=", ".", "A", " ", "\n", ".AAAA"]).prop_map(Harm::Add),
        1 => Just(Harm::Swap),
    ]
}

fn harmed(token: &str, harm: &Harm) -> Option<String> {
    match harm {
        Harm::None => Some(token.to_owned()),
        Harm::Cut(at) => Some(token[..at % token.len()].to_owned()),
        Harm::Add(text) => Some(format!("{token}{text}")),
        Harm::Swap => Some(token.rsplit('.').collect::<Vec<_>>().join(".")),
        Harm::Byte(at, byte) => {
            let mut bytes = token.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = *byte;
            String::from_utf8(bytes).ok()
        }
    }
}

#[test]
fn what_we_accept_they_accept() {
    let now = now_ms() / 1_000;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4_000));
    let input = (0..ALGORITHMS.len(), any::<bool>(), header(), claims(now), harm());
    let (both, neither, stricter) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let result = runner.run(&input, |(of, usual, header, claims, harm)| {
        let algorithm = ALGORITHMS[of].0;
        let usual_header = format!("{{\"alg\":\"{}\"}}", algorithm.word());
        let header = if usual { usual_header } else { header };
        let Some(token) = harmed(&signed(algorithm, &header, &claims), &harm) else {
            return Ok(());
        };
        match (we_accept(of, &token), they_accept(of, &token)) {
            (true, false) => {
                return Err(TestCaseError::fail(format!("only we accept {header} {claims}")));
            }
            (true, true) => both.set(both.get() + 1),
            (false, true) => stricter.set(stricter.get() + 1),
            (false, false) => neither.set(neither.get() + 1),
        }
        Ok(())
    });
    result.expect("no disagreement on the unsafe side");
    let counts = [both.get(), stricter.get(), neither.get()];
    assert!(counts.iter().all(|count| *count > 100), "each was seen often: {counts:?}");
}

#[test]
fn both_accept_what_is_good() {
    let exp = now_ms() / 1_000 + 600;
    for (of, (algorithm, _)) in ALGORITHMS.into_iter().enumerate() {
        let header = format!("{{\"alg\":\"{}\"}}", algorithm.word());
        let claims = format!(r#"{{"sub":"ann","iss":"joe","aud":["rooms"],"exp":{exp}}}"#);
        let token = signed(algorithm, &header, &claims);
        assert!(we_accept(of, &token) && they_accept(of, &token), "{algorithm:?}");
    }
}
