//! Whatever is written as a token: it is accepted only if a key of ours signed it, and then it means
//! to us what it means to another reader of JSON. The first byte says what is tried.
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ringroom::auth::key::{VerifyingKey, jwk_set, public_key_pem};
use ringroom::auth::{
    Algorithm, Gate, Limits, Policy, Proof, RoomVerdict, Setup, TenantSetup, Trust, TrustedKey,
    Verdict,
};
use ringroom::clock::{Moment, Now};
use ringroom::hash::Seed;
use ringroom::id::TenantId;
use ringroom::room::name::RoomName;
use ringroom::ws::handshake::CredentialKind;

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";
const NOW_MS: u64 = 1_700_000_000_000;
const NOW: Now = Now { moment: Moment { us: 0 }, unix_ms: NOW_MS };
const LEEWAY_MS: u64 = 30_000;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, SECRET));

thread_local! {
    static GATE: RefCell<Gate> = RefCell::new(gate());
}

fn gate() -> Gate {
    let key = VerifyingKey::secret(Algorithm::Hs256, SECRET).expect("a key");
    let keys = vec![TrustedKey { issuer: None, key: Arc::new(key) }];
    let tenant = TenantSetup { id: TenantId(0), name: "default".into(), trust: Trust::default() };
    let policy = Policy::new(Setup {
        leeway_ms: LEEWAY_MS,
        operator: Trust { keys, ..Trust::default() },
        tenants: vec![tenant],
        ..Setup::default()
    });
    Gate::new(Arc::new(policy), Limits { cached: 64, ..Limits::default() }, Seed(1, 2))
}

pub(crate) fn check(data: &[u8]) {
    let Some((way, data)) = data.split_first() else { return };
    match way % 4 {
        0 => written(data),
        1 => signed(data),
        2 => _ = std::str::from_utf8(data).map(|text| jwk_set(text, None, true)),
        _ => _ = std::str::from_utf8(data).map(|text| public_key_pem(Algorithm::Rs256, text)),
    }
}

/// As a stranger writes it: nobody outside has the secret.
fn written(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    GATE.with_borrow_mut(|gate| {
        let proof = Proof { kind: CredentialKind::Bearer, secret: text, wanted_tenant: None };
        let first = gate.judge(NOW, &proof);
        let second = gate.judge(NOW, &proof);
        match (first, second) {
            (Verdict::Refused(first), Verdict::Refused(second)) => assert_eq!(first, second),
            other => panic!("{other:?}"),
        }
        let room = RoomName::parse("room").expect("a name");
        let verdict = gate.judge_room(NOW, text, TenantId(0), &room, None);
        assert!(matches!(verdict, RoomVerdict::Refused(_)), "{verdict:?}");
    });
}

/// A header and a payload, divided by a NUL, and signed by the secret.
fn signed(data: &[u8]) {
    let Some(divide) = data.iter().position(|byte| *byte == 0) else { return };
    let (header, payload) = (&data[..divide], &data[divide + 1..]);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = hmac::sign(&KEY, message.as_bytes());
    let token = format!("{message}.{}", encode(signature.as_ref()));
    let proof = Proof { kind: CredentialKind::Bearer, secret: &token, wanted_tenant: None };
    let Verdict::Accepted(accepted) = GATE.with_borrow_mut(|gate| gate.judge(NOW, &proof)) else {
        return;
    };
    let header: serde_json::Value = serde_json::from_slice(header).expect("a header");
    let payload: serde_json::Value = serde_json::from_slice(payload).expect("a payload");
    assert_eq!(header["alg"], "HS256");
    for name in ["crit", "b64", "jku", "jwk", "x5u", "x5c", "cty", "enc", "zip"] {
        assert!(header.get(name).is_none(), "{name}");
    }
    let end_s = payload["exp"].as_u64().expect("an end");
    assert_eq!(accepted.expires_at_ms, Some(end_s * 1_000));
    assert!(end_s * 1_000 + LEEWAY_MS > NOW_MS);
    let user = accepted.user.as_deref().expect("a user");
    let sub = &payload["sub"];
    assert!(sub.as_str() == Some(user) || sub.as_u64() == user.parse().ok());
    assert!(payload.get("aud").is_none_or(|aud| aud.is_null() || *aud == serde_json::json!([])));
}
