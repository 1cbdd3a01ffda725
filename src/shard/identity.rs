//! Who a connection is, and what it may: the seam that authentication fills.
//!
//! Invariant: an identity never changes; a new credential makes a new one.

use std::sync::Arc;

use crate::id::TenantId;
use crate::protocol::Scalar;
use crate::room::name::RoomName;

pub use crate::auth::{Open, Permit, Right};

/// Who a connection is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whose rooms it sees.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: Arc<str>,
    /// None: anonymous.
    pub user: Option<Arc<str>>,
    /// What the credential says, for filters.
    pub metadata: Box<[(Box<str>, Scalar)]>,
    /// When the credential runs out, in Unix time.
    pub expires_at_ms: Option<u64>,
    /// What it may.
    pub permit: Arc<dyn Permit>,
}

impl Identity {
    /// Someone of whom nothing is known, where nothing has to be.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            tenant: TenantId::DEFAULT,
            tenant_name: "default".into(),
            user: None,
            metadata: Box::default(),
            expires_at_ms: None,
            permit: Arc::new(Open),
        }
    }

    /// Whether `right` is granted on a room.
    #[must_use]
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        self.permit.allows(right, room.as_str())
    }

    /// Whether both are the same user of the same tenant; two anonymous ones are taken for that,
    /// because a session's id is a secret.
    #[must_use]
    pub fn same_user(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.user == other.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mode_grants_all_but_two() {
        let identity = Identity::anonymous();
        for right in [Right::Join, Right::Publish, Right::History, Right::Presence, Right::Create] {
            assert!(identity.permit.allows(right, "room"), "{right:?}");
        }
        assert!(!identity.permit.allows(Right::Broadcast, "@all"));
        assert!(!identity.permit.allows(Right::Moderate, "room"));
    }
}
