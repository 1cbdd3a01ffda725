//! The settings of a process: validated once, typed, then never questioned again.
//!
//! Invariants: a [`Config`] that [`load`] returns is valid; everything below reads it and checks
//! nothing. Reading is pure: texts in, settings or all their problems out. A setting is described
//! in one place, its row in `section/`; a table in `follow.rs` says which defaults depend on other
//! settings, and `check.rs` which settings must go together.

mod check;
pub mod cpus;
mod differ;
mod file;
mod follow;
mod listener;
mod load;
mod named;
mod nearest;
mod overrides;
mod print;
mod problem;
mod redis_url;
mod secret;
mod section;
mod setting;
mod table;
#[cfg(test)]
mod tests;

pub use differ::differences;
pub use listener::{
    ClientCertificate, ListenAddress, Listener, Mode, NoListenAddress, NoMode, Places, Tls,
};
pub use load::{File, Flag, Reading, Sources, conflicts, load, read};
pub use print::print;
pub use problem::{Cause, Origin, Problem, Problems};
pub use redis_url::{RedisHost, RedisUrl};
pub use secret::Secret;
pub use section::{
    AddressHeader, Admission, Algorithm, ApiKey, Audit, Auth, AuthCookie, AuthIntrospection,
    AuthJwt, AuthMode, Control, CookieKey, Cores, DEFAULT_TENANT, Deflate, Dev, Drain, Driver,
    Flush, Handshake, Heartbeat, Limits, Log, LogFormat, Mesh, Namespaces, Presence, Proxy, Rate,
    RatePerIp, RatePerUser, Redis, RedisInterop, RolePermissions, RoomDefaults, RoomDurability,
    RoomMode, RoomRate, RoomRole, RoomSlowConsumer, RoomType, Rooms, Session, Tcp, Tenant,
    TenantRows, TokenKey, TokenKeySource, UserOverflow,
};

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// What every environment variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "RINGROOM_";

/// Makes [`Config`] out of its sections, and the list of them.
macro_rules! config {
    ($($field:ident: $Section:ident,)+) => {
        /// Every setting, validated.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            /// Where clients connect; never empty.
            pub listeners: Vec<Listener>,
            /// Namespaces and the defaults of their rooms; `@all` and `@user` among them.
            pub namespace_rooms: BTreeMap<String, RoomDefaults>,
            /// Tenants; empty: there is one, `default`.
            pub tenants: BTreeMap<String, Tenant>,
            $(
                #[doc = concat!("See [`", stringify!($Section), "`].")]
                pub $field: $Section,
            )+
        }

        impl Config {
            /// The rows of the sections alone.
            fn of_rows() -> Self {
                Self {
                    listeners: Vec::new(),
                    namespace_rooms: BTreeMap::new(),
                    tenants: BTreeMap::new(),
                    $( $field: $Section::default(), )+
                }
            }
        }

        const SECTIONS: &[table::Section<Config>] = &[$( $Section::SECTION, )+];
    };
}

config! {
    control: Control,
    cores: Cores,
    admission: Admission,
    tcp: Tcp,
    handshake: Handshake,
    proxy: Proxy,
    deflate: Deflate,
    heartbeat: Heartbeat,
    session: Session,
    presence: Presence,
    rooms: Rooms,
    namespaces: Namespaces,
    limits: Limits,
    rate: Rate,
    users: RatePerUser,
    addresses: RatePerIp,
    flush: Flush,
    mesh: Mesh,
    redis: Redis,
    redis_interop: RedisInterop,
    drain: Drain,
    auth: Auth,
    auth_jwt: AuthJwt,
    auth_cookie: AuthCookie,
    auth_introspection: AuthIntrospection,
    audit: Audit,
    dev: Dev,
    log: Log,
}

impl Config {
    /// How many decisions of the operator may hold: revocations, bans and tenants' states.
    #[must_use]
    pub fn most_decisions(&self) -> usize {
        2 * self.auth.revocations as usize + self.tenants.len().max(1)
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::of_rows();
        follow::follow(&mut config, |_| false);
        config.listeners = vec![Listener {
            address: ListenAddress::default(),
            tls: None,
            proxy_protocol: false,
            deflate: config.deflate.enabled,
        }];
        config
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)))
    }
}

/// Every setting of the sections.
fn keys() -> impl Iterator<Item = &'static table::Key<Config>> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The setting that `path` names, by its own name or by one that PROTOCOL gives it.
fn key(path: &str) -> Option<&'static table::Key<Config>> {
    let path = match path {
        "limits.connections_per_ip" => "admission.connections_per_ip",
        path => path,
    };
    let (section, name) = path.rsplit_once('.')?;
    let section = SECTIONS.iter().find(|known| known.name == section)?;
    section.keys.iter().find(|key| key.name == name)
}
