//! What a room has from the rooms above it: settings, roles and bans.
//!
//! Invariant: it counts only while the room inherits; mutes and invitations stay where they were
//! given.

use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ConnectionAddress;
use crate::room::config::{Bounds, Settings};
use crate::room::members::Members;

use super::HomeRoom;

/// What the rooms below one inherit from it.
#[derive(Clone, Debug)]
pub struct Heritage {
    /// What is set for it, without its namespace.
    pub settings: Settings,
    /// Its roles and bans.
    pub members: Members,
    /// Whether it inherits itself, from the next room above.
    pub inherits: bool,
}

/// Changes whenever the heritage does: which life of the room, and how often what has changed.
pub type HeritageStamp = (Arc<str>, u64, u64);

impl HomeRoom {
    /// What the rooms below inherit.
    #[must_use]
    pub fn bequeath(&self) -> Heritage {
        Heritage {
            settings: self.settings.clone(),
            members: self.members.to_inherit(),
            inherits: self.config.parent_inherit,
        }
    }

    /// Whether [`bequeath`](Self::bequeath) would say something new.
    #[must_use]
    pub fn heritage_stamp(&self) -> HeritageStamp {
        (Arc::clone(&self.epoch), self.changes, self.members.changes())
    }

    /// Takes what the rooms above have, the nearest first. True if the room is another because of
    /// it.
    pub fn inherit(&mut self, chain: Vec<Arc<Heritage>>, bounds: &Bounds, now: Moment) -> bool {
        self.heritage = chain;
        self.guard = None;
        let is_another = self.resolve(bounds, now);
        if !is_another {
            // Else that has been done.
            self.settle_all(now);
        }
        is_another
    }

    /// Connections of users, or from addresses, that a room above has banned.
    #[must_use]
    pub fn outcasts(&self, now: Moment) -> Vec<ConnectionAddress> {
        if !self.heritage().any(|heritage| heritage.members.has_bans()) {
            return Vec::new();
        }
        let mut found: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, it)| self.standing(it.user.as_deref(), it.ip, now).banned.is_some())
            .map(|(address, _)| *address)
            .collect();
        found.sort_unstable();
        found
    }

    /// What counts of the rooms above: of each as long as the one before inherits.
    pub(super) fn heritage(&self) -> impl Iterator<Item = &Heritage> {
        self.heritage.iter().filter(|_| self.config.parent_inherit).map(|heritage| &**heritage)
    }
}
