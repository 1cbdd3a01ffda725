//! How many connections a user has, decided on the user's home core.
//!
//! Invariants: a user never has more connections that are in than may be; a connection that goes on
//! with the session of another takes its place; a user counts for the tenant from the first
//! connection to the last.

use std::sync::Arc;

use crate::config::UserOverflow;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionAddress, ConnectionKey, CoreId, TenantId};
use crate::protocol::CloseReason;
use crate::tenant::Tenant;

use super::Shard;
use super::identity::Identity;
use super::message::CoreMessage;
use super::session::SessionId;

/// A user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// Whose.
    pub tenant: TenantId,
    /// Who.
    pub user: Arc<str>,
}

/// A connection of a user.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: ConnectionAddress,
    session: Option<SessionId>,
}

/// The users whose home a core is.
#[derive(Debug)]
pub(super) struct Users(Map<UserKey, Vec<Place>>);

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    /// It is in.
    In,
    /// It is in, and this one is out.
    InPlaceOf(ConnectionAddress),
    /// There are too many.
    Full,
}

impl Users {
    pub(super) fn new(seed: Seed) -> Self {
        Self(Map::with_hasher(seed))
    }

    fn enter(
        &mut self,
        key: &UserKey,
        place: Place,
        (limit, overflow): (u32, UserOverflow),
        tenant: &Tenant,
    ) -> Entrance {
        let Some(places) = self.0.get_mut(key) else {
            if !tenant.users.take() {
                return Entrance::Full;
            }
            self.0.insert(key.clone(), vec![place]);
            return Entrance::In;
        };
        if place.session.is_some() {
            // The one before it is on its way out.
            places.retain(|other| other.session != place.session);
        }
        let mut entrance = Entrance::In;
        if limit > 0 && places.len() >= limit as usize {
            if overflow == UserOverflow::Refuse {
                return Entrance::Full;
            }
            entrance = Entrance::InPlaceOf(places.remove(0).at);
        }
        places.push(place);
        entrance
    }

    fn exit(&mut self, key: &UserKey, at: ConnectionAddress, tenant: &Tenant) {
        let Some(places) = self.0.get_mut(key) else { return };
        places.retain(|place| place.at != at);
        if places.is_empty() {
            self.0.remove(key);
            tenant.users.give_back();
        }
    }
}

impl Identity {
    fn user_key(&self) -> Option<UserKey> {
        let user = self.user.clone()?;
        Some(UserKey { tenant: self.tenant, user })
    }
}

impl Shard {
    /// A connection of a user comes or goes.
    pub(super) fn on_user(&mut self, from: CoreId, message: CoreMessage) {
        match message {
            CoreMessage::Enter { user, connection, session } => {
                self.on_enter(from, &user, connection, session);
            }
            CoreMessage::Entered { connection, is_in } => self.on_entered(connection, is_in),
            CoreMessage::Displaced { connection } => self.on_displaced(connection),
            CoreMessage::Exit { user, connection } => self.on_exit(from, &user, connection),
            // Nothing else is said of them.
            _ => {}
        }
    }

    /// Asks the user's home whether one more connection may be; false if nobody has to be asked.
    pub(super) fn ask_to_enter(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        let Some(user) = connection.identity.user_key() else { return false };
        let tenant = self.tenants.get(user.tenant);
        if self.config.limits.connections_per_user == 0 && tenant.limits.users == 0 {
            return false;
        }
        connection.entered = true;
        let session = connection.session;
        let home = crate::hash::home(self.seed, &user, self.cores);
        self.outbound.send(home, CoreMessage::Enter { user, connection: key, session });
        true
    }

    /// A connection goes: its user has one less.
    pub(super) fn exit(&mut self, key: ConnectionKey, identity: &Identity) {
        let Some(user) = identity.user_key() else { return };
        let home = crate::hash::home(self.seed, &user, self.cores);
        self.outbound.send(home, CoreMessage::Exit { user, connection: key });
    }

    /// At the user's home.
    pub(super) fn on_enter(
        &mut self,
        from: CoreId,
        user: &UserKey,
        connection: ConnectionKey,
        session: Option<SessionId>,
    ) {
        let at = ConnectionAddress { core: from, key: connection };
        let limits = &self.config.limits;
        let most = (limits.connections_per_user, limits.user_overflow);
        let tenant = self.tenants.get(user.tenant);
        let entrance = self.users.enter(user, Place { at, session }, most, tenant);
        if let Entrance::InPlaceOf(other) = entrance {
            let displaced = CoreMessage::Displaced { connection: other.key };
            self.outbound.send(other.core, displaced);
        }
        let is_in = entrance != Entrance::Full;
        self.outbound.send(from, CoreMessage::Entered { connection, is_in });
    }

    /// At the user's home.
    pub(super) fn on_exit(&mut self, from: CoreId, user: &UserKey, connection: ConnectionKey) {
        let at = ConnectionAddress { core: from, key: connection };
        let tenant = self.tenants.get(user.tenant);
        self.users.exit(user, at, tenant);
    }

    /// The user's home has decided.
    pub(super) fn on_entered(&mut self, key: ConnectionKey, is_in: bool) {
        if is_in {
            self.arrived_nowhere(key);
        } else {
            self.close(key, CloseReason::ConnectionLimit);
        }
    }

    /// A newer connection of the user has taken this one's place.
    pub(super) fn on_displaced(&mut self, key: ConnectionKey) {
        self.close(key, CloseReason::Replaced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::tenant::Tenants;

    fn place(index: u32, session: Option<u8>) -> Place {
        let key = ConnectionKey { index, generation: 1 };
        let session = session.map(|byte| SessionId([byte; 16]));
        Place { at: ConnectionAddress { core: CoreId(0), key }, session }
    }

    fn user(name: &str) -> UserKey {
        UserKey { tenant: TenantId::DEFAULT, user: name.into() }
    }

    #[test]
    fn one_too_many_is_refused_or_takes_the_oldest_ones_place() {
        let tenants = Tenants::new(&Config::default());
        let tenant = tenants.get(TenantId::DEFAULT);
        let mut users = Users::new(Seed(1, 2));
        let (ann, refuse) = (user("ann"), (2, UserOverflow::Refuse));
        assert_eq!(users.enter(&ann, place(1, None), refuse, tenant), Entrance::In);
        assert_eq!(users.enter(&ann, place(2, None), refuse, tenant), Entrance::In);
        assert_eq!(users.enter(&ann, place(3, None), refuse, tenant), Entrance::Full);
        assert_eq!(users.enter(&user("bob"), place(4, None), refuse, tenant), Entrance::In);
        let replace = (2, UserOverflow::ReplaceOldest);
        let replaced = users.enter(&ann, place(3, None), replace, tenant);
        assert_eq!(replaced, Entrance::InPlaceOf(place(1, None).at));
        assert_eq!(tenant.users.count(), 2);
        for (name, index) in [("ann", 1), ("ann", 2), ("ann", 3), ("bob", 4), ("bob", 4)] {
            users.exit(&user(name), place(index, None).at, tenant);
        }
        assert_eq!((users.0.len(), tenant.users.count()), (0, 0));
    }

    #[test]
    fn who_goes_on_with_a_session_takes_its_place() {
        let tenants = Tenants::new(&Config::default());
        let tenant = tenants.get(TenantId::DEFAULT);
        let mut users = Users::new(Seed(1, 2));
        let (ann, refuse) = (user("ann"), (1, UserOverflow::Refuse));
        assert_eq!(users.enter(&ann, place(1, Some(7)), refuse, tenant), Entrance::In);
        assert_eq!(users.enter(&ann, place(2, Some(8)), refuse, tenant), Entrance::Full);
        assert_eq!(users.enter(&ann, place(3, Some(7)), refuse, tenant), Entrance::In);
        users.exit(&ann, place(1, None).at, tenant);
        assert_eq!(users.0[&ann].len(), 1, "the one that went on is still there");
    }
}
