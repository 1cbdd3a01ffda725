//! What a tenant may send, what a connection may make, and what a tenant's rooms are by default.
//!
//! Invariant: a connection that has used up what it may make still gets into rooms that exist.

use std::sync::Arc;

use crate::bucket::Quota;
use crate::config::Config;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionKey, TenantId};
use crate::protocol::{Envelope, ErrorCode};
use crate::room::config::{Namespace, Namespaces};
use crate::room::home::Refusal;
use crate::room::name::{RoomKey, RoomName};
use crate::tenant::Tenants;

use super::Shard;

/// The namespaces of all tenants.
#[derive(Debug)]
pub(super) struct Spaces {
    general: Namespaces,
    /// Of tenants that have their own.
    own: Map<TenantId, Namespaces>,
}

impl Spaces {
    pub(super) fn new(config: &Config, tenants: &Tenants, seed: Seed) -> Self {
        let mut own = Map::with_hasher(seed);
        for (id, tenant) in tenants.iter() {
            let configured = config.tenants.get(&*tenant.name);
            let rooms = configured.map(|tenant| &tenant.namespace_rooms);
            if let Some(rooms) = rooms.filter(|rooms| !rooms.is_empty()) {
                let mut config = config.clone();
                config.namespace_rooms.clone_from(rooms);
                own.insert(id, Namespaces::new(&config));
            }
        }
        Self { general: Namespaces::new(config), own }
    }

    fn of_tenant(&self, tenant: TenantId) -> &Namespaces {
        self.own.get(&tenant).unwrap_or(&self.general)
    }

    /// What a room has from its namespace.
    pub(super) fn of(&self, room: &RoomKey) -> &Arc<Namespace> {
        self.of_tenant(room.tenant).of(&room.name)
    }

    /// Whether a tenant's room may have this name.
    pub(super) fn admit(&self, tenant: TenantId, room: &RoomName) -> bool {
        self.of_tenant(tenant).admit(room)
    }
}

/// Too many rooms were made.
pub(super) const TOO_MANY_CREATIONS: Refusal = Refusal {
    code: ErrorCode::RateLimited,
    message: "too many rooms were made within a minute",
    retry_after_ms: Some(1_000),
};

impl Shard {
    /// Whether the tenant of a connection may send this now; the connection is told if not.
    pub(super) fn within_quota(
        &mut self,
        key: ConnectionKey,
        envelope: &Envelope<'_>,
        bytes: u32,
    ) -> bool {
        let now = self.outbound.now.moment;
        let Some(connection) = self.outbound.get(key) else { return false };
        let tenant = self.tenants.get(connection.identity.tenant);
        let Err(retry_after_ms) = tenant.send(now, bytes) else { return true };
        let refusal = Refusal {
            code: ErrorCode::RateLimited,
            message: "too many messages of the tenant",
            retry_after_ms: Some(retry_after_ms),
        };
        self.metrics.rate_limited.add(1);
        self.refuse_whole(key, envelope, refusal);
        false
    }

    fn creations(&self) -> Quota {
        Quota::per_minute(self.config.limits.room_creations_per_minute)
    }

    /// Whether a connection may make one more room.
    pub(super) fn may_create(&mut self, key: ConnectionKey) -> bool {
        let (quota, now) = (self.creations(), self.outbound.now.moment);
        if quota.is_unlimited() {
            return true;
        }
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        let mut made = connection.rare.as_ref().map(|rare| rare.creations).unwrap_or_default();
        made.check(quota, now, 1).is_ok()
    }

    /// A connection has made a room.
    pub(super) fn count_creation(&mut self, key: ConnectionKey) {
        let (quota, now) = (self.creations(), self.outbound.now.moment);
        if quota.is_unlimited() {
            return;
        }
        if let Some(connection) = self.outbound.get_mut(key) {
            // Others may be on their way: together they may be a few more.
            let _ = connection.rare().creations.take(quota, now, 1);
        }
    }
}
