//! Tokens for one room: whoever holds one may join it, or is invited with a role.
//!
//! They are signed by the same keys as tokens that say who someone is, and are told apart by their
//! `typ`, so that neither passes for the other.

use std::sync::Arc;

use super::claims::{self, Claims};
use super::refusal::Refusal;
use crate::protocol::Role;
use crate::protocol::json::Object;
use crate::room::name::{NAME_BYTES, RoomName};

/// What a room token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomGrant {
    /// Which room.
    pub room: RoomName,
    /// Whom: only this user; none: whoever shows it.
    pub user: Option<Arc<str>>,
    /// The role it gives, at least; none: to join, and no more.
    pub role: Option<Role>,
    /// Until when it may be shown, in Unix time.
    pub expires_at_ms: u64,
    /// Its own id, by which it can be revoked.
    pub token_id: Option<Arc<str>>,
}

/// What the payload of a room token says.
pub(super) fn read(object: &Object<'_>, claims: &Claims) -> Result<RoomGrant, Refusal> {
    let room = claims::text(object, "room", NAME_BYTES)?.ok_or(Refusal::Claims)?;
    let role = match claims::member::<String>(object, "role")? {
        // A room has one owner, and who owns it says who is next.
        Some(word) if word == Role::Owner.as_str() => return Err(Refusal::Claims),
        Some(word) => Some(Role::parse(&word).ok_or(Refusal::Claims)?),
        None => None,
    };
    Ok(RoomGrant {
        room: RoomName::parse(&room).map_err(|_| Refusal::Claims)?,
        user: claims.user.clone(),
        role,
        expires_at_ms: claims.times.expires_at_ms.ok_or(Refusal::Claims)?,
        token_id: claims.token_id.clone(),
    })
}
