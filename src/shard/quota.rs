//! How many rooms one may make, and what a tenant's rooms are by default.
//!
//! Invariants: whoever has used up what they may make still gets into rooms that exist; what counts is
//! what was made, however many ask at once and whichever connections they use.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::bucket::{Limits, Meter, Meters, Verdict};
use crate::clock::Moment;
use crate::config::Config;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionKey, TenantId, ip_key};
use crate::protocol::ErrorCode;
use crate::room::config::{Namespace, Namespaces};
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;
use crate::tenant::Tenants;

use super::Shard;
use super::session::SessionId;

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
    /// For whom a room counts that a command of a connection makes: for its user, else for its address,
    /// else for its session.
    pub(super) fn may_create(&self, key: ConnectionKey) -> MayCreate {
        let Some(connection) = self.outbound.get(key) else { return MayCreate::No };
        let identity = &connection.identity;
        let maker = match (&identity.user, connection.address) {
            (Some(user), _) => Maker::User(identity.tenant, Arc::clone(user)),
            (None, Some(address)) => Maker::Address(ip_key(address)),
            (None, None) => Maker::Session(connection.session),
        };
        self.senders.makers.find(maker, self.outbound.now.moment)
    }
}

/// For whom rooms are counted that are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Maker {
    User(TenantId, Arc<str>),
    Address(IpAddr),
    Session(Option<SessionId>),
}

/// How many rooms everybody has made lately, on all cores.
#[derive(Debug)]
pub(super) struct Makers {
    limits: Limits,
    meters: Meters<Maker>,
}

impl Makers {
    pub(super) fn new(config: &Config, seed: Seed) -> Self {
        let limits = Limits::per_minute(config.limits.room_creations_per_minute);
        Self { limits, meters: Meters::new(seed) }
    }

    fn find(&self, maker: Maker, now: Moment) -> MayCreate {
        if self.limits.are_off() {
            return MayCreate::Uncounted;
        }
        let meter = self.meters.find(maker, now);
        let (counted, made) = (AtomicBool::new(false), AtomicBool::new(false));
        MayCreate::Counted(Arc::new(Creation { meter, limits: self.limits, counted, made }))
    }
}

/// Whether a command may make a room.
#[derive(Clone, Debug, Default)]
pub enum MayCreate {
    /// None.
    #[default]
    No,
    /// As many as it likes.
    Uncounted,
    /// One, which is counted.
    Counted(Arc<Creation>),
}

/// A room that is counted before it is made, and not before it is known that one is to be made: a
/// command that finds the room there takes nothing from others. It is given back if it is not made, when
/// the command is answered and forgotten, so that any number of them on their way cannot make more than
/// may be.
#[derive(Debug)]
pub struct Creation {
    meter: Arc<Meter>,
    limits: Limits,
    counted: AtomicBool,
    made: AtomicBool,
}

impl MayCreate {
    /// Whether it may, now that it has to: it is counted from here on.
    pub(super) fn reserve(&self, now: Moment) -> bool {
        match self {
            Self::No => false,
            Self::Uncounted => true,
            Self::Counted(creation) => {
                // One command is in one place at a time.
                let counted = creation.counted.load(Relaxed)
                    || creation.meter.take(&creation.limits, now, 0) == Verdict::Pass;
                creation.counted.store(counted, Relaxed);
                counted
            }
        }
    }

    /// The room is made.
    pub(super) fn spend(&self) {
        if let Self::Counted(creation) = self {
            creation.made.store(true, Relaxed);
        }
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        if *self.counted.get_mut() && !*self.made.get_mut() {
            self.meter.give_back(&self.limits, 0);
        }
    }
}
