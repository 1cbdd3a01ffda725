//! What rooms are called.
//!
//! Invariants:
//! - A [`RoomName`] is valid: a name of a user's choosing that keeps the rules of [`RoomName::parse`],
//!   or one of the two reserved kinds, which no peer can spell.
//! - A [`RoomKey`] holds its tenant beside the name, never in it, so two tenants cannot meet whatever
//!   they call their rooms.

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::id::TenantId;

/// The longest name.
pub const NAME_BYTES: usize = 200;
/// The longest user id.
pub const USER_BYTES: usize = 128;

const EVERYONE: &str = "@all";
const USER_PREFIX: &str = "@user/";

/// A valid name of a room within its tenant. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

/// A room anywhere in this process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey {
    /// Whose room.
    pub tenant: TenantId,
    /// What that tenant calls it.
    pub name: RoomName,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKind<'a> {
    /// A room that people make and join.
    Named,
    /// `@all`: every connection of the tenant.
    Everyone,
    /// `@user/…`: every connection of one user.
    User(&'a str),
}

/// Why a text is no name of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no bytes.
    Empty,
    /// It is longer than [`NAME_BYTES`], or the user id in it than [`USER_BYTES`].
    TooLong,
    /// It contains a control character.
    Control,
    /// It begins or ends with a space (of any kind) or `/`.
    Edge,
    /// It begins with `@`.
    Reserved,
}

impl RoomName {
    /// A name that a peer chose: 1 to 200 bytes, no control characters, no space or `/` at either
    /// end, not beginning with `@`. It is taken as it is: nothing is trimmed, folded or normalised,
    /// so what differs in bytes is another room.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.starts_with('@') {
            return Err(NameError::Reserved);
        }
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The reserved room that every connection of a tenant has joined.
    #[must_use]
    pub fn everyone() -> Self {
        Self(EVERYONE.into())
    }

    /// The reserved room that every connection of `user` has joined. The id is taken as it is.
    ///
    /// # Errors
    /// If `user` has not 1 to 128 bytes.
    pub fn user(user: &str) -> Result<Self, NameError> {
        match user.len() {
            0 => Err(NameError::Empty),
            1..=USER_BYTES => Ok(Self([USER_PREFIX, user].concat().into())),
            _ => Err(NameError::TooLong),
        }
    }

    /// A reserved room as it is written on the wire.
    #[must_use]
    pub fn reserved(text: &str) -> Option<Self> {
        match text.strip_prefix(USER_PREFIX) {
            Some(user) => Self::user(user).ok(),
            None => (text == EVERYONE).then(Self::everyone),
        }
    }

    /// The name as text, which is also how it appears on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it stands for.
    #[must_use]
    pub fn kind(&self) -> RoomKind<'_> {
        match self.0.strip_prefix(USER_PREFIX) {
            Some(user) => RoomKind::User(user),
            None if &*self.0 == EVERYONE => RoomKind::Everyone,
            None => RoomKind::Named,
        }
    }

    /// Whether it is one of the reserved rooms.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.kind() != RoomKind::Named
    }

    /// What selects the defaults: the part before the first `:`, if there is one. Reserved rooms
    /// have the namespaces `@all` and `@user`, whatever the user is called.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self.kind() {
            RoomKind::Everyone => Some("@all"),
            RoomKind::User(_) => Some("@user"),
            RoomKind::Named => self.0.split_once(':').map(|(namespace, _)| namespace),
        }
    }

    /// The rooms above this one, the nearest first: what stands before each `/`, as far as that is
    /// a valid name. Reserved rooms have none.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        let named = if self.is_reserved() { "" } else { self.as_str() };
        let slashes = named.rmatch_indices('/');
        slashes.map(|(at, _)| &named[..at]).filter(|parent| check(parent).is_ok())
    }
}

/// The rules for all names, `@` aside.
fn check(text: &str) -> Result<(), NameError> {
    let at_edge = |c: char| c == '/' || c.is_whitespace();
    match text.len() {
        0 => Err(NameError::Empty),
        1..=NAME_BYTES if has_control(text) => Err(NameError::Control),
        1..=NAME_BYTES if text.starts_with(at_edge) || text.ends_with(at_edge) => {
            Err(NameError::Edge)
        }
        1..=NAME_BYTES => Ok(()),
        _ => Err(NameError::TooLong),
    }
}

/// Whether there is a control character in it.
pub(crate) fn has_control(text: &str) -> bool {
    // Those beyond ASCII, U+0080 to U+009F, begin with the byte C2, as others do that are none.
    let may_be = |byte: u8| matches!(byte, 0..=0x1f | 0x7f | 0xc2);
    text.bytes().any(may_be) && text.contains(char::is_control)
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted and escaped: a name may hold what turns text around in a log.
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl RoomKey {
    /// The room `name` of `tenant`.
    #[must_use]
    pub fn new(tenant: TenantId, name: RoomName) -> Self {
        Self { tenant, name }
    }
}
