//! Rooms that have settings, roles and bans from the rooms above them, wherever those live.
//!
//! A room that is to inherit follows the rooms above it: their homes tell its home what they have,
//! at once and whenever that changes, whether the room above exists or not. Until all have told,
//! what is asked of the room waits in order. So a command is decided by what is known here, and no
//! ban above is overlooked by whoever comes first.
//!
//! Invariants: a room follows only while it is there or about to be; what waits for it keeps its
//! order; the rooms above are looked at to a bounded height.

use std::sync::Arc;

use crate::hash::Map;
use crate::id::CoreId;
use crate::room::home::{Heritage, HeritageStamp};
use crate::room::name::{RoomKey, RoomName};

use super::Shard;
use super::ask::What;
use super::message::ToHome;

/// Rooms above one that are looked at, the nearest first.
const HEIGHT_MAX: usize = 16;

/// A room that inherits, or is about to.
#[derive(Debug)]
pub(super) struct Heir {
    /// Tells answers for this life of it from those for an earlier one.
    number: u64,
    /// The rooms above, the nearest first, and what they have.
    above: Vec<(RoomKey, Option<Arc<Heritage>>)>,
    /// Those that have not told yet.
    untold: Vec<RoomKey>,
    /// What waits for them.
    deferred: Vec<(CoreId, ToHome)>,
}

/// Rooms on whatever core that are told what one here has.
#[derive(Debug, Default)]
pub(super) struct Followers {
    rooms: Vec<(RoomKey, u64)>,
    /// What they were told; none: that there is no such room.
    told: Option<HeritageStamp>,
}

/// Who inherits on a core, and from whom.
#[derive(Debug)]
pub(super) struct Inheritance {
    heirs: Map<RoomKey, Heir>,
    followers: Map<RoomKey, Followers>,
    last: u64,
}

impl Inheritance {
    pub(super) fn new(seed: crate::hash::Seed) -> Self {
        Self { heirs: Map::with_hasher(seed), followers: Map::with_hasher(seed), last: 0 }
    }

    /// Whether something waits until those above a room have told what they have.
    pub(super) fn is_waiting(&self, room: &RoomKey) -> bool {
        self.heirs.get(room).is_some_and(|heir| !heir.untold.is_empty())
    }

    /// Whether rooms below follow one.
    pub(super) fn has_followers(&self, room: &RoomKey) -> bool {
        self.followers.contains_key(room)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.heirs.is_empty() && self.followers.is_empty()
    }

    /// What the rooms have that are above one which inherits, the nearest first.
    pub(super) fn above(&self, room: &RoomKey) -> Vec<Arc<Heritage>> {
        let above = self.heirs.get(room).into_iter().flat_map(|heir| &heir.above);
        above.filter_map(|(_, heritage)| heritage.clone()).collect()
    }
}

impl Shard {
    /// Keeps back what is for a room that does not know yet what it inherits.
    pub(super) fn defer(&mut self, from: CoreId, message: ToHome) -> Option<ToHome> {
        let Some(room) = message.commanded_room() else { return Some(message) };
        let heir = match self.inheritance.heirs.get_mut(room) {
            Some(heir) => Some(heir),
            None => {
                if !self.begins_to_inherit(&message) {
                    return Some(message);
                }
                let room = room.clone();
                self.follow(&room);
                self.inheritance.heirs.get_mut(&room)
            }
        };
        match heir.filter(|heir| !heir.untold.is_empty()) {
            Some(heir) => {
                heir.deferred.push((from, message));
                None
            }
            None => Some(message),
        }
    }

    /// Whether a room that inherits nothing yet may after this command.
    fn begins_to_inherit(&self, message: &ToHome) -> bool {
        let Some(room) = message.commanded_room() else { return false };
        if !room.name.as_str().contains('/') || room.name.is_reserved() {
            return false;
        }
        let what = match message {
            ToHome::Ask(ask) => Some(&ask.what),
            ToHome::Called { .. } => None,
            _ => return false,
        };
        let usual = self.homes.namespaces.of(room).config.parent_inherit;
        let inherits = self.homes.rooms.get(room).map(|home| home.room.config.parent_inherit);
        match (inherits, what) {
            // Others have made it one that inherits.
            (Some(true), _) => true,
            (Some(false), Some(What::Update(patch))) => patch.parent_inherit == Some(true),
            (None, Some(What::Create(patch, _))) => patch.parent_inherit.unwrap_or(usual),
            (None, Some(What::Join(_) | What::Publish(_)) | None) => usual,
            _ => false,
        }
    }

    /// A room was made one that inherits by others.
    pub(super) fn begin_to_inherit(&mut self, room: &RoomKey) {
        let inherits = self.homes.get_mut(room).is_some_and(|home| home.config.parent_inherit);
        let may = room.name.as_str().contains('/') && !room.name.is_reserved();
        if inherits && may && !self.inheritance.heirs.contains_key(room) {
            self.follow(room);
        }
    }

    /// Begins to follow the rooms above.
    fn follow(&mut self, room: &RoomKey) {
        let parents = room.name.parents().take(HEIGHT_MAX);
        let above: Vec<_> = parents
            .filter_map(|parent| RoomName::parse(parent).ok())
            .map(|parent| RoomKey::new(room.tenant, parent))
            .collect();
        self.inheritance.last += 1;
        let number = self.inheritance.last;
        for parent in &above {
            let message = ToHome::Follow { parent: parent.clone(), child: room.clone(), number };
            self.outbound.send(self.home_core(parent), message);
        }
        let untold = above.clone();
        let above = above.into_iter().map(|parent| (parent, None)).collect();
        let heir = Heir { number, above, untold, deferred: Vec::new() };
        self.inheritance.heirs.insert(room.clone(), heir);
    }

    /// A room is gone, was never made, or inherits no more.
    pub(super) fn unfollow(&mut self, room: &RoomKey) {
        let settled = |heir: &Heir| heir.untold.is_empty();
        if !self.inheritance.heirs.get(room).is_some_and(settled) {
            return;
        }
        let Some(heir) = self.inheritance.heirs.remove(room) else { return };
        for (parent, _) in heir.above {
            let home = self.home_core(&parent);
            self.outbound.send(home, ToHome::Unfollow { parent, child: room.clone() });
        }
    }

    /// At the home of a room above: one below wants to be told what it has.
    pub(super) fn on_follow(&mut self, parent: &RoomKey, child: RoomKey, number: u64) {
        let home = self.homes.get_mut(parent);
        let stamp = home.as_ref().map(|home| home.heritage_stamp());
        let heritage = home.map(|home| Arc::new(home.bequeath()));
        let followers = self.inheritance.followers.entry(parent.clone()).or_default();
        if followers.rooms.is_empty() {
            followers.told = stamp;
        }
        followers.rooms.retain(|(room, _)| *room != child);
        followers.rooms.push((child.clone(), number));
        self.tell_heritage(parent, child, number, heritage);
    }

    /// At the home of a room above: one below wants to know no more.
    pub(super) fn on_unfollow(&mut self, parent: &RoomKey, child: &RoomKey) {
        if let Some(followers) = self.inheritance.followers.get_mut(parent) {
            followers.rooms.retain(|(room, _)| room != child);
            if followers.rooms.is_empty() {
                self.inheritance.followers.remove(parent);
                self.tend(parent);
            }
        }
    }

    /// After anything that may have changed a room, or ended it: tells those below what it has now.
    pub(super) fn bequeath(&mut self, parent: &RoomKey) {
        if self.inheritance.followers.is_empty() {
            return;
        }
        let home = self.homes.get_mut(parent);
        let Some(followers) = self.inheritance.followers.get_mut(parent) else { return };
        let stamp = home.as_ref().map(|home| home.heritage_stamp());
        if followers.told == stamp {
            return;
        }
        followers.told = stamp;
        let heritage = home.map(|home| Arc::new(home.bequeath()));
        for (child, number) in followers.rooms.clone() {
            self.tell_heritage(parent, child, number, heritage.clone());
        }
    }

    fn tell_heritage(
        &mut self,
        parent: &RoomKey,
        child: RoomKey,
        number: u64,
        heritage: Option<Arc<Heritage>>,
    ) {
        let home = self.home_core(&child);
        let parent = parent.clone();
        self.outbound.send(home, ToHome::Heritage { child, parent, number, heritage });
    }

    /// A room above has told what it has.
    pub(super) fn on_heritage(
        &mut self,
        child: &RoomKey,
        parent: &RoomKey,
        number: u64,
        heritage: Option<Arc<Heritage>>,
    ) {
        let heir = self.inheritance.heirs.get_mut(child).filter(|heir| heir.number == number);
        let Some(heir) = heir else { return };
        let Some(place) = heir.above.iter_mut().find(|(above, _)| above == parent) else { return };
        place.1 = heritage;
        heir.untold.retain(|above| above != parent);
        if !heir.untold.is_empty() {
            return;
        }
        let deferred = std::mem::take(&mut heir.deferred);
        self.take_heritage(child);
        self.hear_with_heritage(child);
        for (from, message) in deferred {
            self.go_on_with(from, message);
        }
        self.tend(child);
    }

    /// Makes a room what it is by what it inherits now.
    fn take_heritage(&mut self, room: &RoomKey) {
        let now = self.outbound.now.moment;
        let (above, bounds) = (self.inheritance.above(room), self.homes.bounds);
        let Some(home) = self.homes.get_mut(room) else { return };
        if home.inherit(above, &bounds, now) {
            self.announce_config(room);
        }
        self.send_out_banned(room, None);
    }
}
