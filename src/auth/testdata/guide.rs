// What the examples of the guide have in common; each of them includes it.

use std::path::Path;
pub use std::sync::Arc;

pub use ringroom::auth::{Gate, Limits, Policy, Proof, Sources, Verdict};
pub use ringroom::clock::Now;
use ringroom::config;
pub use ringroom::hash::Seed;
pub use ringroom::id::TenantId;
pub use ringroom::ws::handshake::CredentialKind;

/// The policy of a configuration.
pub fn policy(text: &str) -> Policy {
    let read = |file: &Path| match file.to_str() {
        Some("secret") => Ok("a secret of thirty-two bytes, no less".to_owned()),
        Some("acme-secret") => Ok("another secret of thirty-two bytes or more".to_owned()),
        Some("public.pem") => Ok(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/auth/testdata/p256_public.pem"
        ))
        .to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let file = Some(config::File { name: "ringroom.toml", text });
    let config = config::load(&config::Sources {
        file,
        environment: &[],
        flags: &[],
        cpus_allowed: &[],
        read_secret: &read,
    });
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let names = config.tenants.keys().map(String::as_str);
    let names: Vec<&str> = if config.tenants.is_empty() { vec!["default"] } else { names.collect() };
    let tenants: Vec<(TenantId, Arc<str>)> =
        names.into_iter().zip(0..).map(|(name, id)| (TenantId(id), name.into())).collect();
    let sources =
        Sources { config: &config, tenants: &tenants, read: &read, custom: None, number: 0 };
    Policy::read(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// When all of it happens.
pub fn now() -> Now {
    Now { unix_ms: 1_700_000_000_000, ..Now::default() }
}

/// A core's judgement by a policy.
pub fn gate(policy: Policy) -> Gate {
    Gate::new(Arc::new(policy), Limits::default(), Seed(1, 2))
}

/// What a core finds of a credential.
pub fn judge(policy: Policy, kind: CredentialKind, secret: &str) -> Verdict {
    gate(policy).judge(now(), &Proof { kind, secret, wanted_tenant: None })
}

/// What the provider publishes: the key whose public half is `public.pem`.
pub const KEY_SET: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "2025", "alg": "ES256", "use": "sig", "x": "af3CrD9lqD233qeVzK9NOOgAywAvqXWMSWHlBTcwYoc", "y": "2g8oO71SR7Wxa4EEpC48ZpHXUFnTY9KWbvp3tlPJLAE"}]}"#;
