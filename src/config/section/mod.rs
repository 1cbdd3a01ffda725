//! The settings, a row each. To add one, add its row: everything else follows from it.

mod auth;
mod edge;
mod engine;
mod namespace;
mod process;
mod redis;
mod tenant;

pub use auth::{
    Algorithm, ApiKey, Auth, AuthCookie, AuthIntrospection, AuthJwt, AuthMode, CookieKey,
    RolePermissions, TokenKey, TokenKeySource,
};
pub use edge::{AddressHeader, Admission, Deflate, Handshake, Heartbeat, Proxy, Tcp};
pub use engine::{
    Flush, Limits, Mesh, Namespaces, Presence, Rate, RatePerIp, RatePerUser, Rooms, Session,
    UserOverflow,
};
pub(super) use namespace::NamespaceDraft;
pub use namespace::{
    RoomDefaults, RoomDurability, RoomMode, RoomRate, RoomRole, RoomSlowConsumer, RoomType,
};
pub use process::{Audit, Control, Cores, Dev, Drain, Driver, Log, LogFormat};
pub use redis::{Redis, RedisInterop};
pub(super) use tenant::TenantDraft;
pub use tenant::{DEFAULT_TENANT, Tenant, TenantRows};
