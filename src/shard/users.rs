//! How many connections a user has, decided on the user's home core; where there are other nodes and
//! the broker is in reach, by the broker, which counts those of all.
//!
//! Invariants: a user never has more connections that are in than may be; a connection that goes on
//! with the session of another takes its place; a user counts for the tenant from the first
//! connection to the last.

use std::sync::Arc;

use crate::clock::Moment;
use crate::config::UserOverflow;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionAddress, ConnectionKey, CoreId, TenantId};
use crate::protocol::CloseReason;
use crate::room::broker::{Fault, ToBroker};
use crate::room::entrance::{self, EntranceAsk};
use crate::tenant::Tenant;

use super::identity::Identity;
use super::message::{ToConnection, ToUser};
use super::session::SessionId;
use super::{Alarm, Shard};

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
    since: Moment,
    /// The broker has not said yet whether it may be there; over which link it was asked.
    asked: Option<u64>,
}

/// The users whose home a core is.
#[derive(Debug)]
pub(super) struct Users {
    places: Map<UserKey, Vec<Place>>,
    /// The broker will be told of all again, before it forgets them.
    is_timed: bool,
}

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
        Self { places: Map::with_hasher(seed), is_timed: false }
    }

    fn enter(
        &mut self,
        key: &UserKey,
        place: Place,
        (limit, overflow): (u32, UserOverflow),
        tenant: &Tenant,
    ) -> Entrance {
        let Some(places) = self.places.get_mut(key) else {
            if !tenant.users.take() {
                return Entrance::Full;
            }
            self.places.insert(key.clone(), vec![place]);
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

    /// One more connection, of which others decide whether it may be; which one it takes the place of.
    /// None: there are too many users.
    #[expect(clippy::option_option, reason = "nothing to take the place of, and no place, differ")]
    fn ask(
        &mut self,
        key: &UserKey,
        place: Place,
        tenant: &Tenant,
    ) -> Option<Option<ConnectionAddress>> {
        if !self.places.contains_key(key) && !tenant.users.take() {
            return None;
        }
        let places = self.places.entry(key.clone()).or_default();
        let is_same = |other: &Place| place.session.is_some() && other.session == place.session;
        let instead = places.iter().find(|other| is_same(other)).map(|other| other.at);
        places.retain(|other| !is_same(other));
        places.push(place);
        Some(instead)
    }

    /// Over which link it was asked if a connection may be there, if it was: now that is known.
    fn answer(&mut self, key: &UserKey, at: ConnectionAddress) -> Option<u64> {
        let place = self.places.get_mut(key).and_then(|all| all.iter_mut().find(|it| it.at == at));
        place.and_then(|place| place.asked.take())
    }

    /// Since when a connection is in, if it is.
    fn since(&self, key: &UserKey, at: ConnectionAddress) -> Option<Moment> {
        self.places.get(key)?.iter().find(|place| place.at == at).map(|place| place.since)
    }

    /// All connections of which others have not decided, or those of which they have.
    fn all(&self, is_asked: bool) -> Vec<(UserKey, Place)> {
        let users = self.places.iter();
        let mut all: Vec<_> = users
            .flat_map(|(user, places)| {
                let places = places.iter().filter(|place| place.asked.is_some() == is_asked);
                places.map(|place| (user.clone(), *place))
            })
            .collect();
        all.sort_unstable_by(|(one, place), (other, its)| {
            (&one.user, place.at).cmp(&(&other.user, its.at))
        });
        all
    }

    fn exit(&mut self, key: &UserKey, at: ConnectionAddress, tenant: &Tenant) {
        let Some(places) = self.places.get_mut(key) else { return };
        places.retain(|place| place.at != at);
        if places.is_empty() {
            self.places.remove(key);
            tenant.users.give_back();
        }
    }
}

impl UserKey {
    fn place(&self, at: ConnectionAddress) -> entrance::Place {
        entrance::Place { tenant: self.tenant, user: Arc::clone(&self.user), at }
    }
}

impl Identity {
    fn user_key(&self) -> Option<UserKey> {
        let user = self.user.clone()?;
        Some(UserKey { tenant: self.tenant, user })
    }
}

impl Shard {
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
        let home = self.home_core(&user);
        self.outbound.send(home, ToUser::Enter { user, connection: key, session });
        true
    }

    /// A connection goes: its user has one less.
    pub(super) fn exit(&mut self, key: ConnectionKey, identity: &Identity) {
        let Some(user) = identity.user_key() else { return };
        let home = self.home_core(&user);
        self.outbound.send(home, ToUser::Exit { user, connection: key });
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
        let place = Place { at, session, since: self.outbound.now.moment, asked: None };
        if self.broker.is_up() && self.config.limits.connections_per_user > 0 {
            let asked = Some(self.broker.link());
            return self.ask_for_place(user, Place { asked, ..place });
        }
        self.decide_place(user, place);
    }

    /// The broker knows how many connections of the user there are on all nodes.
    fn ask_for_place(&mut self, user: &UserKey, place: Place) {
        let tenant = self.tenants.get(user.tenant);
        let Some(instead) = self.users.ask(user, place, tenant) else {
            let (core, connection) = (place.at.core, place.at.key);
            return self.outbound.send(core, ToConnection::Entered { connection, is_in: false });
        };
        let limits = &self.config.limits;
        let (most, replaces) =
            (limits.connections_per_user, limits.user_overflow == UserOverflow::ReplaceOldest);
        let ask = EntranceAsk::Enter { most, replaces, instead };
        self.tell_broker(ToBroker::Entrance { place: user.place(place.at), ask });
    }

    /// The broker has decided, or cannot.
    pub(super) fn on_place(&mut self, place: &entrance::Place, outcome: Result<bool, Fault>) {
        let user = UserKey { tenant: place.tenant, user: Arc::clone(&place.user) };
        // Else it is gone, or was decided here when the link ended.
        let Some(link) = self.users.answer(&user, place.at) else { return };
        match outcome {
            Ok(is_in) => {
                if !is_in {
                    let tenant = self.tenants.get(user.tenant);
                    self.users.exit(&user, place.at, tenant);
                }
                let connection = place.at.key;
                self.outbound.send(place.at.core, ToConnection::Entered { connection, is_in });
            }
            Err(_) => self.decide_again(&user, place.at),
        }
        let is_told = outcome.is_ok() && link == self.broker.link();
        if !is_told
            && self.broker.is_up()
            && let Some(since) = self.users.since(&user, place.at)
        {
            let places = vec![(place.clone(), since)];
            self.tell_broker(ToBroker::Hold { places, all_of: None });
        }
    }

    /// The link has ended: what it was asked is decided here.
    pub(super) fn decide_places(&mut self) {
        for (user, Place { at, .. }) in self.users.all(true) {
            if self.users.answer(&user, at).is_some() {
                self.decide_again(&user, at);
            }
        }
    }

    /// The broker is in reach over another link, and is told of those that are there.
    pub(super) fn hold_places(&mut self, link: u64) {
        if self.config.limits.connections_per_user > 0 {
            self.tell_places(Some(link));
            self.time_places();
        }
    }

    fn tell_places(&mut self, all_of: Option<u64>) {
        let all = self.users.all(false).into_iter();
        let places = all.map(|(user, place)| (user.place(place.at), place.since)).collect();
        self.tell_broker(ToBroker::Hold { places, all_of });
    }

    fn time_places(&mut self) {
        if !std::mem::replace(&mut self.users.is_timed, true) {
            let at = self.outbound.now.moment.plus_ms(self.config.redis.room_ttl_ms / 2);
            self.wheel.insert(at, Alarm::Places);
        }
    }

    /// Tells the broker of all that are there, so that it does not forget them.
    pub(super) fn on_places_alarm(&mut self) {
        self.users.is_timed = false;
        if self.broker.is_up() {
            self.tell_places(None);
            self.time_places();
        }
    }

    fn decide_again(&mut self, user: &UserKey, at: ConnectionAddress) {
        let Some(since) = self.users.since(user, at) else { return };
        let tenant = self.tenants.get(user.tenant);
        self.users.exit(user, at, tenant);
        self.decide_place(user, Place { at, session: None, since, asked: None });
    }

    /// By the connections of this node.
    fn decide_place(&mut self, user: &UserKey, place: Place) {
        let (from, connection) = (place.at.core, place.at.key);
        let limits = &self.config.limits;
        let most = (limits.connections_per_user, limits.user_overflow);
        let tenant = self.tenants.get(user.tenant);
        let entrance = self.users.enter(user, place, most, tenant);
        if let Entrance::InPlaceOf(other) = entrance {
            let displaced = ToConnection::Displaced { connection: other.key };
            self.outbound.send(other.core, displaced);
        }
        let is_in = entrance != Entrance::Full;
        self.outbound.send(from, ToConnection::Entered { connection, is_in });
    }

    /// At the user's home.
    pub(super) fn on_exit(&mut self, from: CoreId, user: &UserKey, connection: ConnectionKey) {
        let at = ConnectionAddress { core: from, key: connection };
        let tenant = self.tenants.get(user.tenant);
        self.users.exit(user, at, tenant);
        if self.broker.is_up() && self.config.limits.connections_per_user > 0 {
            let (place, ask) = (user.place(at), EntranceAsk::Exit);
            self.tell_broker(ToBroker::Entrance { place, ask });
        }
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
        let at = ConnectionAddress { core: CoreId(0), key };
        Place { at, session, since: Moment::default(), asked: None }
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
        assert_eq!((users.places.len(), tenant.users.count()), (0, 0));
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
        assert_eq!(users.places[&ann].len(), 1, "the one that went on is still there");
    }
}
