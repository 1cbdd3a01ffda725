//! Sessions over nodes: what they have is kept with the broker, so that any node can go on with them.
//!
//! That a node has a session is told to the broker when it begins; what it has, within a second of a
//! change, when its connection goes, and often enough to outlive its time there. A node that is asked to
//! resume fetches the session: what another node had is taken over, and that node is made to let go first.
//! Without the broker, a node resumes what it had itself, and later tells how long ago that was: whoever took
//! it before that has it no more.
//!
//! Invariants: a session is had by one node at a time, the one that last fetched it, or resumed it without
//! the broker; a connection that asks to resume is answered once; what is told to the broker is bounded each
//! second.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Moment;
use crate::hash::{Map, Seed};
use crate::id::{ConnectionAddress, ConnectionKey};
use crate::room::broker::{Claim, Fault, Found, FromSessions, Since, ToBroker, ToSessions};
use crate::wheel::Timer;

use super::connection::Connection;
use super::identity::Identity;
use super::message::ToConnection;
use super::session::{Loss, SessionId, Snapshot, owner};
use super::{Alarm, Shard};

/// How often changes are told.
const KEEP_EVERY_MS: u64 = 1_000;
/// Sessions that are told of in that time.
const KEEP_MAX: usize = 2_000;
/// How many of them at once, because they begin: of the others it is told in their turn.
const BEGIN_MAX: usize = KEEP_MAX / 2;

/// A session that is asked for.
#[derive(Debug)]
struct Fetching {
    /// Connections of one user that get it in turn; at least one.
    waiting: VecDeque<ConnectionAddress>,
    identity: Arc<Identity>,
    timer: Timer,
    /// Another node has taken it meanwhile: it is fetched from there if somebody still waits.
    is_taken: bool,
    /// Another node wants it: what the broker answers says which of the two was later.
    claim: Option<Claim>,
}

/// What is under way between this core's sessions and the broker.
#[derive(Debug)]
pub(super) struct Roaming {
    fetching: Map<SessionId, Fetching>,
    /// Connections whose sessions have changed.
    changed: Vec<ConnectionKey>,
    /// How many were told of at once since the others had their turn.
    begun: usize,
    /// Where the round is that tells of all sessions, changed or not.
    round: u32,
    /// So much of it is to be done soon: the broker may have lost what it was told.
    hurry: u64,
    /// Sessions that nobody has, of which it is told once more.
    left: Vec<SessionId>,
    is_timed: bool,
}

impl Roaming {
    pub(super) fn new(seed: Seed) -> Self {
        let fetching = Map::with_hasher(seed);
        Self {
            fetching,
            changed: Vec::new(),
            begun: 0,
            round: 0,
            hurry: 0,
            left: Vec::new(),
            is_timed: false,
        }
    }
}

impl Shard {
    /// A connection's session has begun: whoever goes on with it on another node, however soon, takes it
    /// from here.
    pub(super) fn session_begins(&mut self, key: ConnectionKey) {
        self.session_changed(key);
        if self.roaming.begun < BEGIN_MAX && self.broker.is_up() {
            self.roaming.begun += usize::from(self.keep_with_broker(key));
        }
    }

    /// A connection's session has changed.
    pub(super) fn session_changed(&mut self, key: ConnectionKey) {
        if !self.broker.is_there() || self.config.session.ttl_ms == 0 {
            return;
        }
        let Some(connection) = self.outbound.get_mut(key) else { return };
        if connection.session.is_none() || std::mem::replace(&mut connection.unsaved, true) {
            return;
        }
        self.roaming.changed.push(key);
        self.time_keeping();
    }

    fn time_keeping(&mut self) {
        if !std::mem::replace(&mut self.roaming.is_timed, true) {
            let at = self.outbound.now.moment.plus_ms(KEEP_EVERY_MS);
            self.wheel.insert(at, Alarm::Keep);
        }
    }

    /// Tells the broker of sessions that have changed, and of some that have not.
    pub(super) fn on_keep_alarm(&mut self) {
        self.roaming.is_timed = false;
        let most = KEEP_MAX - std::mem::take(&mut self.roaming.begun);
        // All in half of their time.
        let ttl_ms = self.config.session.ttl_ms;
        let slots = u32::try_from(self.outbound.slots.len()).unwrap_or(u32::MAX);
        let share = u64::from(slots) * 2 * KEEP_EVERY_MS / ttl_ms.max(1);
        let soon = self.roaming.hurry.min(KEEP_MAX as u64);
        self.roaming.hurry -= soon;
        for _ in 0..=share.max(soon).min(u64::from(slots)) {
            self.roaming.round = (self.roaming.round + 1) % slots.max(1);
            if let Some(key) = self.outbound.key_at(self.roaming.round) {
                self.session_changed(key);
            }
        }
        let mut changed = std::mem::take(&mut self.roaming.changed);
        let (mut seen, mut told) = (0, 0);
        while told < most
            && let Some(key) = changed.get(seen)
        {
            told += usize::from(self.keep_with_broker(*key));
            seen += 1;
        }
        changed.drain(..seen);
        self.roaming.changed = changed;
        let count = self.roaming.left.len().saturating_sub(most - told);
        for session in self.roaming.left.split_off(count) {
            if let Some(snapshot) = self.sessions.look(session).cloned() {
                self.keep_detached(session, &snapshot);
            }
        }
        if self.outbound.len() > 0 || !self.roaming.left.is_empty() {
            self.time_keeping();
        }
    }

    /// There is a link to the broker that was not there before: it may have lost what it was told of all
    /// sessions.
    pub(super) fn keep_all_again(&mut self) {
        if self.config.session.ttl_ms > 0 {
            self.roaming.hurry = self.outbound.slots.len() as u64;
            self.roaming.left = self.sessions.left();
            self.time_keeping();
        }
    }

    /// Tells the broker of a session, unless that was done since it has changed. Whether it was told.
    fn keep_with_broker(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.outbound.get_mut(key) else { return false };
        if !std::mem::take(&mut connection.unsaved) {
            return false;
        }
        let Some(session) = connection.session.filter(|_| connection.is_open()) else {
            return false;
        };
        let Some(connection) = self.outbound.get(key) else { return false };
        let snapshot = self.snapshot(connection);
        // It outlives its time by as long as it may take until it is told of again.
        let ttl_ms = self.config.session.ttl_ms;
        self.tell_kept(session, &snapshot, ttl_ms + ttl_ms / 2 + 2 * KEEP_EVERY_MS, None);
        true
    }

    /// What the session of a connection has.
    fn snapshot(&self, connection: &Connection) -> Snapshot {
        let rare = connection.rare.as_ref();
        let known = connection.rooms.iter().filter(|it| !self.is_unknown_to_home(it));
        Snapshot {
            identity: Arc::clone(&connection.identity),
            rooms: known.filter_map(|membership| self.kept_room(membership)).collect(),
            patterns: rare.map_or_else(Vec::new, |rare| {
                rare.patterns.iter().map(|it| (it.pattern.clone(), it.interest.clone())).collect()
            }),
            state: rare.and_then(|rare| rare.state.clone()),
            names: connection.names(),
            since: connection.since(),
        }
    }

    /// A session is had by nobody here from now on.
    pub(super) fn keep_detached(&mut self, session: SessionId, snapshot: &Snapshot) {
        let ttl_ms = self.config.session.ttl_ms;
        if ttl_ms > 0 {
            self.tell_kept(session, snapshot, ttl_ms, None);
        }
    }

    /// What time it is, where a broker says whose sessions are.
    pub(super) fn now_with_broker(&self) -> Option<Moment> {
        self.broker.is_there().then_some(self.outbound.now.moment)
    }

    fn tell_kept(
        &mut self,
        session: SessionId,
        snapshot: &Snapshot,
        ttl_ms: u64,
        wanted_by: Option<Box<str>>,
    ) {
        if self.broker.is_up() {
            let owner = owner(&snapshot.identity);
            let (session, written) = (session.to_bytes(), snapshot.write());
            let since = snapshot.since;
            let keep = ToSessions::Keep { session, owner, since, ttl_ms, written, wanted_by };
            self.tell_broker(ToBroker::Session(keep));
        }
    }

    /// At a session's home: asks the broker before a connection goes on with it. False if there is
    /// none to ask.
    pub(super) fn fetch_session(
        &mut self,
        session: SessionId,
        by: ConnectionAddress,
        identity: &Arc<Identity>,
    ) -> bool {
        if !self.broker.is_up() {
            return false;
        }
        let here = self.sessions.identity(session);
        if here.is_some_and(|here| !here.same_user(identity)) {
            return false;
        }
        if let Some(before) = self.roaming.fetching.get_mut(&session)
            && before.identity.same_user(identity)
        {
            before.waiting.push_back(by);
            return true;
        }
        let at = self.outbound.now.moment.plus_ms(self.config.redis.timeout_ms);
        let timer = self.wheel.insert(at, Alarm::Fetch(session));
        let (waiting, identity) = (VecDeque::from([by]), Arc::clone(identity));
        let fetching = Fetching { waiting, identity, timer, is_taken: false, claim: None };
        if let Some(before) = self.roaming.fetching.insert(session, fetching) {
            // At most one of the two is of whom it belongs to, which the broker says.
            self.not_fetched(session, before);
        }
        self.ask_to_fetch(session);
        true
    }

    fn ask_to_fetch(&mut self, session: SessionId) {
        let Some(fetching) = self.roaming.fetching.get(&session) else { return };
        let ttl_ms = self.config.session.ttl_ms;
        let (session, owner) = (session.to_bytes(), owner(&fetching.identity));
        self.tell_broker(ToBroker::Session(ToSessions::Fetch { session, owner, ttl_ms }));
    }

    /// While one node was asked to let go of a session, another one has taken it: perhaps for the same
    /// client, who waits here no more.
    fn on_taken(&mut self, session: SessionId) {
        let Some(fetching) = self.roaming.fetching.get_mut(&session) else { return };
        fetching.is_taken = true;
        if let Some(by) = fetching.waiting.front().copied() {
            self.ask_whether_waits(session, by);
        }
    }

    /// Whether a connection still waits for a session that another node has taken. False if that was
    /// not the question.
    pub(super) fn goes_on_fetching(
        &mut self,
        session: SessionId,
        by: ConnectionAddress,
        waits: bool,
    ) -> bool {
        let fetching = self.roaming.fetching.get_mut(&session);
        let is_asked = |it: &&mut Fetching| it.is_taken && it.waiting.front() == Some(&by);
        let Some(fetching) = fetching.filter(is_asked) else { return false };
        if waits {
            fetching.is_taken = false;
            self.ask_to_fetch(session);
            return true;
        }
        fetching.waiting.pop_front();
        if let Some(by) = fetching.waiting.front().copied() {
            self.ask_whether_waits(session, by);
        } else {
            if let Some(fetching) = self.roaming.fetching.remove(&session) {
                self.not_fetched(session, fetching);
            }
        }
        true
    }

    fn not_resumed(&mut self, session: SessionId, by: ConnectionAddress) {
        let message = ToConnection::Resumed { connection: by.key, session, snapshot: None };
        self.outbound.send(by.core, message);
    }

    /// Those who wait for a session do not get it.
    fn not_fetched(&mut self, session: SessionId, fetching: Fetching) {
        self.wheel.cancel(fetching.timer);
        for by in fetching.waiting {
            self.not_resumed(session, by);
        }
        if let Some(claim) = fetching.claim {
            self.let_go(session, Some(claim.node));
        }
    }

    /// The broker did not say in time what it has of a session.
    pub(super) fn on_fetch_alarm(&mut self, session: SessionId) {
        match self.roaming.fetching.remove(&session) {
            Some(fetching) if fetching.claim.is_some() => self.not_fetched(session, fetching),
            Some(it) => self.resume_in_turn(session, it.waiting, &it.identity),
            None => {}
        }
    }

    fn resume_in_turn(
        &mut self,
        session: SessionId,
        all: VecDeque<ConnectionAddress>,
        identity: &Identity,
    ) {
        for by in all {
            self.resume_here(session, by, identity);
        }
    }

    /// The broker says something about a session.
    pub(super) fn on_session_news(&mut self, news: FromSessions) {
        match news {
            FromSessions::Fetched { session, outcome } => {
                self.on_fetched(SessionId::from_bytes(session), outcome);
            }
            FromSessions::Taken { session } => self.on_taken(SessionId::from_bytes(session)),
            FromSessions::Lost { session, claim } => {
                let session = SessionId::from_bytes(session);
                if self.home_core(&session) == self.core {
                    self.on_session_lost(session, claim);
                }
            }
        }
    }

    fn on_fetched(&mut self, session: SessionId, outcome: Result<Option<Found>, Fault>) {
        let Some(mut fetching) = self.roaming.fetching.remove(&session) else { return };
        let found = outcome.unwrap_or(None);
        let since = found.as_ref().map_or(0, |found| found.since);
        if let Some(claim) = fetching.claim.take_if(|claim| claim.since < since) {
            self.free_session(session, claim.node);
        }
        if fetching.claim.is_some() {
            // The other one was later.
            return self.not_fetched(session, fetching);
        }
        let Fetching { mut waiting, identity, timer, .. } = fetching;
        self.wheel.cancel(timer);
        let is_here = self.sessions.identity(session).is_some();
        let found = found.filter(|found| !(found.is_own && is_here));
        let depth = self.config.limits.depth;
        let read = found.and_then(|found| {
            let snapshot = Snapshot::read(&found.written, &identity, depth)?;
            Some(Snapshot { since: Since::told(found.since), ..snapshot })
        });
        let Some(snapshot) = read else {
            self.sessions.note_since(session, since);
            return self.resume_in_turn(session, waiting, &identity);
        };
        let Some(by) = waiting.pop_front() else { return };
        // Another node has had it since: what is here is old.
        self.let_go(session, None);
        self.sessions.open(session, by, &identity);
        self.sessions.note_since(session, since);
        self.metrics.sessions.set(self.sessions.len() as u64);
        let snapshot = Some(Box::new(snapshot));
        let message = ToConnection::Resumed { connection: by.key, session, snapshot };
        self.outbound.send(by.core, message);
        self.resume_in_turn(session, waiting, &identity);
    }

    /// Another node has a session, or wants it.
    fn on_session_lost(&mut self, session: SessionId, claim: Option<Claim>) {
        let Some(claim) = claim else { return self.let_go(session, None) };
        if let Some(fetching) = self.roaming.fetching.get_mut(&session) {
            if let Some(before) = fetching.claim.replace(claim) {
                self.free_session(session, before.node);
            }
        } else if self.sessions.since(session).is_some_and(|since| since > claim.since) {
            // Its client may have come back here since: if not, they are still waited for there.
            self.free_session(session, claim.node);
        } else {
            self.let_go(session, Some(claim.node));
        }
    }

    fn let_go(&mut self, session: SessionId, wanted_by: Option<Box<str>>) {
        match self.sessions.lose(session, wanted_by.clone()) {
            Loss::Unknown => {
                if let Some(wanted_by) = wanted_by {
                    self.free_session(session, wanted_by);
                }
            }
            Loss::Held(from, waiting) => {
                for to in waiting {
                    self.not_resumed(session, to);
                }
                let message = ToConnection::Takeover { connection: from.key, session };
                self.outbound.send(from.core, message);
            }
            Loss::Idle(snapshot, timer) => {
                self.wheel.cancel(timer);
                self.leave_session(session, wanted_by, *snapshot);
            }
        }
        self.metrics.sessions.set(self.sessions.len() as u64);
    }

    fn free_session(&mut self, session: SessionId, wanted_by: Box<str>) {
        let free = ToSessions::Free { session: session.to_bytes(), wanted_by };
        self.tell_broker(ToBroker::Session(free));
    }

    /// Nobody here has a session any more, and another node does, or will.
    pub(super) fn leave_session(
        &mut self,
        session: SessionId,
        wanted_by: Option<Box<str>>,
        snapshot: Snapshot,
    ) {
        if wanted_by.is_some() {
            let ttl_ms = self.config.session.ttl_ms;
            self.tell_kept(session, &snapshot, ttl_ms, wanted_by);
        }
        self.forget_rooms(session, snapshot);
    }
}
