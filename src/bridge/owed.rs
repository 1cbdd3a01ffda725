//! Rooms that missed something on the way to their cores, until those are told.
//!
//! Invariant: a room is here once, and its turn comes: what is owed anew goes behind the others.

use std::collections::{HashSet, VecDeque};

use crate::id::CoreId;
use crate::room::name::RoomKey;

/// By core.
#[derive(Debug)]
pub(super) struct Owed(Vec<Rooms>);

#[derive(Debug, Default)]
struct Rooms {
    /// In which order they are told.
    turns: VecDeque<RoomKey>,
    all: HashSet<RoomKey>,
}

impl Owed {
    pub(super) fn new(cores: u16) -> Self {
        Self((0..cores).map(|_| Rooms::default()).collect())
    }

    /// A room of a core missed something.
    pub(super) fn add(&mut self, core: CoreId, room: RoomKey) {
        // There is no other core.
        let Some(rooms) = self.0.get_mut(usize::from(core.0)) else { return };
        if rooms.all.insert(room.clone()) {
            rooms.turns.push_back(room);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|rooms| rooms.turns.is_empty() && rooms.all.is_empty())
    }

    /// The next room of a core.
    pub(super) fn next(&mut self, core: CoreId) -> Option<RoomKey> {
        let rooms = self.0.get_mut(usize::from(core.0))?;
        let room = rooms.turns.pop_front()?;
        rooms.all.remove(&room);
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TenantId;
    use crate::room::name::RoomName;

    fn room(n: u32) -> RoomKey {
        RoomKey::new(TenantId::DEFAULT, RoomName::parse(&n.to_string()).expect("a good name"))
    }

    #[test]
    fn each_room_is_told_once_and_in_its_turn() {
        let mut owed = Owed::new(2);
        for n in [1, 2, 1, 3, 2] {
            owed.add(CoreId(1), room(n));
        }
        owed.add(CoreId(0), room(9));
        owed.add(CoreId(2), room(7));
        assert_eq!(owed.next(CoreId(1)), Some(room(1)));
        owed.add(CoreId(1), room(1));
        let rest: Vec<_> = std::iter::from_fn(|| owed.next(CoreId(1))).collect();
        assert_eq!(rest, [room(2), room(3), room(1)]);
        assert_eq!(owed.next(CoreId(0)), Some(room(9)));
        assert_eq!((owed.next(CoreId(0)), owed.next(CoreId(2))), (None, None));
    }
}
