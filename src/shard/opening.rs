//! From the handshake to `welcome`: a new session or the one that is resumed, and the rooms that are
//! joined on the way.
//!
//! Invariant: `welcome` is the first message that is written; all that comes for the connection
//! before it is held back and follows it.

use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, ConnectionName};
use crate::protocol::event::{JoinedRoom, Place, Welcome, WelcomeRoom};
use crate::protocol::{CloseReason, ErrorCode, Event, LeftReason, Role, Secret};
use crate::room::hub::{Member, RoomIndex};
use crate::room::name::{RoomKey, RoomName};
use crate::room::refusal::Refusal;

use super::Shard;
use super::ask::{JoinAsk, MayCreate, Since};
use super::connection::{Connection, Membership, Purpose};
use super::door::Entry;
use super::identity::{Identity, Right};
use super::input::{Opened, Route};
use super::message::{Joined, Ticket, ToHome, ToSession};
use super::outbound::write_event;
use super::session::{SessionId, Snapshot};

/// What is known of a connection on its way to `welcome`.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// Answers that it waits for.
    left: u32,
    /// A session was resumed.
    recovered: bool,
    /// The room of the request's path, until it is asked for.
    room: Option<String>,
    /// Rooms that are asked for by name, too, if the session is no longer in them.
    named: Vec<RoomKey>,
    rooms: Vec<ArrivalRoom>,
}

#[derive(Debug)]
struct ArrivalRoom {
    room: RoomKey,
    role: Role,
    epoch: Arc<str>,
    offset: u64,
    recovered: bool,
    is_local: bool,
}

impl Shard {
    pub(super) fn on_opened(&mut self, mut opened: Opened) {
        let now = self.outbound.now.moment;
        let key = opened.connection;
        let purpose = match opened.route {
            Route::Echo => Purpose::Echo,
            Route::Rooms(_) => Purpose::Rooms,
        };
        let mut secret = [0; 8];
        self.entropy.fill(&mut secret[2..]);
        let secret = u64::from_be_bytes(secret);
        let name = ConnectionName::new(self.broker.tag(), self.core, key.index, secret);
        let (entry, session) = (std::mem::take(&mut opened.entry), opened.session.take());
        let identity = match &entry {
            Entry::Open => Arc::clone(&self.anonymous),
            Entry::Accepted(accepted) => Arc::new(Identity::of(accepted)),
            Entry::Later(_) => Arc::new(Identity::nobody()),
        };
        let names = (name.to_text().into(), secret);
        let connection = Connection::new(&opened, purpose, identity, names, now);
        self.outbound.insert(Box::new(connection));
        if self.config.heartbeat.interval_ms > 0 {
            self.look_again(key, now.plus_ms(self.config.heartbeat.interval_ms));
        }
        if self.is_draining() {
            self.close(key, CloseReason::Drain);
            return;
        }
        let Route::Rooms(room) = opened.route else { return };
        match entry {
            Entry::Later(later) => self.ask_who(key, *later, room, session),
            Entry::Open | Entry::Accepted(_) => {
                self.count_in(key);
                if self.is_in(key) {
                    self.arrive(key, room, session.as_ref());
                }
            }
        }
    }

    /// It is known now who a connection is: it counts for the tenant from here on, if there is
    /// room for it.
    pub(super) fn identify(&mut self, key: ConnectionKey, identity: Identity) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.identity = Arc::new(identity);
        self.count_in(key);
    }

    fn count_in(&mut self, key: ConnectionKey) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let identity = &connection.identity;
        let tenant = &self.tenants.get(identity.tenant).connections;
        connection.counted = tenant.take();
        if connection.counted && !identity.quota().is_none_or(|quota| quota.enter()) {
            tenant.give_back();
            connection.counted = false;
        }
        if !connection.counted {
            self.close(key, CloseReason::ConnectionLimit);
        }
    }

    /// A connection is gone: its tenant, its credential and its user have one less.
    pub(super) fn discount(&mut self, connection: &Connection) {
        let identity = &connection.identity;
        if connection.counted {
            self.tenants.get(identity.tenant).connections.give_back();
            identity.quota().into_iter().for_each(|quota| quota.leave());
        }
        if connection.entered {
            self.exit(connection.key, &connection.identity);
        }
    }

    /// Whether a connection is still one of those that may go on.
    pub(super) fn is_in(&self, key: ConnectionKey) -> bool {
        self.outbound.get(key).is_some_and(Connection::is_open)
    }

    /// Begins the way to `welcome`.
    pub(super) fn arrive(
        &mut self,
        key: ConnectionKey,
        room: Option<String>,
        session: Option<&Secret<'_>>,
    ) {
        let session = session.and_then(|it| SessionId::parse(it.expose()));
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        slot.outbox.hold();
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        // One for the way itself, so that it does not end before all is asked.
        let arrival = Arrival { left: 1, room, ..Arrival::default() };
        if let Some(session) = session {
            let identity = Arc::clone(&connection.identity);
            connection.rare().arrival = Some(arrival);
            let by = ConnectionAddress { core: self.core, key };
            let home = self.home_core(&session);
            self.outbound.send(home, ToSession::Resume { session, by, identity });
            return;
        }
        if arrival.room.is_some() {
            connection.rare().arrival = Some(arrival);
        }
        self.begin_session(key);
        self.arrive_in_room(key);
    }

    /// A new session. It is drawn until it lives on this core, so that nobody has to be told.
    fn begin_session(&mut self, key: ConnectionKey) {
        let mut id = SessionId([0; 16]);
        loop {
            self.entropy.fill(&mut id.0);
            if self.home_core(&id) == self.core {
                break;
            }
        }
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.session = Some(id);
        let by = ConnectionAddress { core: self.core, key };
        self.sessions.open(id, by, &connection.identity);
        self.metrics.sessions.set(self.sessions.len() as u64);
    }

    /// The session's home has said what it held.
    pub(super) fn on_resumed(
        &mut self,
        key: ConnectionKey,
        session: SessionId,
        snapshot: Option<Box<Snapshot>>,
    ) {
        let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) else {
            // It went while its session was fetched, which goes back.
            if let Some(snapshot) = snapshot {
                let home = self.home_core(&session);
                let message = ToSession::Detached { session, connection: key, snapshot };
                self.outbound.send(home, message);
            }
            return;
        };
        let Some(snapshot) = snapshot else {
            self.begin_session(key);
            self.arrive_in_room(key);
            return;
        };
        connection.session = Some(session);
        let rare = connection.rare();
        (rare.earlier, rare.since) = (snapshot.names, snapshot.since);
        rare.state = snapshot.state;
        if let Some(arrival) = &mut rare.arrival {
            arrival.recovered = true;
        }
        let identity = Arc::clone(&connection.identity);
        self.outbound.note_names(key);
        let mut patterns = snapshot.patterns;
        patterns.retain(|(it, _)| identity.permit.allows(Right::Subscribe, it.as_str()));
        self.resume_patterns(key, patterns);
        for kept in snapshot.rooms {
            let ask = JoinAsk {
                interest: kept.interest.clone(),
                since: Some(Since { epoch: (&*kept.epoch).into(), offset: kept.position }),
                password: None,
                grant: None,
                may_create: MayCreate::Uncounted,
                resumes: true,
                was_kept: kept.is_counted,
            };
            let room = kept.room.clone();
            self.expect_arrival(key);
            // The new credential may allow less than the old one.
            let may =
                room.name.is_reserved() || kept.by_token || identity.may(Right::Join, &room.name);
            if !may {
                let (room, reason) = (room.name.as_str(), LeftReason::PermissionRevoked);
                self.outbound.say(key, &Event::Left { room, reason, by: None });
            }
            if !may || !self.ask_join(key, room.clone(), ask, Ticket::default()) {
                self.forget_room(session, kept);
                self.arrived_nowhere(key);
                continue;
            }
            let index = self.hub.find(&room);
            let connection = self.outbound.get_mut(key);
            if let (Some(index), Some(connection)) = (index, connection)
                && let Some(membership) = connection.membership(index)
            {
                membership.by_token = kept.by_token;
                membership.kept = Some(Box::new(kept));
            }
        }
        self.arrive_in_room(key);
    }

    /// Asks the user's home, and for the rooms of the credential and of the request's path; ends
    /// the way if there is nothing to wait for.
    fn arrive_in_room(&mut self, key: ConnectionKey) {
        if self.ask_to_enter(key) {
            self.expect_arrival(key);
        }
        let Some(connection) = self.outbound.get(key) else { return };
        if let Some(accepted) = connection.identity.accepted.clone() {
            for room in &accepted.join {
                self.join_on_arrival(key, room.as_str());
            }
        }
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let arrival = connection.rare.as_mut().and_then(|rare| rare.arrival.as_mut());
        let room = arrival.and_then(|arrival| arrival.room.take());
        if let Some(text) = room {
            self.join_on_arrival(key, &text);
        }
        self.arrived_nowhere(key);
    }

    fn join_on_arrival(&mut self, key: ConnectionKey, text: &str) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let identity = &connection.identity;
        let refusal = match RoomName::parse(text) {
            Err(_) => Refusal::new(ErrorCode::InvalidRoom, "no name that a room can have"),
            Ok(name) if !self.homes.namespaces.admit(identity.tenant, &name) => {
                Refusal::new(ErrorCode::InvalidRoom, "no namespace of this server")
            }
            Ok(name) if !identity.may(Right::Join, &name) => {
                Refusal::new(ErrorCode::Forbidden, "not allowed")
            }
            Ok(name) => {
                let room = RoomKey::new(identity.tenant, name);
                let index = self.hub.find(&room);
                let known = index.and_then(|index| connection.membership(index));
                if let Some(is_of_session) = known.map(|it| it.kept.is_some()) {
                    let arrival = connection.rare().arrival.as_mut().filter(|_| is_of_session);
                    arrival.into_iter().for_each(|arrival| arrival.named.push(room.clone()));
                    return;
                }
                return self.join_by_name(key, room);
            }
        };
        self.refuse(key, &Ticket::default(), refusal);
    }

    fn join_by_name(&mut self, key: ConnectionKey, room: RoomKey) {
        let ask = JoinAsk { may_create: self.may_create(key), ..JoinAsk::default() };
        self.expect_arrival(key);
        if !self.ask_join(key, room, ask, Ticket::default()) {
            self.arrived_nowhere(key);
        }
    }

    /// A session is no longer in a room. If that was asked for by name, too, it is joined anew, and nothing is
    /// told of the session's.
    pub(super) fn joins_by_name(&mut self, key: ConnectionKey, room: &RoomKey) -> bool {
        let connection = self.outbound.get_mut(key).filter(|it| !it.welcomed);
        let arrival = connection.and_then(|it| it.rare.as_mut()?.arrival.as_mut());
        let named = arrival.and_then(|it| it.named.extract_if(.., |named| named == room).next());
        let is_named = named.is_some();
        named.into_iter().for_each(|room| self.join_by_name(key, room));
        is_named
    }

    pub(super) fn expect_arrival(&mut self, key: ConnectionKey) {
        let connection = self.outbound.get_mut(key).filter(|it| !it.welcomed);
        let Some(connection) = connection else { return };
        // One for the way itself.
        let first = || Arrival { left: 1, ..Arrival::default() };
        connection.rare().arrival.get_or_insert_with(first).left += 1;
    }

    /// A room was joined; if that was on the way to `welcome`, it is told there.
    pub(super) fn arrived_in(&mut self, key: ConnectionKey, room: &RoomKey, joined: &Joined) {
        let connection = self.outbound.get_mut(key).filter(|it| !it.welcomed);
        let Some(connection) = connection else { return };
        let arrival = connection.rare.as_mut().and_then(|rare| rare.arrival.as_mut());
        if let Some(arrival) = arrival.filter(|_| !room.name.is_reserved()) {
            arrival.rooms.push(ArrivalRoom {
                room: room.clone(),
                role: joined.role,
                epoch: Arc::clone(&joined.epoch),
                offset: joined.offset,
                recovered: joined.recovered,
                is_local: joined.is_local,
            });
        }
        self.arrived_nowhere(key);
    }

    /// One thing less to wait for before `welcome`.
    pub(super) fn arrived_nowhere(&mut self, key: ConnectionKey) {
        let connection = self.outbound.get_mut(key).filter(|it| !it.welcomed);
        let Some(connection) = connection else { return };
        match connection.rare.as_mut().and_then(|rare| rare.arrival.as_mut()) {
            Some(arrival) if arrival.left > 1 => arrival.left -= 1,
            _ => self.welcome(key),
        }
    }

    fn welcome(&mut self, key: ConnectionKey) {
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let connection = slot.connection.as_deref_mut().filter(|connection| connection.is_open());
        let Some(connection) = connection else { return };
        connection.welcomed = true;
        let arrival = connection.rare.as_mut().and_then(|rare| rare.arrival.take());
        let arrival = arrival.unwrap_or_default();
        connection.forget_rare();
        let session = connection.session.map(SessionId::to_text);
        let name = Arc::clone(&connection.name);
        let (identity, codec) = (Arc::clone(&connection.identity), connection.form.codec);
        let rooms: Vec<_> = arrival
            .rooms
            .iter()
            .map(|it| WelcomeRoom {
                joined: JoinedRoom {
                    room: it.room.name.as_str(),
                    role: it.role,
                    at: Place { epoch: &it.epoch, offset: it.offset },
                },
                recovered: it.recovered,
                local: it.is_local,
            })
            .collect();
        let event = Event::Welcome(Welcome {
            connection: &name,
            session: session.map(Secret::from),
            user: identity.user.as_deref(),
            tenant: &identity.tenant_name,
            heartbeat_ms: self.config.heartbeat.interval_ms,
            expires_at_ms: identity.expires_at_ms,
            recovered: arrival.recovered,
            rooms: &rooms,
        });
        self.outbound.release(key, |out| write_event(&event, codec, out));
        self.watch_expiry(key);
        if arrival.recovered {
            self.session_changed(key);
        } else {
            self.session_begins(key);
        }
        self.enter_reserved(key, self.everyone.clone());
        if let Some(Ok(name)) = identity.user.as_deref().map(RoomName::user) {
            self.enter_reserved(key, name.clone());
            self.greet(key, RoomKey::new(identity.tenant, name), codec);
        }
    }

    /// Whether the home of a reserved room keeps anything that a session may have missed.
    pub(super) fn is_recoverable(&self, room: &RoomKey) -> bool {
        self.homes.namespaces.of(room).config.history.size > 0
    }

    /// A connection is in its reserved rooms by itself: where something may have to be recovered,
    /// like one that has joined, else without the home's knowing of it.
    fn enter_reserved(&mut self, key: ConnectionKey, name: RoomName) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let room = RoomKey::new(connection.identity.tenant, name);
        let known = self.hub.find(&room).is_some_and(|it| connection.membership(it).is_some());
        if known {
            return;
        }
        if self.is_recoverable(&room) {
            let ask = JoinAsk { may_create: MayCreate::Uncounted, ..JoinAsk::default() };
            self.ask_join(key, room, ask, Ticket::default());
            return;
        }
        let Some(form) = self.outbound.get(key).map(|connection| connection.form) else { return };
        let home = self.home_core(&room);
        let index: RoomIndex = self.hub.enter(&room, home);
        let member = Member { connection: key.index, form, presence: false, interest: None };
        // What came before is not for it.
        self.settle_room(index);
        let (Some(connection), Some(place)) =
            (self.outbound.get_mut(key), self.hub.add(index, member))
        else {
            return;
        };
        connection.add_room(Membership::implicit(index, place));
        if self.hub.get_mut(index).is_some_and(|room| room.announce(form)) {
            self.outbound.send(home, ToHome::Attach { room, form: Some(form) });
        }
    }
}
