//! Who may hear a room without being in it, through a pattern.
//!
//! Invariants: whoever could not join it by themselves does not hear it: the banned, and strangers
//! where not everybody joins; a room that everybody may join, and that has banned nobody, has no
//! guard, and costs nothing.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Moment;
use crate::protocol::RoomType;
use crate::room::config::RoomConfig;
use crate::room::members::Members;
use crate::room::standing::Action;

use super::{Heritage, HomeRoom, standing_in};

/// What a room's home knows of who may hear it.
#[derive(Debug)]
pub struct Guard {
    members: Members,
    above: Vec<Arc<Heritage>>,
    config: Arc<RoomConfig>,
    /// How often roles and bans had changed when it was made.
    changes: u64,
}

impl Guard {
    /// Whether somebody may hear the room. An invitation lets in, and is not enough to hear.
    #[must_use]
    pub fn lets_hear(&self, user: Option<&str>, ip: Option<IpAddr>, now: Moment) -> bool {
        let mut above = self.above.iter().map(|it| &it.members);
        let standing = standing_in(&self.members, &mut above, (user, ip), now);
        standing.may(Action::Join { proven: false }, &self.config).is_ok()
    }
}

impl HomeRoom {
    /// Who may hear the room through a pattern; none: everybody.
    pub fn guard(&mut self) -> Option<Arc<Guard>> {
        let is_open = self.config.room_type == RoomType::Public
            && !self.members.has_bans()
            && !self.heritage().any(|heritage| heritage.members.has_bans());
        if is_open {
            self.guard = None;
            return None;
        }
        let changes = self.members.changes();
        let is_current = |guard: &&Arc<Guard>| {
            guard.changes == changes && Arc::ptr_eq(&guard.config, &self.config)
        };
        if let Some(guard) = self.guard.as_ref().filter(is_current) {
            return Some(Arc::clone(guard));
        }
        let guard = Arc::new(Guard {
            members: self.members.to_inherit(),
            above: self.heritage().cloned().collect(),
            config: Arc::clone(&self.config),
            changes,
        });
        self.guard = Some(Arc::clone(&guard));
        Some(guard)
    }
}
