//! What a credential grants, made ready to be asked with every message.
//!
//! Invariants: what is granted everywhere is one look at a bit; of rooms that are named one by one
//! the right one is searched for, of patterns those that begin as the room does; how many there are is
//! bounded. A reserved room (`@…`) is reached by what is granted everywhere alone, never by a pattern.

mod permission;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::right::{Permit, Right, RightSet};
use crate::room::pattern::Pattern;

pub use permission::{NoPermission, Permission};
use scope::{Scope, Scopes};

/// What is granted on one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// For every event.
    whole: RightSet,
    /// For single events.
    events: Vec<Permission>,
}

/// What a credential grants.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    everywhere: Grant,
    /// What of it the credential itself says, and not a default.
    stated: RightSet,
    /// By the name of a room, in order.
    rooms: Box<[(Box<str>, Grant)]>,
    patterns: Scopes<Grant>,
}

impl Grant {
    pub(super) fn add(&mut self, permission: &Permission) {
        match permission {
            Permission::All => self.whole = RightSet::ALL,
            Permission::Right(right) => self.whole = self.whole.with(*right),
            Permission::Event(..) if self.events.contains(permission) => {}
            Permission::Event(..) => self.events.push(permission.clone()),
        }
    }

    fn names(&self, right: Right) -> bool {
        self.whole.contains(right) || self.events.iter().any(|grant| grant.right() == Some(right))
    }

    fn allows(&self, right: Right, event: Option<&str>) -> bool {
        self.whole.contains(right) || self.events.iter().any(|grant| grant.allows(right, event))
    }
}

impl Permit for Rights {
    fn allows(&self, right: Right, on: &str) -> bool {
        self.everywhere.whole.contains(right)
            || self.grants_on(right, on, |grant| grant.whole.contains(right))
    }

    fn allows_event(&self, right: Right, on: &str, event: Option<&str>) -> bool {
        self.everywhere.allows(right, event)
            || self.grants_on(right, on, |grant| grant.allows(right, event))
    }

    fn allows_from_outside(&self, right: Right, on: &str) -> bool {
        self.stated.contains(right) || self.grants_on(right, on, |grant| grant.names(right))
    }
}

impl Rights {
    /// Whether some grant on rooms of which `on` is one says yes.
    fn grants_on(&self, right: Right, on: &str, says_yes: impl Fn(&Grant) -> bool) -> bool {
        if on.starts_with('@') {
            return false;
        }
        let named = self.rooms.binary_search_by(|(name, _)| (**name).cmp(on)).ok();
        if named.and_then(|index| self.rooms.get(index)).is_some_and(|(_, grant)| says_yes(grant)) {
            return true;
        }
        // What is subscribed to is a pattern itself: all that it means must be granted.
        let within: fn(&Scope, &str) -> bool = match right {
            Right::Subscribe => Scope::covers,
            _ => Scope::contains,
        };
        let mut likely = self.patterns.likely(on);
        likely.any(|(scope, grant)| says_yes(grant) && within(scope, on))
    }
}

/// There are more grants than a credential may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGrants;

/// Collects what a credential grants.
#[derive(Clone, Debug, Default)]
pub struct RightsBuilder {
    everywhere: Grant,
    stated: RightSet,
    rooms: BTreeMap<Box<str>, Grant>,
    patterns: BTreeMap<Pattern, Grant>,
}

impl RightsBuilder {
    /// Rooms and patterns in one credential.
    pub const SCOPES_MAX: usize = 256;
    /// Single events in one grant.
    pub const EVENTS_MAX: usize = 64;

    /// Grants on everything, because the credential says so.
    pub fn state(&mut self, permission: &Permission) -> &mut Self {
        if let Some(right) = permission.right() {
            self.stated = self.stated.with(right);
        } else {
            self.stated = RightSet::ALL;
        }
        self.everywhere.add(permission);
        self
    }

    /// Grants on everything, because nothing else was said.
    pub fn assume(&mut self, permission: &Permission) -> &mut Self {
        self.everywhere.add(permission);
        self
    }

    /// Grants on the rooms of a pattern.
    pub fn on(&mut self, pattern: &Pattern, permissions: &[Permission]) -> &mut Self {
        let grant = self.grant_on(pattern.clone());
        permissions.iter().for_each(|permission| grant.add(permission));
        self
    }

    /// What is granted on the rooms of a pattern.
    pub(super) fn grant_on(&mut self, pattern: Pattern) -> &mut Grant {
        if pattern.as_str().contains('*') {
            self.patterns.entry(pattern).or_default()
        } else {
            self.rooms.entry(pattern.as_str().into()).or_default()
        }
    }

    /// All of it, made ready.
    ///
    /// # Errors
    /// If there is too much of it.
    pub fn finish(self) -> Result<Rights, TooManyGrants> {
        let grants = self.rooms.values().chain(self.patterns.values());
        let too_many_events = |grant: &Grant| grant.events.len() > Self::EVENTS_MAX;
        let scopes = self.rooms.len() + self.patterns.len();
        if scopes > Self::SCOPES_MAX
            || too_many_events(&self.everywhere)
            || grants.into_iter().any(too_many_events)
        {
            return Err(TooManyGrants);
        }
        Ok(Rights {
            everywhere: self.everywhere,
            stated: self.stated,
            patterns: Scopes::new(self.patterns),
            rooms: self.rooms.into_iter().collect(),
        })
    }
}
