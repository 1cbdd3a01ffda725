//! When a connection goes: it leaves its rooms, and its session stays for a while.

use std::sync::Arc;

use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::metrics::Close;
use crate::protocol::CloseReason;
use crate::room::home::ReaderId;
use crate::room::name::RoomKey;

use super::connection::{Connection, Membership, NO_PLACE};
use super::identity::Identity;
use super::message::{ToConnection, ToHome, ToSession};
use super::session::{KeptRoom, Release, Resumption, SessionId, Snapshot};
use super::{Alarm, Shard};

impl Shard {
    /// The socket is gone.
    pub(super) fn on_lost(&mut self, key: ConnectionKey) {
        let Some(mut connection) = self.outbound.remove(key) else { return };
        let threshold = connection.rare.as_mut().and_then(|rare| rare.threshold.take());
        let timers = [connection.timer, connection.expiry, threshold.map(|it| it.timer)];
        for timer in timers.into_iter().flatten() {
            self.wheel.cancel(timer);
        }
        self.discount(&connection);
        if connection.is_open() {
            self.metrics.closes.count(Close::Lost);
        }
        self.detach(&mut connection);
        if let Some(rare) = &mut connection.rare {
            let asked = std::mem::take(&mut rare.asked);
            self.drop_questions(key, asked);
        }
    }

    /// Takes a connection out of everything, and lets go of its session.
    fn detach(&mut self, connection: &mut Connection) {
        let session = connection.session.take();
        let keeps = session.is_some() && self.config.session.ttl_ms > 0;
        let mut rooms = Vec::new();
        for membership in std::mem::take(&mut connection.rooms) {
            let mut kept = if self.is_unknown_to_home(&membership) {
                None
            } else {
                self.kept_room(&membership)
            };
            if let Some(kept) = &mut kept {
                kept.is_counted = keeps;
            }
            self.give_up_room(connection.key, &membership, kept.as_ref().filter(|_| keeps));
            rooms.extend(kept);
        }
        let (mut state, mut patterns) = (None, Vec::new());
        if let Some(rare) = &mut connection.rare {
            state = rare.state.take();
            let subscriptions = std::mem::take(&mut rare.patterns).into_iter();
            patterns = subscriptions.map(|it| (it.pattern, it.interest)).collect();
            for (pattern, _) in &patterns {
                self.drop_pattern(connection.identity.tenant, pattern, connection.key.index);
            }
        }
        self.outbound.forget_names(connection);
        let Some(session) = session else { return };
        let (identity, names) = (Arc::clone(&connection.identity), connection.names());
        let since = connection.since();
        let snapshot = Snapshot { identity, rooms, patterns, state, names, since };
        let snapshot = Box::new(snapshot);
        self.keep_detached(session, &snapshot);
        let home = self.home_core(&session);
        let message = ToSession::Detached { session, connection: connection.key, snapshot };
        self.outbound.send(home, message);
    }

    /// What a session keeps of a room: nothing if its home has never let it in.
    pub(super) fn kept_room(&self, membership: &Membership) -> Option<KeptRoom> {
        if membership.place == NO_PLACE {
            return membership.kept.as_deref().cloned();
        }
        let room = self.hub.get(membership.room)?;
        let member = room.members.get(membership.place as usize)?;
        let mut interest = member.interest.as_deref().cloned().unwrap_or_default();
        interest.presence = member.presence;
        Some(KeptRoom {
            room: room.key.clone(),
            epoch: Arc::clone(&room.tag.as_ref()?.epoch),
            position: membership.position,
            interest,
            by_token: membership.by_token,
            is_counted: false,
        })
    }

    /// Whether the room's home has never heard of the connection.
    pub(super) fn is_unknown_to_home(&self, membership: &Membership) -> bool {
        let room = self.hub.get(membership.room);
        membership.implicit && !room.is_some_and(|room| self.is_recoverable(&room.key))
    }

    /// Leaves a room without an answer.
    fn give_up_room(
        &mut self,
        key: ConnectionKey,
        membership: &Membership,
        kept: Option<&KeptRoom>,
    ) {
        let index = membership.room;
        self.vacate(index, membership.place);
        let Some(room) = self.hub.get(index) else { return };
        if !self.is_unknown_to_home(membership) {
            let message = ToHome::Gone {
                room: room.key.clone(),
                connection: key,
                kept: kept.map(|kept| Arc::clone(&kept.epoch)),
            };
            let home = room.home;
            self.outbound.send(home, message);
        }
        self.tidy_room(index);
    }

    /// At a room's home: a connection is gone.
    pub(super) fn on_gone(
        &mut self,
        from: CoreId,
        room: &RoomKey,
        connection: ConnectionKey,
        kept: Option<&str>,
    ) {
        let now = self.outbound.now.moment;
        let grace_ms = self.config.presence.grace_ms;
        let address = ConnectionAddress { core: from, key: connection };
        if let Some(home) = self.homes.get_mut(room) {
            home.detach(address, kept, grace_ms, now);
        }
        self.tend(room);
    }

    /// At a session's home: a connection asks to go on with it.
    pub(super) fn on_resume(
        &mut self,
        session: SessionId,
        by: ConnectionAddress,
        identity: &Arc<Identity>,
    ) {
        if !self.fetch_session(session, by, identity) {
            self.resume_here(session, by, identity);
        }
    }

    /// It is for this node to say what the session had.
    pub(super) fn resume_here(
        &mut self,
        session: SessionId,
        by: ConnectionAddress,
        identity: &Identity,
    ) {
        let now = self.now_with_broker();
        let snapshot = match self.sessions.resume(session, by, identity, now) {
            Resumption::Contested => return self.ask_whether_waits(session, by),
            Resumption::Behind => return,
            Resumption::Resumed(snapshot, timer) => {
                self.wheel.cancel(timer);
                Some(snapshot)
            }
            Resumption::Refused => None,
        };
        let message = ToConnection::Resumed { connection: by.key, session, snapshot };
        self.outbound.send(by.core, message);
    }

    /// At a session's home: what a connection asked for long ago it may want no more, and then whoever
    /// has the session keeps it.
    pub(super) fn ask_whether_waits(&mut self, session: SessionId, by: ConnectionAddress) {
        self.outbound.send(by.core, ToConnection::Waits { connection: by.key, session });
    }

    /// Whether a connection here still waits for a session.
    pub(super) fn on_waits(&mut self, from: CoreId, connection: ConnectionKey, session: SessionId) {
        let waits = self.outbound.get(connection).is_some_and(Connection::is_open);
        self.outbound.send(from, ToSession::Waiting { session, connection, waits });
    }

    /// At a session's home: whether a connection still waits for it.
    pub(super) fn on_waiting(&mut self, session: SessionId, by: ConnectionAddress, waits: bool) {
        if self.goes_on_fetching(session, by, waits) {
            return;
        }
        if !waits {
            if let Some(next) = self.sessions.withdraw(session, by) {
                self.ask_whether_waits(session, next);
            }
        } else if let Some(from) = self.sessions.yields(session, by) {
            let message = ToConnection::Takeover { connection: from.key, session };
            self.outbound.send(from.core, message);
        }
    }

    /// Another connection goes on with the session of this one.
    pub(super) fn on_takeover(&mut self, key: ConnectionKey, session: SessionId) {
        if !self.outbound.get(key).is_some_and(|it| it.session == Some(session)) {
            // It let go before it was told to; that is on its way.
            return;
        }
        self.settle_rooms();
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let Some(mut connection) = slot.connection.take() else { return };
        self.detach(&mut connection);
        if let Some(slot) = self.outbound.slots.get_mut(key.index as usize) {
            slot.connection = Some(connection);
        }
        self.close(key, CloseReason::Replaced);
    }

    /// At a session's home: a connection has let go.
    pub(super) fn on_detached(
        &mut self,
        session: SessionId,
        by: ConnectionAddress,
        snapshot: Box<Snapshot>,
    ) {
        let now = self.now_with_broker();
        match self.sessions.release(session, by, snapshot, now) {
            Release::Stale(snapshot) => self.forget_rooms(session, *snapshot),
            Release::Leave(wanted_by, snapshot) => {
                self.leave_session(session, wanted_by, *snapshot);
            }
            Release::HandOver(to, snapshot, next) => {
                let message =
                    ToConnection::Resumed { connection: to.key, session, snapshot: Some(snapshot) };
                self.outbound.send(to.core, message);
                if let Some(next) = next {
                    self.ask_whether_waits(session, next);
                }
            }
            Release::Keep(snapshot) => {
                let ttl_ms = self.config.session.ttl_ms;
                if ttl_ms == 0 {
                    self.sessions.remove(session);
                } else {
                    let at = self.outbound.now.moment.plus_ms(ttl_ms);
                    let timer = self.wheel.insert(at, Alarm::Session(session));
                    self.sessions.keep(session, snapshot, timer);
                }
            }
        }
        self.metrics.sessions.set(self.sessions.len() as u64);
    }

    /// A session's time is over: nothing keeps its rooms any more.
    pub(super) fn on_session_alarm(&mut self, session: SessionId) {
        if let Some(snapshot) = self.sessions.expire(session) {
            self.forget_rooms(session, *snapshot);
        }
        self.metrics.sessions.set(self.sessions.len() as u64);
    }

    pub(super) fn forget_rooms(&mut self, session: SessionId, snapshot: Snapshot) {
        for kept in snapshot.rooms {
            self.forget_room(session, kept);
        }
    }

    pub(super) fn forget_room(&mut self, session: SessionId, kept: KeptRoom) {
        let KeptRoom { room, epoch, is_counted, .. } = kept;
        let home = self.home_core(&room);
        let kept = is_counted.then_some(epoch);
        self.outbound.send(home, ToHome::Forget { room, kept, session });
    }

    /// At a room's home: a session that was in it will not come back.
    pub(super) fn on_forget(&mut self, room: &RoomKey, kept: Option<&str>, session: SessionId) {
        let now = self.outbound.now.moment;
        if let Some(home) = self.homes.get_mut(room) {
            kept.into_iter().for_each(|epoch| home.forget(epoch));
            home.forget_reader(&ReaderId::Session(session.0), now);
        }
        self.tend(room);
    }
}
