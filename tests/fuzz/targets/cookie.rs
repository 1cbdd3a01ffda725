//! Whatever is written as a session cookie or an API key: it is accepted only if a key of ours signed
//! it, for this name and this tenant.
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use ringroom::auth::api_key::{ApiKey, NewKey};
use ringroom::auth::cookie::CookieKey;
use ringroom::auth::{
    Gate, Limits, Policy, Proof, Quota, Rights, Setup, TenantSetup, Trust, Verdict,
};
use ringroom::clock::{Moment, Now};
use ringroom::hash::Seed;
use ringroom::id::TenantId;
use ringroom::ws::handshake::CredentialKind;

const NAME: &str = "__Host-ringroom";
const NOW_MS: u64 = 1_700_000_000_000;
const NOW: Now = Now { moment: Moment { us: 0 }, unix_ms: NOW_MS };

static KEY: LazyLock<Arc<CookieKey>> = LazyLock::new(|| {
    Arc::new(CookieKey::new("1", b"a secret of thirty-two bytes, no less").expect("a key"))
});

thread_local! {
    static GATE: RefCell<Gate> = RefCell::new(gate());
}

fn gate() -> Gate {
    let tenant = |id, name: &str| TenantSetup {
        id: TenantId(id),
        name: name.into(),
        trust: Trust::default(),
    };
    let new = NewKey::of(&[1; 9], &[2; 32]);
    let api_key = ApiKey {
        prefix: new.prefix.as_str().into(),
        hash: new.hash,
        tenant: TenantId(0),
        tenant_name: "default".into(),
        user: None,
        rights: Arc::new(Rights::default()),
        expires_at_ms: None,
        quota: Arc::new(Quota::new(0, 0)),
    };
    let policy = Policy::new(Setup {
        operator: Trust { cookie_keys: vec![Arc::clone(&KEY)], ..Trust::default() },
        tenants: vec![tenant(0, "default"), tenant(1, "acme")],
        cookie_name: Some(NAME.into()),
        api_keys: vec![api_key],
        ..Setup::default()
    });
    Gate::new(Arc::new(policy), Limits { cached: 64, ..Limits::default() }, Seed(1, 2))
}

pub(crate) fn check(data: &[u8]) {
    let Some((way, data)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    let judge = |kind, secret: &str| {
        let proof = Proof { kind, secret, wanted_tenant: None };
        GATE.with_borrow_mut(|gate| gate.judge(NOW, &proof))
    };
    match way % 3 {
        // As a stranger writes them.
        0 => {
            let verdict = judge(CredentialKind::Cookie, text);
            assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
        }
        1 => {
            let verdict = judge(CredentialKind::ApiKey, text);
            let known = NewKey::of(&[1; 9], &[2; 32]);
            assert_eq!(matches!(verdict, Verdict::Accepted(_)), text == *known.key, "{verdict:?}");
        }
        // Claims that are signed for one of two tenants.
        _ => {
            let value = KEY.sign(NAME, "acme", text);
            if let Verdict::Accepted(accepted) = judge(CredentialKind::Cookie, &value) {
                assert_eq!(&*accepted.tenant_name, "acme");
                let claims: serde_json::Value = serde_json::from_str(text).expect("claims");
                assert_eq!(claims["tenant"], "acme");
                assert!(claims["exp"].as_u64().is_some_and(|end| end * 1_000 > NOW_MS));
            }
        }
    }
}
