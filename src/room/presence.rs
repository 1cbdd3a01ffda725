//! Who is in a room: users, each with any number of connections on any cores.
//!
//! Changes are not announced as they happen but collected: what is drained is the difference between
//! what the others were told and what is so, one change for each user at most. So a storm costs the
//! others only what remains of it.
//!
//! Invariants:
//! - A user is present from the first connection in until a grace time after the last one out.
//! - What was drained, taken together, is always who was present and what they said: a user's
//!   changes are a join, any updates, a leave, and so on; nothing is told twice, and nothing of a
//!   user who came and went in between.
//! - A user is present as long as they are so here or on any other node; other nodes say who is there
//!   of their own, and are told the same of here.
//! - Users are listed in the order of their ids, so a page after a user is the same page whoever
//!   comes or goes meanwhile.

mod elsewhere;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use crate::clock::Moment;
use crate::hash::{Map, Seed};

pub use elsewhere::{Everywhere, Unsaid};

/// The users of one room; `I` is what they say about themselves.
#[derive(Debug)]
pub struct Presence<I> {
    users: BTreeMap<Arc<str>, Present<I>>,
    connections: u64,
    /// Users whose last connection is gone, by the moment their grace ends.
    leaving: BTreeSet<(Moment, Arc<str>)>,
    /// Users who may have changed, in the order of their first change that was not drained, each
    /// once.
    changed: VecDeque<Arc<str>>,
    /// What the others know of those users.
    told: Map<Arc<str>, Told>,
    /// Users of whom other nodes are to be told something, and whether that they have said something
    /// about themselves; none: there are no other nodes.
    unsaid: Option<BTreeMap<Arc<str>, bool>>,
}

/// A user who is present.
#[derive(Debug)]
pub struct Present<I> {
    /// What they last said about themselves.
    pub info: Option<I>,
    /// Their connections here; 0 during their grace, and if they are only on other nodes.
    pub connections: u32,
    /// During their grace, when it ends.
    leaves_at: Option<Moment>,
    /// On which other nodes they are, with how many connections.
    elsewhere: Vec<(u64, u32)>,
}

/// What the others know of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Absent,
    Present {
        /// But not the last that the user said.
        stale: bool,
    },
}

/// What the others are to be told of a user.
#[derive(Debug, PartialEq, Eq)]
pub enum Change<'a, I> {
    /// The first connection came.
    Join(Option<&'a I>),
    /// The last connection went, and its grace is over.
    Leave,
    /// What they say about themselves changed.
    Update(Option<&'a I>),
}

/// Some of the users.
#[derive(Debug)]
pub struct Page<'a, I> {
    users: btree_map::Range<'a, Arc<str>, Present<I>>,
    left: usize,
    last: Option<&'a Arc<str>>,
}

impl<I> Presence<I> {
    /// An empty room whose maps hash with `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            users: BTreeMap::new(),
            connections: 0,
            leaving: BTreeSet::new(),
            changed: VecDeque::new(),
            told: Map::with_hasher(seed),
            unsaid: None,
        }
    }

    /// A connection of `user` came. To be called once for each. True if the user was not present.
    pub fn enter(&mut self, user: &Arc<str>) -> bool {
        self.connections += 1;
        // If they are back before it was told that they went, what they had said is forgotten all the same.
        let is_back = self.is_unsaid(user) && !self.users.contains_key(user);
        self.mark_unsaid(user, is_back);
        if let Some(present) = self.users.get_mut(user) {
            if let Some(leaves_at) = present.leaves_at.take() {
                self.leaving.remove(&(leaves_at, Arc::clone(user)));
            }
            present.connections += 1;
            return false;
        }
        self.note(user, Told::Absent);
        let present = Present { connections: 1, ..Present::absent() };
        self.users.insert(Arc::clone(user), present);
        true
    }

    /// A connection of `user` that had come went; the user stays for `grace_ms` if it was the last.
    /// False, and nothing is changed, if the user has no connection here.
    pub fn exit(&mut self, user: &str, grace_ms: u64, now: Moment) -> bool {
        let Some(present) = self.users.get_mut(user).filter(|user| user.connections > 0) else {
            return false;
        };
        present.connections -= 1;
        self.connections -= 1;
        let is_last = present.connections == 0;
        if is_last && grace_ms > 0 {
            let leaves_at = now.plus_ms(grace_ms);
            present.leaves_at = Some(leaves_at);
            if let Some((user, _)) = self.users.get_key_value(user) {
                self.leaving.insert((leaves_at, Arc::clone(user)));
            }
        } else if is_last {
            self.leave(user);
        } else if let Some((user, _)) = self.users.get_key_value(user) {
            let user = Arc::clone(user);
            self.mark_unsaid(&user, false);
        }
        true
    }

    /// `user` says something about themselves. False if the user is not present.
    pub fn set_info(&mut self, user: &str, info: I) -> bool {
        let Some(present) = self.users.get_mut(user) else { return false };
        present.info = Some(info);
        self.note_info(user);
        if let Some((user, _)) = self.users.get_key_value(user) {
            let user = Arc::clone(user);
            self.mark_unsaid(&user, true);
        }
        true
    }

    /// Ends every grace that is over.
    pub fn expire(&mut self, now: Moment) {
        while self.next_timeout().is_some_and(|leaves_at| leaves_at <= now) {
            if let Some((_, user)) = self.leaving.pop_first() {
                self.leave(&user);
            }
        }
    }

    /// When [`expire`](Self::expire) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.leaving.first().map(|(leaves_at, _)| *leaves_at)
    }

    /// Users present.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Whether the grace of somebody is not over.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Connections of all users here.
    #[must_use]
    pub fn connection_count(&self) -> u64 {
        self.connections
    }

    /// A user who is present.
    #[must_use]
    pub fn get(&self, user: &str) -> Option<&Present<I>> {
        self.users.get(user)
    }

    /// At most `limit` users after the one called `after` (who need not be there any more), or from
    /// the first. O(log n) and what it yields.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Page<'_, I> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.users.range::<str, _>((from, Bound::Unbounded));
        Page { users, left: limit, last: None }
    }

    /// Whether [`drain`](Self::drain) may have something to tell.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Tells what changed since the last time, of at most `limit` users; the order is that of their
    /// first change.
    pub fn drain(&mut self, limit: usize, mut tell: impl FnMut(&Arc<str>, Change<'_, I>)) {
        for user in self.changed.drain(..limit.min(self.changed.len())) {
            let told = self.told.remove(&user).unwrap_or(Told::Absent);
            match (told, self.users.get(&user)) {
                (Told::Absent, Some(present)) => tell(&user, Change::Join(present.info.as_ref())),
                (Told::Present { .. }, None) => tell(&user, Change::Leave),
                (Told::Present { stale: true }, Some(present)) => {
                    tell(&user, Change::Update(present.info.as_ref()));
                }
                (Told::Absent, None) | (Told::Present { stale: false }, Some(_)) => {}
            }
        }
        if self.changed.is_empty() {
            self.changed = VecDeque::new();
            self.told.shrink_to_fit();
        }
    }

    /// Takes a user who is nowhere in `leaving` out of the room, as far as here is concerned.
    fn leave(&mut self, user: &str) {
        let Some((user, present)) = self.users.get_key_value(user) else { return };
        let user = Arc::clone(user);
        let is_elsewhere = !present.elsewhere.is_empty();
        self.mark_unsaid(&user, false);
        if !is_elsewhere {
            self.remove(&user);
        } else if let Some(present) = self.users.get_mut(&user) {
            (present.connections, present.leaves_at) = (0, None);
        }
    }

    /// A user is nowhere any more.
    fn remove(&mut self, user: &str) {
        let Some((user, present)) = self.users.remove_entry(user) else { return };
        // Whoever comes back says nothing about themselves at first, which then is news.
        self.note(&user, Told::Present { stale: present.info.is_some() });
    }

    /// A user who is present has said something.
    fn note_info(&mut self, user: &str) {
        if let Some(told) = self.told.get_mut(user) {
            told.grow_stale();
        } else if let Some((user, _)) = self.users.get_key_value(user) {
            let user = Arc::clone(user);
            self.note(&user, Told::Present { stale: true });
        }
    }

    fn mark_unsaid(&mut self, user: &Arc<str>, has_said: bool) {
        if let Some(unsaid) = &mut self.unsaid {
            *unsaid.entry(Arc::clone(user)).or_default() |= has_said;
        }
    }

    /// Whether there is something to tell other nodes of a user.
    #[must_use]
    pub fn is_unsaid(&self, user: &str) -> bool {
        self.unsaid.as_ref().is_some_and(|unsaid| unsaid.contains_key(user))
    }

    /// Remembers what the others know of a user, unless that is remembered already. What a user has
    /// said since is then marked stale by `set_info`, so there is nothing to add.
    fn note(&mut self, user: &Arc<str>, told: Told) {
        if !self.told.contains_key(user) {
            self.told.insert(Arc::clone(user), told);
            self.changed.push_back(Arc::clone(user));
        }
    }
}

impl<I> Present<I> {
    fn absent() -> Self {
        Self { info: None, connections: 0, leaves_at: None, elsewhere: Vec::new() }
    }

    /// Whether they are present here, or were just now.
    fn is_here(&self) -> bool {
        self.connections > 0 || self.leaves_at.is_some()
    }

    /// Whether they are on other nodes, too.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// Their connections on all nodes.
    #[must_use]
    pub fn connections_of_all_nodes(&self) -> u64 {
        let elsewhere: u64 = self.elsewhere.iter().map(|(_, count)| u64::from(*count)).sum();
        u64::from(self.connections) + elsewhere
    }
}

impl Told {
    fn grow_stale(&mut self) {
        if let Self::Present { stale } = self {
            *stale = true;
        }
    }
}

impl<'a, I> Page<'a, I> {
    /// After all users of the page were taken: whom the next page comes after, if there is one.
    #[must_use]
    pub fn next_after(mut self) -> Option<&'a Arc<str>> {
        self.users.next().and(self.last)
    }
}

impl<'a, I> Iterator for Page<'a, I> {
    type Item = (&'a Arc<str>, &'a Present<I>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (user, present) = self.users.next()?;
        self.last = Some(user);
        Some((user, present))
    }
}
