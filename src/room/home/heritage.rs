//! What a room has from the rooms above it: settings, roles and bans.
//!
//! Invariants: it counts only while the room inherits, and of those rooms alone that were above it when
//! it was made so, or whoever is the first in a room above would own what is below it; mutes and
//! invitations stay where they were given.

use std::collections::BTreeSet;
use std::iter::repeat;
use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ConnectionAddress;
use crate::protocol::RoomPatch;
use crate::room::charter::Parent;
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
    /// Which room that is, to those below.
    pub from: Parent,
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
            from: Parent { name_bytes: self.key.name.as_str().len(), made_ms: self.created_at_ms },
        }
    }

    /// Whether [`bequeath`](Self::bequeath) would say something new.
    #[must_use]
    pub fn heritage_stamp(&self) -> HeritageStamp {
        (Arc::clone(&self.epoch), self.changes, self.members.changes())
    }

    /// The room is made under these, the nearest first.
    pub fn begin_under(&mut self, above: Vec<Arc<Heritage>>, bounds: &Bounds, now: Moment) {
        self.parents = parents(&above);
        self.inherit(above, bounds, now);
    }

    /// From whom the room inherits if this is set for it: from all who are above it by now, where it has not
    /// inherited before.
    pub(super) fn parents_by(&self, patch: &RoomPatch) -> Option<Box<[Parent]>> {
        let begins = !self.config.parent_inherit && patch.parent_inherit == Some(true);
        begins.then(|| parents(&self.heritage))
    }

    /// Takes what the rooms above have, the nearest first. True if the room is another because of
    /// it.
    pub fn inherit(&mut self, chain: Vec<Arc<Heritage>>, bounds: &Bounds, now: Moment) -> bool {
        let before = std::mem::replace(&mut self.heritage, chain);
        self.guard = None;
        let is_another = self.resolve(bounds, now);
        for user in self.differing_from(&before) {
            self.settle(&user, now);
        }
        is_another
    }

    /// Users of whom the rooms above say anything else than before.
    fn differing_from(&self, before: &[Arc<Heritage>]) -> BTreeSet<Arc<str>> {
        let none = Members::default();
        let height = before.len().max(self.heritage.len());
        let height = if self.config.parent_inherit { height } else { 0 };
        let before = before.iter().map(|it| &it.members).chain(repeat(&none));
        let after = self.heritage.iter().map(|it| &it.members).chain(repeat(&none));
        let pairs = before.zip(after).take(height).filter(|(old, new)| !std::ptr::eq(*old, *new));
        pairs.flat_map(|(old, new)| old.differing(new)).cloned().collect()
    }

    /// Connections that are in the room, and of users, or from addresses, that are banned here or in a
    /// room above.
    #[must_use]
    pub fn outcasts(&self, now: Moment) -> Vec<ConnectionAddress> {
        let above = self.heritage().map(|heritage| &heritage.members);
        if !std::iter::once(&self.members).chain(above).any(Members::has_bans) {
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

    /// What counts of the rooms above.
    pub(super) fn heritage(&self) -> impl Iterator<Item = &Arc<Heritage>> {
        let parents = self.config.parent_inherit.then_some(&*self.parents);
        self.heritage_from(parents.unwrap_or_default())
    }

    /// What counts of the rooms above if the room inherits from these: of each as long as the one before
    /// inherits.
    pub(super) fn heritage_from<'a>(
        &'a self,
        parents: &'a [Parent],
    ) -> impl Iterator<Item = &'a Arc<Heritage>> {
        let mut goes_on = true;
        self.heritage.iter().filter(move |above| {
            let counts = goes_on && parents.contains(&above.from);
            goes_on &= !counts || above.inherits;
            counts
        })
    }
}

/// The rooms that have these.
#[must_use]
pub fn parents(above: &[Arc<Heritage>]) -> Box<[Parent]> {
    above.iter().map(|heritage| heritage.from).collect()
}
