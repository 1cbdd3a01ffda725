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
    let tenants = [(TenantId::DEFAULT, "default".into())];
    let sources =
        Sources { config: &config, tenants: &tenants, read: &read, custom: None, number: 0 };
    Policy::read(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What a core finds of a credential.
pub fn judge(policy: Policy, kind: CredentialKind, secret: &str) -> Verdict {
    let now = Now { unix_ms: 1_700_000_000_000, ..Now::default() };
    let mut gate = Gate::new(Arc::new(policy), Limits::default(), Seed(1, 2));
    gate.judge(now, &Proof { kind, secret, wanted_tenant: None })
}
