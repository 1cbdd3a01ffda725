//! `[tenants.NAME]`: somebody with rooms, users and limits of their own. Its namespaces are
//! `[tenants.NAME.namespaces.NAMESPACE]` tables, and take the place of the general ones.

use std::collections::BTreeMap;

use crate::config::table::{DAY_MS, GIB, range, section};

use super::{CookieKey, RoomDefaults, TokenKey};

/// The name of everyone's tenant where none is configured.
pub const DEFAULT_TENANT: &str = "default";

section! {
    /// A tenant; 0 is no limit.
    pub TenantDraft.tenant: TenantRows {
        /// Origins that its browsers may connect from; empty: as `handshake.origins` says.
        origins: Vec<String> = Vec::new();
        /// Whether it begins suspended: nobody of it is let in.
        suspended: bool = false;
        /// Connections.
        connections: u32 = 0, range(0..=100_000_000), Count;
        /// Rooms.
        rooms: u32 = 0, range(0..=100_000_000), Count;
        /// Users with a connection.
        users: u32 = 0, range(0..=100_000_000), Count;
        /// Messages a second of all its connections.
        messages_per_second: u32 = 0, range(0..=10_000_000), PerSecond;
        /// How many may come at once before that rate holds; 0: what a second yields.
        burst: u32 = 0, range(0..=10_000_000), Count;
        /// Messages a minute of all its connections.
        messages_per_minute: u32 = 0, range(0..=600_000_000), PerMinute;
        /// Bytes a second of all its connections, and 64 for each frame of a message.
        bytes_per_second: u32 = 0, range(0..=GIB), BytesPerSecond;
        /// How long a tenant that keeps on is refused, and who of it sends is sent away; 0: not at all.
        ban_ms: u64 = 0, range(0..=DAY_MS), Milliseconds;
        /// History of all its rooms together.
        history_bytes: u64 = 0, range(0..=1_024 * GIB), Bytes;
        /// Keys of its own tokens, besides those of `auth.jwt.keys`, which speak for every tenant.
        jwt_keys: Vec<TokenKey> = Vec::new();
        /// Who may have made its tokens, besides `auth.jwt.issuers`.
        jwt_issuers: Vec<String> = Vec::new();
        /// Whom its tokens may be for, besides `auth.jwt.audiences`.
        jwt_audiences: Vec<String> = Vec::new();
        /// Keys of its own session cookies.
        cookie_keys: Vec<CookieKey> = Vec::new();
    }
}

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Whose pages may connect, and what all of it may take.
    pub rows: TenantRows,
    /// Its namespaces and the defaults of their rooms; empty: the general ones.
    pub namespace_rooms: BTreeMap<String, RoomDefaults>,
}

/// A `[tenants.NAME]` table as far as it was read.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct TenantDraft {
    pub(in crate::config) tenant: TenantRows,
}
