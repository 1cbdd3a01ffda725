//! What a motion says: a command, or what has happened here, decided by what is known now.

use std::sync::Arc;

use crate::protocol::{ErrorCode, Role, RoomPatch};
use crate::room::charter::{Decree, Entry, Manner};
use crate::room::config::Settings;
use crate::room::home::{entries_of, parents};
use crate::room::members::Member;
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::room::standing::Action;
use crate::shard::Shard;
use crate::shard::ask::What;
use crate::shard::message::Ask;

use super::Of;

/// What a motion is made of.
pub(super) struct Draft {
    pub(super) manner: Manner,
    pub(super) entries: Vec<Entry>,
    pub(super) decree: Decree,
    pub(super) is_persistent: bool,
}

impl Shard {
    /// What a motion says, by what is known now; none: there is nothing to decide.
    pub(super) fn draft(&mut self, room: &RoomKey, of: &Of) -> Result<Option<Draft>, Refusal> {
        let now = self.outbound.now;
        let persists =
            |shard: &mut Self| shard.homes.get_mut(room).is_some_and(|it| it.config.persistent);
        let (manner, entries, decree, is_persistent) = match of {
            Of::Command(ask) => match &ask.what {
                What::Create(patch, _) => {
                    let (entries, is_persistent) = self.draft_room(ask, patch)?;
                    (Manner::Amend, entries, Decree::Entered, is_persistent)
                }
                What::Update(patch) => {
                    let (bounds, salt) = (self.homes.bounds, self.salt());
                    let home = self.governed(room, &ask.asker, Action::Configure)?;
                    let draft = home.propose_config(patch, &bounds, salt);
                    let draft = draft.map_err(|error| self.bad_config(patch, error))?;
                    let is_persistent = draft.config.persistent;
                    (Manner::Amend, draft.entries, Decree::Configured, is_persistent)
                }
                What::Delete => {
                    self.governed(room, &ask.asker, Action::Delete)?;
                    (Manner::End, Vec::new(), Decree::Deleted, false)
                }
                What::Moderate(it) => {
                    let entries = self.draft_moderation(room, &ask.asker, it)?;
                    (Manner::Amend, entries, Decree::Moderated(it.moderation(now)), persists(self))
                }
                _ => return Ok(None),
            },
            Of::Founding(ask) => {
                if self.exists(room) {
                    return Ok(None);
                }
                let usual = self.homes.namespaces.of(room).config.persistent;
                (Manner::Amend, self.founded(ask), Decree::Entered, usual)
            }
            Of::Entrance { user, role } => {
                let Some(home) = self.homes.get_mut(room) else { return Ok(None) };
                let standing = home.standing(Some(user), None, now.moment);
                if standing.banned.is_none() && home.members.role(user) < *role {
                    // It was known differently before others were faster.
                    let _ = home.members.set_role(user, *role, now.unix_ms);
                }
                let entries = home.members.of_user(user, now).to_vec();
                (Manner::Amend, entries, Decree::Entered, persists(self))
            }
            Of::Loss => {
                let Some(home) = self.homes.get_mut(room) else { return Ok(None) };
                let entries = home.charter(now);
                (Manner::Replace, entries, Decree::Entered, persists(self))
            }
        };
        Ok(Some(Draft { manner, entries, decree, is_persistent }))
    }

    /// What `room.create` makes.
    fn draft_room(&mut self, ask: &Ask, patch: &RoomPatch) -> Result<(Vec<Entry>, bool), Refusal> {
        if self.exists(&ask.room) || self.homes.rooms.contains_key(&ask.room) {
            return Err(Refusal::new(ErrorCode::RoomExists, "a room of this name exists"));
        }
        let mut settings = Settings::default();
        let salt = self.salt();
        let applied = settings.apply(patch, &self.homes.bounds, salt);
        applied.map_err(|error| self.bad_config(patch, error))?;
        if patch.durability.is_none() {
            self.may_open(&ask.room)?;
        }
        let usual = self.homes.namespaces.of(&ask.room).config.persistent;
        let is_persistent = patch.persistent.unwrap_or(usual);
        let mut entries = self.founded(ask);
        entries.extend(entries_of(&settings));
        Ok((entries, is_persistent))
    }

    /// What is known of a room that somebody makes: they own it.
    fn founded(&self, ask: &Ask) -> Vec<Entry> {
        let joined_at_ms = self.outbound.now.unix_ms;
        let owner = Some(Member { role: Role::Owner, joined_at_ms });
        let user = ask.asker.identity.user.iter();
        let owner = user.map(|user| Entry::Member(Arc::clone(user), owner));
        let parents = parents(&self.inheritance.above(&ask.room));
        let parents = (!parents.is_empty()).then_some(Entry::Parents(parents));
        [Entry::Created(joined_at_ms)].into_iter().chain(parents).chain(owner).collect()
    }
}
