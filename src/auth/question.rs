//! What a core cannot answer by itself, and the answers.
//!
//! Invariant: a credential stands in a question only where whoever is asked needs it, and shows in
//! no formatting.

use std::fmt;
use std::sync::Arc;

use ring::digest;

use super::refusal::Refusal;
use super::zeroed::Zeroed;
use crate::ws::handshake::CredentialKind;

/// The name of a question about a credential: one that says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a credential that somebody is asked about, with the tenant that was asked for beside it.
    #[must_use]
    pub fn of(whom: Whom, kind: CredentialKind, secret: &str, wanted_tenant: Option<&str>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&[u8::from(whom == Whom::Hook)]);
        // Cookies are checked by their own keys; where else a credential stood makes no difference.
        context.update(&[u8::from(kind == CredentialKind::Cookie)]);
        context.update(&[u8::from(wanted_tenant.is_some())]);
        let tenant = wanted_tenant.unwrap_or_default();
        context.update(&(tenant.len() as u64).to_le_bytes());
        context.update(tenant.as_bytes());
        context.update(secret.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// One of the key sets that the configuration names by URL: its place in
/// [`Policy::sources`](super::Policy::sources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

/// What a core asks the control plane before it can judge a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which keys a URL names now.
    Keys {
        /// Of which policy: an answer for another is void.
        policy: u64,
        /// Which URL.
        source: SourceId,
    },
    /// What the authorization server or the backend says of a credential.
    Identity {
        /// Of which policy.
        policy: u64,
        /// By which the answer is known.
        fingerprint: Fingerprint,
        /// Who is asked.
        whom: Whom,
        /// Where the credential stood.
        kind: CredentialKind,
        /// The credential.
        secret: Zeroed,
        /// The tenant that was asked for.
        wanted_tenant: Option<Arc<str>>,
    },
}

/// Who knows a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// The authorization server, by RFC 7662.
    Introspection,
    /// The backend, by its hook.
    Hook,
}

/// What the control plane found out. For one core or, keys, for all.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The keys of a URL.
    Keys {
        /// Of which policy.
        policy: u64,
        /// Which URL.
        source: SourceId,
        /// The JWK set as it was sent, if it was.
        keys: Result<Arc<str>, Refusal>,
    },
    /// What was said of a credential.
    Identity {
        /// Of which policy.
        policy: u64,
        /// Which credential.
        fingerprint: Fingerprint,
        /// Who said so.
        whom: Whom,
        /// The JSON as it was sent, if it was.
        said: Result<Arc<str>, Refusal>,
    },
}
