//! What has been decided about a room, where many homes decide: proposed here, and carried out when
//! the broker has put it in its order.

use crate::clock::Now;
use crate::protocol::RoomPatch;
use crate::room::charter::{Amendment, Charter, Entry, Manner, Target};
use crate::room::config::{Bounds, ConfigError, RoomConfig, Salt, Settings};
use crate::room::members::{Full, Members};

use super::HomeRoom;

/// What a configuration would become.
#[derive(Debug)]
pub struct Draft {
    /// What is to be set.
    pub entries: Vec<Entry>,
    /// What the room would be.
    pub config: RoomConfig,
}

impl HomeRoom {
    /// What `patch` would make of the room.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn propose_config(
        &self,
        patch: &RoomPatch,
        bounds: &Bounds,
        salt: Salt,
    ) -> Result<Draft, ConfigError> {
        let mut settings = self.settings.clone();
        settings.apply(patch, bounds, salt)?;
        let parents = self.parents_by(patch);
        let config = self.resolved(&settings, parents.as_ref().unwrap_or(&self.parents), bounds);
        let mut entries = entries_of(&settings);
        entries.extend(parents.map(Entry::Parents));
        Ok(Draft { entries, config })
    }

    /// What `change`, which is about `target`, would make of the lists.
    ///
    /// # Errors
    /// That a list is full.
    pub fn propose(
        &mut self,
        target: &Target,
        now: Now,
        change: impl FnOnce(&mut Members) -> Result<(), Full>,
    ) -> Result<Vec<Entry>, Full> {
        self.members.propose(target, now, change)
    }

    /// All that has been decided about the room.
    #[must_use]
    pub fn charter(&self, now: Now) -> Vec<Entry> {
        let mut all = vec![Entry::Created(self.created_at_ms)];
        all.extend((!self.parents.is_empty()).then(|| Entry::Parents(self.parents.clone())));
        all.extend(entries_of(&self.settings));
        all.extend(self.members.entries(now));
        all
    }

    /// Whether anything has been decided about the room.
    #[must_use]
    pub fn has_charter(&self) -> bool {
        self.settings != Settings::default() || !self.members.is_empty()
    }

    /// A change was made. True if the room is configured otherwise because of it.
    pub fn amend(&mut self, amendment: &Amendment, bounds: &Bounds, now: Now) -> bool {
        let entries = &amendment.entries;
        if amendment.manner != Manner::Amend {
            return self.replace(entries, bounds, now);
        }
        let is_other = self.take_in(entries, bounds, now);
        for entry in entries {
            if let Entry::Member(user, _) | Entry::BannedUser(user, _) = entry {
                self.settle(user, now.moment);
            }
        }
        is_other
    }

    /// All is as the broker knows it. True if the room is configured otherwise because of it.
    pub fn adopt(&mut self, charter: &Charter, bounds: &Bounds, now: Now) -> bool {
        self.replace(&charter.entries, bounds, now)
    }

    fn replace(&mut self, entries: &[Entry], bounds: &Bounds, now: Now) -> bool {
        self.forget_charter();
        let is_other = self.take_in(entries, bounds, now);
        if !is_other {
            // Else that has been done.
            self.settle_all(now.moment);
        }
        is_other
    }

    fn forget_charter(&mut self) {
        self.settings = Settings::default();
        self.parents = Box::default();
        self.members.clear();
    }

    fn take_in(&mut self, entries: &[Entry], bounds: &Bounds, now: Now) -> bool {
        for entry in entries {
            match entry {
                Entry::Created(at_ms) => self.created_at_ms = *at_ms,
                Entry::Parents(parents) => self.parents.clone_from(parents),
                Entry::Config(patch) => self.settings.set_patch((**patch).clone()),
                Entry::Password(password) => self.settings.set_password(password.clone()),
                entry => self.members.set(entry, now),
            }
        }
        self.changes += 1;
        self.guard = None;
        self.resolve(bounds, now.moment)
    }
}

/// What is to be set for a room that is made so.
#[must_use]
pub fn entries_of(settings: &Settings) -> Vec<Entry> {
    let (patch, password) = settings.parts();
    let password = password.map(|password| Entry::Password(password.cloned()));
    let patch = (*patch != RoomPatch::default()).then(|| Entry::Config(Box::new(patch.clone())));
    patch.into_iter().chain(password).collect()
}
