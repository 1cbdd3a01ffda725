//! Who a connection is, and what it may: what the engine keeps of an accepted credential.
//!
//! Invariant: an identity never changes; a new credential makes a new one.

use std::sync::Arc;

use crate::auth::{Accepted, Quota};
use crate::id::TenantId;
use crate::protocol::{Codec, Data, OwnedData, Scalar};
use crate::room::name::RoomName;

pub use crate::auth::{Open, Permit, Right};

/// Who a connection is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whether that is known; if not, no tenant has anything to do with it yet.
    pub is_known: bool,
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
    /// The credential it was made of; none: nothing was checked.
    pub accepted: Option<Arc<Accepted>>,
}

/// Nothing at all is granted.
#[derive(Clone, Copy, Debug)]
struct Nothing;

impl Permit for Nothing {
    fn allows(&self, _right: Right, _on: &str) -> bool {
        false
    }

    fn allows_from_outside(&self, _right: Right, _on: &str) -> bool {
        false
    }
}

impl Identity {
    /// Someone of whom nothing is known, where nothing has to be.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            is_known: true,
            tenant: TenantId::DEFAULT,
            tenant_name: "default".into(),
            user: None,
            metadata: Box::default(),
            expires_at_ms: None,
            permit: Arc::new(Open),
            accepted: None,
        }
    }

    /// Someone of whom nothing is known, where something has to be: they may do nothing, and are
    /// nobody's.
    #[must_use]
    pub fn nobody() -> Self {
        Self { is_known: false, permit: Arc::new(Nothing), ..Self::anonymous() }
    }

    /// The tenant that answers for what it does, once that is known.
    #[must_use]
    pub fn known_tenant(&self) -> Option<TenantId> {
        self.is_known.then_some(self.tenant)
    }

    /// Whom a credential names.
    #[must_use]
    pub fn of(accepted: &Arc<Accepted>) -> Self {
        Self {
            is_known: true,
            tenant: accepted.tenant,
            tenant_name: Arc::clone(&accepted.tenant_name),
            user: accepted.user.clone(),
            metadata: accepted.metadata.clone(),
            expires_at_ms: accepted.expires_at_ms,
            permit: Arc::<crate::auth::Rights>::clone(&accepted.rights),
            accepted: Some(Arc::clone(accepted)),
        }
    }

    /// What presence shows of them before they have said anything themselves.
    #[must_use]
    pub fn presence_info(&self) -> Option<OwnedData> {
        let info = self.accepted.as_ref()?.info.as_deref()?;
        Data::new(Codec::Json, info.as_bytes(), Data::DEPTH_MAX).map(Data::to_owned)
    }

    /// Whether `right` is granted on a room.
    #[must_use]
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        self.permit.allows(right, room.as_str())
    }

    /// What its credential may take by itself, if that says so.
    #[must_use]
    pub fn quota(&self) -> Option<&Arc<Quota>> {
        self.accepted.as_ref()?.quota.as_ref()
    }

    /// A connection that counts for this one counts for `next` from now on; false if `next` has as many
    /// as it may, and then nothing changes.
    pub(super) fn passes_place_to(&self, next: &Self) -> bool {
        match (self.quota(), next.quota()) {
            (Some(own), Some(next)) if own.is_shared_with(next) => return true,
            (_, Some(next)) if !next.enter() => return false,
            _ => {}
        }
        self.quota().into_iter().for_each(|own| own.leave());
        true
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
    fn open_mode_grants_all_but_two_and_nobody_may_anything() {
        let (identity, nobody) = (Identity::anonymous(), Identity::nobody());
        for (name, right) in Right::ALL {
            let reserved = matches!(right, Right::Broadcast | Right::Moderate);
            assert_eq!(identity.permit.allows(right, "room"), !reserved, "{name}");
            assert!(!nobody.permit.allows(right, "room"), "{name}");
        }
    }
}
