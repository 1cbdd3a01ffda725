//! That a user may join a room, as they are told, and as one node writes it for another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::Role;

use super::charter::UntilUnix;
use super::name::{RoomName, USER_BYTES};

/// A user may join a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// Which room.
    pub room: RoomName,
    /// Who says so.
    pub by: Option<Arc<str>>,
    /// What the user becomes by joining.
    pub role: Option<Role>,
    /// For how long.
    pub until: UntilUnix,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    room: &'a str,
    by: Option<&'a str>,
    role: Option<&'a str>,
    until: UntilUnix,
}

impl Invited {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now_unix_ms: u64) -> bool {
        self.until.is_some_and(|until| until <= now_unix_ms)
    }

    /// As others read it.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let written = Written {
            room: self.room.as_str(),
            by: self.by.as_deref(),
            role: self.role.map(Role::as_str),
            until: self.until,
        };
        rmp_serde::to_vec(&written).expect("memory takes whatever is written to it")
    }

    /// What was written; none if it is not what this server writes.
    #[must_use]
    pub fn read(wire: &[u8]) -> Option<Self> {
        let Written { room, by, role, until } = rmp_serde::from_slice(wire).ok()?;
        let role = match role {
            Some(role) => Some(Role::parse(role)?),
            None => None,
        };
        let by = by.map(Arc::from).filter(|by: &Arc<str>| by.len() <= USER_BYTES);
        Some(Self { room: RoomName::parse(room).ok()?, by, role, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_is_read() {
        let room = RoomName::parse("chat:a b").expect("a good name");
        let bare = Invited { room, by: None, role: None, until: None };
        let full = Invited {
            by: Some("ann".into()),
            role: Some(Role::Moderator),
            until: Some(9),
            ..bare.clone()
        };
        for invited in [bare, full.clone()] {
            assert_eq!(Invited::read(&invited.write()), Some(invited));
        }
        assert!(!full.is_over(8) && full.is_over(9));
        let wrong = |room, role| {
            let written = Written { room, by: None, role, until: None };
            rmp_serde::to_vec(&written).expect("it is written")
        };
        for bad in [wrong("@all", None), wrong("a", Some("king")), b"nothing".to_vec(), Vec::new()]
        {
            assert_eq!(Invited::read(&bad), None, "{}", bad.escape_ascii());
        }
    }
}
