//! The lists of a room as entries of its charter.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::id::ip_key;
use crate::room::charter::{Entry, Target, address_ban, from_unix, invitation, to_unix};

use super::Members;

impl Members {
    /// What these lists become by `change`, which is about `target`; the lists stay as they are.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn propose<E>(
        &mut self,
        target: &Target,
        now: Now,
        change: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<Vec<Entry>, E> {
        let changes = self.changes;
        // If the owner loses the room, the next in line follows.
        let owner = self.owner().cloned();
        let heir = owner.as_ref().and_then(|owner| self.heir(owner));
        let mut concerned: Vec<Arc<str>> = target.user().map(Arc::from).into_iter().collect();
        concerned.extend(owner.into_iter().chain(heir));
        concerned.sort_unstable();
        concerned.dedup();
        let mut before: Vec<_> = concerned.iter().flat_map(|it| self.of_user(it, now)).collect();
        let address = match target {
            Target::Address(ip) => Some(ip_key(*ip)),
            Target::User(_) => None,
        };
        before.extend(address.map(|ip| self.of_address(ip, now)));
        let outcome = change(self);
        let mut after: Vec<_> = concerned.iter().flat_map(|it| self.of_user(it, now)).collect();
        after.extend(address.map(|ip| self.of_address(ip, now)));
        for entry in &before {
            self.set(entry, now);
        }
        self.changes = changes;
        outcome?;
        after.retain(|entry| !before.contains(entry));
        Ok(after)
    }

    /// Takes over an entry; others than those of these lists are passed over.
    pub fn set(&mut self, entry: &Entry, now: Now) {
        fn put<K: Ord + Clone, V>(
            list: &mut std::collections::BTreeMap<K, V>,
            key: &K,
            value: Option<V>,
        ) {
            match value {
                Some(value) => list.insert(key.clone(), value),
                None => list.remove(key),
            };
        }
        self.changes += 1;
        match entry {
            Entry::Member(user, member) => put(&mut self.members, user, *member),
            Entry::Invited(user, it) => {
                put(&mut self.invitations, user, it.map(|it| invitation(it, now)));
            }
            Entry::BannedUser(user, it) => {
                put(&mut self.banned_users, user, it.map(|it| from_unix(it, now)));
            }
            Entry::BannedAddress(ip, it) => {
                put(&mut self.banned_addresses, &ip_key(*ip), it.map(|it| address_ban(it, now)));
            }
            Entry::Muted(user, it) => put(&mut self.muted, user, it.map(|it| from_unix(it, now))),
            Entry::Created(_) | Entry::Parents(_) | Entry::Config(_) | Entry::Password(_) => {}
        }
    }

    /// Empties the lists.
    pub fn clear(&mut self) {
        *self = Self { changes: self.changes + 1, ..Self::default() };
    }

    /// All that is in these lists.
    #[must_use]
    pub fn entries(&self, now: Now) -> Vec<Entry> {
        let unix = |until| Some(to_unix(until, now));
        let members =
            self.members.iter().map(|(user, it)| Entry::Member(Arc::clone(user), Some(*it)));
        let invited = self.invitations.iter().map(|(user, it)| {
            Entry::Invited(Arc::clone(user), Some((it.role, to_unix(it.until, now))))
        });
        let users = self.banned_users.iter();
        let users = users.map(|(user, it)| Entry::BannedUser(Arc::clone(user), unix(*it)));
        let addresses = self.banned_addresses.iter();
        let addresses = addresses.map(|(ip, _)| self.of_address(*ip, now));
        let muted = self.muted.iter().map(|(user, it)| Entry::Muted(Arc::clone(user), unix(*it)));
        members.chain(invited).chain(users).chain(addresses).chain(muted).collect()
    }

    /// What these lists say of a user: the role comes first.
    #[must_use]
    pub fn of_user(&self, user: &Arc<str>, now: Now) -> [Entry; 4] {
        let unix = |until: &_| to_unix(*until, now);
        let invited = self.invitations.get(user).map(|it| (it.role, to_unix(it.until, now)));
        [
            Entry::Member(Arc::clone(user), self.members.get(user).copied()),
            Entry::Invited(Arc::clone(user), invited),
            Entry::BannedUser(Arc::clone(user), self.banned_users.get(user).map(unix)),
            Entry::Muted(Arc::clone(user), self.muted.get(user).map(unix)),
        ]
    }

    fn of_address(&self, ip: IpAddr, now: Now) -> Entry {
        let ban = self.banned_addresses.get(&ip);
        Entry::BannedAddress(ip, ban.map(|it| (to_unix(it.until, now), it.below)))
    }
}
