//! The settings, a row each. To add one, add its row: everything else follows from it.

mod edge;
mod engine;
mod namespace;
mod process;
mod redis;

pub use edge::{AddressHeader, Admission, Deflate, Handshake, Heartbeat, Proxy, Tcp};
pub use engine::{Flush, Limits, Mesh, Namespaces, Presence, Rate, Rooms, Session};
pub(super) use namespace::NamespaceDraft;
pub use namespace::{
    RoomDefaults, RoomDurability, RoomMode, RoomRate, RoomRole, RoomSlowConsumer, RoomType,
};
pub use process::{Auth, AuthMode, Control, Cores, Dev, Drain, Driver, Log, LogFormat};
pub use redis::Redis;
