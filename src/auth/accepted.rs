//! What an accepted credential says.

use std::sync::Arc;

use super::quota::Quota;
use super::rights::Rights;
use crate::id::TenantId;
use crate::protocol::Scalar;
use crate::room::name::RoomName;

/// How a credential was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// There was none, and none is needed.
    Anonymous,
    /// A signed token.
    Token,
    /// A signed session cookie.
    Cookie,
    /// An API key.
    ApiKey,
    /// An authorization server was asked (RFC 7662).
    Introspection,
    /// The backend's hook was asked.
    Hook,
    /// The embedding program's own way.
    Custom,
}

impl Strategy {
    /// One word, for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::Cookie => "cookie",
            Self::ApiKey => "api_key",
            Self::Introspection => "introspection",
            Self::Hook => "hook",
            Self::Custom => "custom",
        }
    }
}

/// Who someone is and what they may, as their credential says. Holds nothing of the credential that
/// would let another use it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// How it was checked.
    pub strategy: Strategy,
    /// Whose rooms they see.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: Arc<str>,
    /// None: anonymous.
    pub user: Option<Arc<str>>,
    /// What presence shows of them: JSON.
    pub info: Option<Arc<str>>,
    /// What filters compare.
    pub metadata: Box<[(Box<str>, Scalar)]>,
    /// Their roles; what these allow is in `rights` already.
    pub roles: Box<[Box<str>]>,
    /// What they may.
    pub rights: Arc<Rights>,
    /// Rooms that are joined when they connect.
    pub join: Box<[RoomName]>,
    /// When the credential was made, in Unix time, by its own word: the clock of whoever made it may be
    /// ahead of ours.
    pub issued_at_ms: Option<u64>,
    /// When it runs out, in Unix time, without the leeway.
    pub expires_at_ms: Option<u64>,
    /// Its own id, by which it can be revoked: a token's `jti`, an API key's prefix.
    pub token_id: Option<Arc<str>>,
    /// Who made it.
    pub issuer: Option<Arc<str>>,
    /// What all connections by this credential may take together, if it says so by itself.
    pub quota: Option<Arc<Quota>>,
}

impl Accepted {
    /// Someone without a credential, who may nothing.
    #[must_use]
    pub fn nobody(tenant: TenantId, tenant_name: Arc<str>) -> Self {
        Self {
            strategy: Strategy::Anonymous,
            tenant,
            tenant_name,
            user: None,
            info: None,
            metadata: Box::default(),
            roles: Box::default(),
            rights: Arc::default(),
            join: Box::default(),
            issued_at_ms: None,
            expires_at_ms: None,
            token_id: None,
            issuer: None,
            quota: None,
        }
    }
}
