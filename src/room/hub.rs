//! The rooms that connections of this core receive, wherever their homes are: who is in them here,
//! and what came for them in this tick.
//!
//! Invariants: a room is here as long as somebody here is in it or wants to be; members lie close
//! together, because each tick walks over all of them; a member is found from its connection in
//! O(1), since the two know each other's places.

use std::sync::Arc;

use slab::Slab;

use crate::hash::{Map, Seed};
use crate::id::CoreId;
use crate::protocol::{OwnedData, PresenceAction, Priority, SlowConsumer};

use super::home::Guard;
use super::name::RoomKey;
use super::publication::{Form, FormSet, Publication};

/// A place in the hub's rooms.
pub type RoomIndex = u32;

/// What a member asked for beyond plain receiving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Notices of who comes and goes.
    pub presence: bool,
    /// Only these events.
    pub events: Option<Box<[Box<str>]>>,
    /// Nothing less urgent.
    pub min_priority: Priority,
}

impl Default for Interest {
    /// Everything is wanted, and no notices.
    fn default() -> Self {
        Self { presence: false, events: None, min_priority: Priority::Low }
    }
}

impl Interest {
    /// Whether everything is wanted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.events.is_none() && self.min_priority == Priority::Low
    }

    /// Whether this publication is wanted.
    #[must_use]
    pub fn wants(&self, event: Option<&str>, priority: Priority) -> bool {
        let named = self.events.as_ref().is_none_or(|events| {
            event.is_some_and(|event| events.iter().any(|wanted| **wanted == *event))
        });
        named && priority >= self.min_priority
    }
}

/// A connection in a room.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its place among the connections of this core.
    pub connection: u32,
    /// How it is written to.
    pub form: Form,
    /// Whether it wants notices of presence.
    pub presence: bool,
    /// What it wants, unless that is everything.
    pub interest: Option<Box<Interest>>,
}

/// Somebody came, went, or said something about themselves.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Where.
    pub room: RoomKey,
    /// What happened.
    pub action: PresenceAction,
    /// Who.
    pub user: Arc<str>,
    /// What they say about themselves.
    pub info: Option<OwnedData>,
}

/// A message on its way to the members here.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub publication: Arc<Publication>,
    /// What the counts are to be sent back under.
    pub receipt: Option<u64>,
    /// Who may hear it through a pattern; none: everybody.
    pub guard: Option<Arc<Guard>>,
}

impl Delivery {
    /// Whether everyone gets it, and nobody counts. Who excludes oneself is told apart elsewhere.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.receipt.is_none()
            && self.publication.audience.is_none()
            && self.publication.expires.is_none()
    }
}

/// What comes for a room, in its order.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message.
    Delivery(Delivery),
    /// A notice, for those who asked.
    Notice(Arc<Notice>),
    /// Messages that this core will not get.
    Lost {
        /// Of which life of the room.
        epoch: Arc<str>,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Who may hear of it through a pattern; none: everybody.
        guard: Option<Arc<Guard>>,
    },
}

impl RoomTag {
    /// Whether both are of one life of one room.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.room == other.room && self.epoch == other.epoch)
    }
}

impl Item {
    /// Up to where it takes the room's sequence; 0: nowhere.
    #[must_use]
    pub fn last_offset(&self) -> u64 {
        match self {
            Self::Delivery(delivery) => delivery.publication.offset,
            Self::Notice(_) => 0,
            Self::Lost { to, .. } => *to,
        }
    }
}

/// What the members of a room need to know about it.
#[derive(Debug)]
pub struct RoomTag {
    /// Its name.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// What happens to slow readers.
    pub slow_consumer: SlowConsumer,
    /// What is not acknowledged is sent again.
    pub guaranteed: bool,
}

/// A room that connections of this core receive.
#[derive(Debug)]
pub struct HubRoom {
    /// Its name.
    pub key: RoomKey,
    /// Its authority.
    pub home: CoreId,
    /// What its home said about it; none until the first join is answered.
    pub tag: Option<std::rc::Rc<RoomTag>>,
    /// The connections in it.
    pub members: Vec<Member>,
    /// What came in this tick.
    pub items: Vec<Item>,
    /// The offset of the last message that its members were queued.
    pub offset: u64,
    /// Joins that its home has not answered yet.
    pub joining: u32,
    /// Forms that its home was told of, where nobody joins.
    announced: FormSet,
}

impl HubRoom {
    /// Whether nobody here needs it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.joining == 0 && self.items.is_empty()
    }

    /// Whether the home of a room that nobody joins is still to be told of a form.
    pub fn announce(&mut self, form: Form) -> bool {
        let is_new = !self.announced.contains(form);
        self.announced.insert(form);
        is_new
    }
}

/// The rooms of one core's connections.
#[derive(Debug)]
pub struct Hub {
    rooms: Slab<HubRoom>,
    by_key: Map<RoomKey, RoomIndex>,
    /// Rooms for which something came in this tick.
    dirty: Vec<RoomIndex>,
}

impl Hub {
    /// No rooms.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { rooms: Slab::new(), by_key: Map::with_hasher(seed), dirty: Vec::new() }
    }

    /// How many rooms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Where a room is.
    #[must_use]
    pub fn find(&self, key: &RoomKey) -> Option<RoomIndex> {
        self.by_key.get(key).copied()
    }

    /// Where a room is; it is there from now on.
    pub fn enter(&mut self, key: &RoomKey, home: CoreId) -> RoomIndex {
        if let Some(index) = self.find(key) {
            return index;
        }
        let index = self.rooms.insert(HubRoom {
            key: key.clone(),
            home,
            tag: None,
            members: Vec::new(),
            items: Vec::new(),
            offset: 0,
            joining: 0,
            announced: FormSet::default(),
        });
        let index = u32::try_from(index).expect("four billion rooms do not fit in memory");
        self.by_key.insert(key.clone(), index);
        index
    }

    /// Forgets a room that nobody here needs.
    pub fn tidy(&mut self, index: RoomIndex) {
        if self.get(index).is_some_and(HubRoom::is_idle) {
            let room = self.rooms.remove(index as usize);
            self.by_key.remove(&room.key);
        }
    }

    /// A room.
    #[must_use]
    pub fn get(&self, index: RoomIndex) -> Option<&HubRoom> {
        self.rooms.get(index as usize)
    }

    /// A room.
    pub fn get_mut(&mut self, index: RoomIndex) -> Option<&mut HubRoom> {
        self.rooms.get_mut(index as usize)
    }

    /// All rooms.
    pub fn iter(&self) -> impl Iterator<Item = (RoomIndex, &HubRoom)> {
        #[allow(clippy::cast_possible_truncation, reason = "indices were u32 when they were given")]
        self.rooms.iter().map(|(index, room)| (index as RoomIndex, room))
    }

    /// Something came for a room. Whoever is not here gets nothing.
    pub fn collect(&mut self, index: RoomIndex, item: Item) {
        let Some(room) = self.rooms.get_mut(index as usize) else { return };
        if room.items.is_empty() {
            self.dirty.push(index);
        }
        room.items.push(item);
    }

    /// How many members the rooms have for which something came.
    #[must_use]
    pub fn waiting_members(&self) -> usize {
        let rooms = self.dirty.iter().filter_map(|index| self.get(*index));
        rooms.map(|room| room.members.len()).sum()
    }

    /// The rooms for which something came, once.
    pub fn take_dirty(&mut self) -> Vec<RoomIndex> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives the list back, so that it is not allocated again.
    pub fn return_dirty(&mut self, mut list: Vec<RoomIndex>) {
        if self.dirty.is_empty() {
            list.clear();
            self.dirty = list;
        }
    }

    /// Adds a member; returns its place.
    pub fn add(&mut self, index: RoomIndex, member: Member) -> Option<u32> {
        let room = self.get_mut(index)?;
        let place = u32::try_from(room.members.len()).ok()?;
        room.members.push(member);
        Some(place)
    }

    /// Removes the member at `place`; returns the connection that has moved there, if one has.
    pub fn remove(&mut self, index: RoomIndex, place: u32) -> Option<u32> {
        let room = self.get_mut(index)?;
        if place as usize >= room.members.len() {
            return None;
        }
        room.members.swap_remove(place as usize);
        let moved = room.members.get(place as usize).map(|member| member.connection);
        // A room that was large once need not stay so.
        if room.members.capacity() > 64 && room.members.len() * 4 < room.members.capacity() {
            room.members.shrink_to(room.members.len() * 2);
        }
        moved
    }
}
