//! What a room remembers of users: roles, invitations, bans and mutes.
//!
//! Invariants:
//! - Once there is an owner, there is exactly one until the last member has gone.
//! - Every list is bounded; what has run out is not seen any more, and makes room when it is needed.
//! - Members are listed in the order of their ids, so a page after a member is the same page whoever
//!   comes or goes meanwhile.

mod charter;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use crate::clock::Moment;
use crate::id::ip_key;
use crate::protocol::Role;

use super::standing::{Standing, Until};

/// Entries of each list of a room.
pub const ENTRIES: usize = 100_000;

/// The lists of one room. Empty, they hold no memory beside themselves.
#[derive(Clone, Debug, Default)]
pub struct Members {
    members: BTreeMap<Arc<str>, Member>,
    invitations: BTreeMap<Arc<str>, Invitation>,
    banned_users: BTreeMap<Arc<str>, Until>,
    banned_addresses: BTreeMap<IpAddr, AddressBan>,
    muted: BTreeMap<Arc<str>, Until>,
    /// Counts changes of roles and bans.
    changes: u64,
}

/// A user with a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never [`Role::Guest`].
    pub role: Role,
    /// When they became one, in Unix time.
    pub joined_at_ms: u64,
}

/// A user who may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// What they become by joining.
    pub role: Role,
    /// How long it holds.
    pub until: Until,
}

/// What is done to those who come from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBan {
    /// How long it holds.
    pub until: Until,
    /// It is for those whose role is below this one, that of whoever banned them; none: for everyone.
    pub below: Option<Role>,
}

/// A list has [`ENTRIES`] entries, and none of them has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Banned<'a> {
    /// A user, wherever they come from.
    User(&'a str),
    /// Those who come from there; of IPv6, from its /64, which one host has to itself.
    Address(IpAddr),
}

impl AddressBan {
    fn holds_for(self, role: Role, now: Moment) -> bool {
        !self.until.is_over(now) && self.below.is_none_or(|below| role < below)
    }
}

impl Members {
    /// What the room knows of a user (none: anonymous) and the address they come from, where the rooms
    /// above, whose roles and bans hold here too, know `above`.
    #[must_use]
    pub fn standing(
        &self,
        user: Option<&str>,
        address: Option<IpAddr>,
        above: Standing,
        now: Moment,
    ) -> Standing {
        let holds = |until: &Until| !until.is_over(now);
        let role = user.map_or(Role::Guest, |user| self.role(user)).max(above.role);
        let by_address = address
            .filter(|_| !self.banned_addresses.is_empty())
            .and_then(|address| self.banned_addresses.get(&ip_key(address)))
            .filter(|ban| ban.holds_for(role, now))
            .map(|ban| ban.until);
        let of_user = |list: &BTreeMap<Arc<str>, Until>| list.get(user?).copied().filter(holds);
        let invitation = user.and_then(|user| self.invitations.get(user));
        Standing {
            role,
            invited: invitation.is_some_and(|it| !it.until.is_over(now)),
            banned: of_user(&self.banned_users).max(by_address).max(above.banned),
            muted: of_user(&self.muted),
        }
    }

    /// A user's role.
    #[must_use]
    pub fn role(&self, user: &str) -> Role {
        self.members.get(user).map_or(Role::Guest, |member| member.role)
    }

    /// Who owns the room.
    #[must_use]
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.members.iter().find(|(_, member)| member.role == Role::Owner).map(|(user, _)| user)
    }

    /// How often roles and bans have changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether anyone is banned.
    #[must_use]
    pub fn has_bans(&self) -> bool {
        !self.banned_users.is_empty() || !self.banned_addresses.is_empty()
    }

    /// What holds in the rooms below, too: roles and bans.
    #[must_use]
    pub fn to_inherit(&self) -> Self {
        Self {
            members: self.members.clone(),
            banned_users: self.banned_users.clone(),
            banned_addresses: self.banned_addresses.clone(),
            ..Self::default()
        }
    }

    /// Users whose role or ban is another there; some of them twice.
    pub fn differing<'a>(&'a self, there: &'a Self) -> impl Iterator<Item = &'a Arc<str>> {
        let is_other = |user: &&Arc<str>| {
            self.role(user) != there.role(user)
                || self.banned_users.get(*user) != there.banned_users.get(*user)
        };
        let roles = self.members.keys().chain(there.members.keys());
        let bans = self.banned_users.keys().chain(there.banned_users.keys());
        roles.chain(bans).filter(is_other)
    }

    /// Users with a role.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The members after the one called `after` (who need not be there any more), or all.
    pub fn after(&self, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.members.range::<str, _>((from, Bound::Unbounded))
    }

    /// Gives a user a role; [`Role::Guest`] takes it away. A new owner makes the one before an
    /// admin; if an owner gets a lower role, the next in line follows, and is returned. The next in
    /// line is the member with the highest role, among those the one who joined first.
    ///
    /// # Errors
    /// If there are too many members already; nothing is changed then.
    pub fn set_role(
        &mut self,
        user: &str,
        role: Role,
        unix_ms: u64,
    ) -> Result<Option<Arc<str>>, Full> {
        self.changes += 1;
        let before = self.members.get(user).copied();
        if role == Role::Guest {
            self.members.remove(user);
        } else if before.is_none() && self.members.len() >= ENTRIES {
            return Err(Full);
        }
        if role == Role::Owner {
            self.members
                .values_mut()
                .filter(|member| member.role == Role::Owner)
                .for_each(|member| member.role = Role::Admin);
        }
        if role != Role::Guest {
            let joined_at_ms = before.map_or(unix_ms, |member| member.joined_at_ms);
            self.members.insert(user.into(), Member { role, joined_at_ms });
        }
        let abdicated = before.is_some_and(|member| member.role == Role::Owner);
        Ok(if abdicated && role != Role::Owner { self.succeed(user) } else { None })
    }

    /// Invites a user, in place of any invitation before.
    ///
    /// # Errors
    /// If there are too many invitations already.
    pub fn invite(
        &mut self,
        user: &str,
        role: Role,
        until: Until,
        now: Moment,
    ) -> Result<(), Full> {
        let is_over = |invitation: &Invitation| invitation.until.is_over(now);
        insert(&mut self.invitations, user.into(), Invitation { role, until }, is_over)
    }

    /// Takes an invitation to use it: once.
    pub fn accept(&mut self, user: &str, now: Moment) -> Option<Invitation> {
        self.invitations.remove(user).filter(|invitation| !invitation.until.is_over(now))
    }

    /// Users with an invitation, be it over or not.
    pub fn invited(&self) -> impl Iterator<Item = &Arc<str>> {
        self.invitations.keys()
    }

    /// Bans a user. Their role and invitation are gone; if the owner is banned, the next in line
    /// follows, and is returned.
    ///
    /// # Errors
    /// If there are too many bans already; nothing is changed then.
    pub fn ban(&mut self, user: &str, until: Until, now: Moment) -> Result<Option<Arc<str>>, Full> {
        self.changes += 1;
        insert(&mut self.banned_users, user.into(), until, |until| until.is_over(now))?;
        self.invitations.remove(user);
        self.set_role(user, Role::Guest, 0)
    }

    /// Bans those who come from an address, in place of any such ban before. Nobody loses a role by it.
    ///
    /// # Errors
    /// If there are too many bans already; nothing is changed then.
    pub fn ban_address(
        &mut self,
        address: IpAddr,
        ban: AddressBan,
        now: Moment,
    ) -> Result<(), Full> {
        self.changes += 1;
        let is_over = |ban: &AddressBan| ban.until.is_over(now);
        insert(&mut self.banned_addresses, ip_key(address), ban, is_over)
    }

    /// Takes a ban back. False if there was none.
    pub fn unban(&mut self, whom: Banned<'_>, now: Moment) -> bool {
        self.changes += 1;
        let until = match whom {
            Banned::User(user) => self.banned_users.remove(user),
            Banned::Address(address) => {
                self.banned_addresses.remove(&ip_key(address)).map(|ban| ban.until)
            }
        };
        until.is_some_and(|until| !until.is_over(now))
    }

    /// Mutes a user.
    ///
    /// # Errors
    /// If there are too many mutes already.
    pub fn mute(&mut self, user: &str, until: Until, now: Moment) -> Result<(), Full> {
        insert(&mut self.muted, user.into(), until, |until| until.is_over(now))
    }

    /// Takes a mute back. False if there was none.
    pub fn unmute(&mut self, user: &str, now: Moment) -> bool {
        self.muted.remove(user).is_some_and(|until| !until.is_over(now))
    }

    /// Whether a user is muted.
    #[must_use]
    pub fn is_muted(&self, user: &str, now: Moment) -> bool {
        self.muted.get(user).is_some_and(|until| !until.is_over(now))
    }

    /// Whether nothing is remembered of anyone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.invitations.is_empty()
            && self.banned_users.is_empty()
            && self.banned_addresses.is_empty()
            && self.muted.is_empty()
    }

    /// Makes the next in line the owner; `former` comes last.
    fn succeed(&mut self, former: &str) -> Option<Arc<str>> {
        let heir = self.heir(former)?;
        self.members.get_mut(&heir)?.role = Role::Owner;
        Some(heir)
    }

    /// Who is next in line to own the room after `former`, who comes last.
    fn heir(&self, former: &str) -> Option<Arc<str>> {
        let (user, _) = self.members.iter().min_by_key(|(user, member)| {
            (&***user == former, Reverse(member.role), member.joined_at_ms)
        })?;
        Some(Arc::clone(user))
    }
}

/// Inserts into a list that is bounded; what has run out makes room, but is looked for only when
/// there is none.
fn insert<K: Ord, V>(
    list: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    is_over: impl Fn(&V) -> bool,
) -> Result<(), Full> {
    if list.len() >= ENTRIES && !list.contains_key(&key) {
        list.retain(|_, value| !is_over(value));
        if list.len() >= ENTRIES {
            return Err(Full);
        }
    }
    list.insert(key, value);
    Ok(())
}
