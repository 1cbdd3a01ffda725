//! Sessions on their home core: which connection has one, and what a connection that went has left.
//!
//! Invariants: a session is had by at most one connection; whoever resumes it gets what the last one
//! left, after that one has let go; those who ask for one at once get it in turn, and nobody loses it
//! to a connection that has gone meanwhile; one that nobody has is forgotten after its time.

mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Moment;
use crate::hash::{Map, Seed};
use crate::id::ConnectionAddress;
use crate::protocol::OwnedData;
use crate::room::broker::Since;
use crate::room::hub::Interest;
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;
use crate::wheel::Timer;

use super::identity::Identity;

pub(super) use self::wire::owner;

/// So many connections of a session are remembered by their names.
pub(super) const NAMES_MAX: usize = 16;

/// What a client shows to go on where it was. Secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(super) [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

impl SessionId {
    /// What a client wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (len == bytes.len()).then_some(Self(bytes))
    }

    /// What tells it from others, where that need not be kept from anybody here.
    pub(super) fn reader(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// As it is told to the client.
    pub(super) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// A room that a session was in.
#[derive(Clone, Debug)]
pub struct KeptRoom {
    /// Which.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// The last offset that is known to have arrived.
    pub position: u64,
    /// What was wanted of it.
    pub interest: Interest,
    /// A good room token was shown for it.
    pub by_token: bool,
    /// Its home on this node keeps the room for the session.
    pub is_counted: bool,
}

/// What a connection leaves to the next one of its session.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Where it was.
    pub rooms: Vec<KeptRoom>,
    /// What it received by patterns.
    pub patterns: Vec<(Pattern, Interest)>,
    /// What the client kept.
    pub state: Option<OwnedData>,
    /// What its connections were called, the latest last: what one of them published, and did not want
    /// back, none of them gets.
    pub names: Vec<Arc<str>>,
    /// Since when this node has it.
    pub since: Since,
}

impl Snapshot {
    /// What it holds in memory, but for what others hold, too.
    pub(super) fn content_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.rooms)
            + size_of_val(&*self.patterns)
            + size_of_val(&*self.names)
            + self.state.as_ref().map_or(0, |state| state.as_data().bytes().len())
    }
}

/// Who has a session.
#[derive(Debug)]
enum Holder {
    /// A connection.
    Connection(ConnectionAddress),
    /// A connection that is to let go for another one, if that still waits; behind it, others wait.
    Moving { from: ConnectionAddress, to: ConnectionAddress, behind: Option<Box<Line>> },
    /// A connection that has been told to let go, for another node; none: that has it already.
    Leaving { from: ConnectionAddress, wanted_by: Option<Box<str>> },
    /// Nobody, until the timer.
    Nobody { snapshot: Box<Snapshot>, timer: Timer },
}

/// Who else waits, first come first. Boxed where it stands, because hardly ever is there one, and each
/// session would be larger by 24 bytes for it.
#[derive(Debug, Default)]
struct Line(VecDeque<ConnectionAddress>);

#[derive(Debug)]
struct Session {
    identity: Arc<Identity>,
    holder: Holder,
    /// As in what it leaves, or later.
    since: u64,
}

impl Session {
    /// A connection has it now; who takes it from that one, if somebody waits.
    fn hold(
        &mut self,
        by: ConnectionAddress,
        behind: Option<Box<Line>>,
    ) -> Option<ConnectionAddress> {
        let mut behind = behind.unwrap_or_default();
        let next = behind.0.pop_front();
        let behind = Some(behind).filter(|it| !it.0.is_empty());
        self.holder = match next {
            Some(to) => Holder::Moving { from: by, to, behind },
            None => Holder::Connection(by),
        };
        next
    }
}

/// What a request to resume leads to.
#[derive(Debug)]
pub(super) enum Resumption {
    /// It is unknown, another's, or on its way to another node.
    Refused,
    /// Here is what was left; the timer is no longer needed.
    Resumed(Box<Snapshot>, Timer),
    /// Another connection has it: ask whether this one still waits.
    Contested,
    /// Others are before it.
    Behind,
}

/// What a connection's letting go leads to.
#[derive(Debug)]
pub(super) enum Release {
    /// It had the session no more.
    Stale(Box<Snapshot>),
    /// Another one waits for it; if there is a next, ask whether that still waits.
    HandOver(ConnectionAddress, Box<Snapshot>, Option<ConnectionAddress>),
    /// It is kept: set a timer.
    Keep(Box<Snapshot>),
    /// Another node has it, or wants it.
    Leave(Option<Box<str>>, Box<Snapshot>),
}

/// What it leads to that another node has a session.
#[derive(Debug)]
pub(super) enum Loss {
    /// It is not here.
    Unknown,
    /// This connection has to let go, and then [`Release::Leave`] follows; the others get nothing.
    Held(ConnectionAddress, Vec<ConnectionAddress>),
    /// Nobody here had it; the timer is no longer needed.
    Idle(Box<Snapshot>, Timer),
}

/// The sessions whose home a core is.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: Map<SessionId, Session>,
}

impl Sessions {
    pub(super) fn new(seed: Seed) -> Self {
        Self { by_id: Map::with_hasher(seed) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A connection begins one.
    pub(super) fn open(&mut self, id: SessionId, by: ConnectionAddress, identity: &Arc<Identity>) {
        let identity = Arc::clone(identity);
        self.by_id.insert(id, Session { identity, holder: Holder::Connection(by), since: 0 });
    }

    /// A connection asks to go on with one; none is the time where no broker says whose that is.
    pub(super) fn resume(
        &mut self,
        id: SessionId,
        by: ConnectionAddress,
        identity: &Identity,
        now: Option<Moment>,
    ) -> Resumption {
        let Some(session) = self.by_id.get_mut(&id) else { return Resumption::Refused };
        if !session.identity.same_user(identity) {
            return Resumption::Refused;
        }
        match std::mem::replace(&mut session.holder, Holder::Connection(by)) {
            Holder::Nobody { mut snapshot, timer } => {
                snapshot.since.come_back(session.since, now);
                Resumption::Resumed(snapshot, timer)
            }
            Holder::Connection(from) => {
                session.holder = Holder::Moving { from, to: by, behind: None };
                Resumption::Contested
            }
            Holder::Moving { from, to, mut behind } => {
                behind.get_or_insert_default().0.push_back(by);
                session.holder = Holder::Moving { from, to, behind };
                Resumption::Behind
            }
            holder @ Holder::Leaving { .. } => {
                session.holder = holder;
                Resumption::Refused
            }
        }
    }

    /// A connection for which another one is to let go still waits: the other one.
    pub(super) fn yields(&self, id: SessionId, to: ConnectionAddress) -> Option<ConnectionAddress> {
        match self.by_id.get(&id)?.holder {
            Holder::Moving { from, to: it, .. } if it == to => Some(from),
            _ => None,
        }
    }

    /// A connection for which another one is to let go has gone: the next that waits.
    pub(super) fn withdraw(
        &mut self,
        id: SessionId,
        to: ConnectionAddress,
    ) -> Option<ConnectionAddress> {
        let session = self.by_id.get_mut(&id)?;
        let Holder::Moving { from, to: it, behind } = &mut session.holder else { return None };
        if *it != to {
            return None;
        }
        let (from, behind) = (*from, behind.take());
        session.hold(from, behind)
    }

    /// A connection lets go; the time as in `resume`.
    pub(super) fn release(
        &mut self,
        id: SessionId,
        by: ConnectionAddress,
        mut snapshot: Box<Snapshot>,
        now: Option<Moment>,
    ) -> Release {
        let Some(session) = self.by_id.get_mut(&id) else { return Release::Stale(snapshot) };
        match &mut session.holder {
            Holder::Moving { from, to, behind } if *from == by => {
                snapshot.since.come_back(session.since, now);
                let (to, behind) = (*to, behind.take());
                let next = session.hold(to, behind);
                Release::HandOver(to, snapshot, next)
            }
            Holder::Leaving { from, wanted_by } if *from == by => {
                snapshot.since.note(session.since);
                let wanted_by = wanted_by.take();
                self.by_id.remove(&id);
                Release::Leave(wanted_by, snapshot)
            }
            Holder::Connection(holder) if *holder == by => {
                snapshot.since.note(session.since);
                Release::Keep(snapshot)
            }
            _ => Release::Stale(snapshot),
        }
    }

    /// The broker has said since when this node has it.
    pub(super) fn note_since(&mut self, id: SessionId, since: u64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.since = session.since.max(since);
        }
    }

    /// Since when this node has it, by the broker's clock, if it does.
    pub(super) fn since(&self, id: SessionId) -> Option<u64> {
        self.by_id.get(&id).map(|session| session.since)
    }

    /// Nobody has it until `timer`.
    pub(super) fn keep(&mut self, id: SessionId, snapshot: Box<Snapshot>, timer: Timer) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.holder = Holder::Nobody { snapshot, timer };
        }
    }

    /// Its time is over: what it had left, if still nobody has it.
    pub(super) fn expire(&mut self, id: SessionId) -> Option<Box<Snapshot>> {
        let session = self.by_id.get(&id)?;
        if !matches!(session.holder, Holder::Nobody { .. }) {
            return None;
        }
        match self.by_id.remove(&id)?.holder {
            Holder::Nobody { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }

    /// Another node has it, or wants it.
    pub(super) fn lose(&mut self, id: SessionId, wanted_by: Option<Box<str>>) -> Loss {
        let Some(session) = self.by_id.get_mut(&id) else { return Loss::Unknown };
        let (from, waiting) = match &mut session.holder {
            Holder::Connection(from) | Holder::Leaving { from, .. } => (*from, Vec::new()),
            Holder::Moving { from, to, behind } => {
                let behind = behind.take().unwrap_or_default();
                (*from, std::iter::once(*to).chain(behind.0).collect())
            }
            Holder::Nobody { .. } => {
                return match self.by_id.remove(&id).map(|session| session.holder) {
                    Some(Holder::Nobody { snapshot, timer }) => Loss::Idle(snapshot, timer),
                    _ => Loss::Unknown,
                };
            }
        };
        session.holder = Holder::Leaving { from, wanted_by };
        Loss::Held(from, waiting)
    }

    /// Those that nobody has now.
    pub(super) fn left(&self) -> Vec<SessionId> {
        let all = self.by_id.iter();
        let left = all.filter(|(_, it)| matches!(it.holder, Holder::Nobody { .. }));
        let mut left: Vec<_> = left.map(|(id, _)| *id).collect();
        left.sort_unstable_by_key(|id| id.0);
        left
    }

    /// What was left of one, if nobody has it now.
    pub(super) fn look(&self, id: SessionId) -> Option<&Snapshot> {
        match &self.by_id.get(&id)?.holder {
            Holder::Nobody { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }

    /// Whether it is here, and whose it is.
    pub(super) fn identity(&self, id: SessionId) -> Option<&Arc<Identity>> {
        self.by_id.get(&id).map(|session| &session.identity)
    }

    /// Forgets one that nobody is to resume.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.by_id.remove(&id);
    }
}
