//! What credentials are checked against: made once from the settings, shared by all cores, and
//! replaced as a whole when the settings are read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accepted::{Accepted, Strategy};
use super::custom::Custom;
use super::rights::Rights;
use crate::id::TenantId;

/// A tenant whose credentials are checked.
#[derive(Clone, Debug)]
pub struct TenantSetup {
    /// What it is called inside.
    pub id: TenantId,
    /// What credentials call it.
    pub name: Arc<str>,
}

/// What a policy is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Counts the policies of this process: an answer meant for another one is void.
    pub number: u64,
    /// All tenants; the first is that of credentials that name none.
    pub tenants: Vec<TenantSetup>,
    /// What anonymous clients may, if they are let in.
    pub anonymous: Option<Arc<Rights>>,
    /// The embedding program's own way.
    pub custom: Option<Arc<dyn Custom>>,
}

/// What credentials are checked against.
#[derive(Debug)]
pub struct Policy {
    number: u64,
    tenants: BTreeMap<Arc<str>, TenantId>,
    anonymous: Option<Arc<Accepted>>,
    custom: Option<Arc<dyn Custom>>,
}

impl Policy {
    /// Makes one.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let first = setup.tenants.first();
        let anonymous = setup.anonymous.zip(first).map(|(rights, tenant)| {
            Arc::new(Accepted {
                strategy: Strategy::Anonymous,
                tenant: tenant.id,
                tenant_name: tenant.name.clone(),
                user: None,
                info: None,
                metadata: Box::default(),
                roles: Box::default(),
                rights,
                join: Box::default(),
                issued_at_ms: None,
                expires_at_ms: None,
                token_id: None,
                issuer: None,
            })
        });
        let tenants = setup.tenants.into_iter().map(|tenant| (tenant.name, tenant.id)).collect();
        Self { number: setup.number, tenants, anonymous, custom: setup.custom }
    }

    /// Which of the policies of this process it is.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The tenant of this name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<TenantId> {
        self.tenants.get(name).copied()
    }

    /// Who someone without a credential is; none if they are not let in.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Arc<Accepted>> {
        self.anonymous.as_ref()
    }

    pub(super) fn custom(&self) -> Option<&dyn Custom> {
        self.custom.as_deref()
    }
}
