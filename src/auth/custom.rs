//! The embedding program's own way to check a credential.

use std::fmt;
use std::sync::Arc;

use super::accepted::Accepted;
use super::refusal::Refusal;
use crate::ws::handshake::CredentialKind;

/// A credential to be judged.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// Where it stood.
    pub kind: CredentialKind,
    /// What it says.
    pub secret: &'a str,
    /// The tenant that was asked for: the credential must agree.
    pub wanted_tenant: Option<&'a str>,
}

impl fmt::Debug for Proof<'_> {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Checks credentials in a way of the embedding program's own, before any other way is tried.
///
/// Cookies are read for it where `auth.cookie.name` is set, and from pages that are named alone.
///
/// It is called on the core that holds the connection: what it does in a microsecond is well done,
/// and it never waits. For an answer that must be waited for, configure the hook.
pub trait Custom: fmt::Debug + Send + Sync {
    /// Judges `proof`; none if it is no credential of this kind, and the others should look at it.
    fn judge(&self, now_unix_ms: u64, proof: &Proof<'_>) -> Option<Result<Arc<Accepted>, Refusal>>;
}
