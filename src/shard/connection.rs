//! One connection as the engine knows it, apart from its outbox.

use std::net::IpAddr;
use std::sync::Arc;

use crate::bucket::Limiter;
use crate::clock::Moment;
use crate::id::{ConnectionAddress, ConnectionKey, CoreId};
use crate::protocol::{OwnedData, Role};
use crate::room::broker::Since;
use crate::room::hub::{Interest, RoomIndex};
use crate::room::name::RoomKey;
use crate::room::pattern::Pattern;
use crate::room::publication::Form;
use crate::wheel::Timer;

use super::application::Asked;
use super::command::{Batch, LateJoin, Pending, Progress, Sending, Threshold};
use super::heartbeat::Pulse;
use super::identity::Identity;
use super::input::Opened;
use super::message::Asker;
use super::opening::Arrival;
use super::pace::Shares;
use super::session::{KeptRoom, NAMES_MAX, SessionId};

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages flow.
    Open,
    /// Our close frame is queued or written; the peer's is awaited.
    Closing,
    /// Both have said their last; the socket is to end.
    Ended,
}

/// What a connection does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends them back.
    Echo,
    /// Reads commands.
    Rooms,
}

/// No place among a room's members: a join is on its way.
pub(super) const NO_PLACE: u32 = u32::MAX;

/// A room of a connection.
#[derive(Debug)]
pub(super) struct Membership {
    /// Which, in the hub.
    pub(super) room: RoomIndex,
    /// Where among its members, or [`NO_PLACE`].
    pub(super) place: u32,
    /// Joins that its home has not answered yet.
    pub(super) joining: u16,
    /// It is in the room by itself, and never left it or asked for it.
    pub(super) implicit: bool,
    /// A good room token was shown for it, which stands for the right to join.
    pub(super) by_token: bool,
    pub(super) role: Role,
    /// The last offset that is known to have arrived: acknowledged, or written before a ping that
    /// was answered.
    pub(super) position: u64,
    /// The last offset that was queued before the ping that is on its way.
    pub(super) pinged: u64,
    /// What the session had there, until its return is answered.
    pub(super) kept: Option<Box<KeptRoom>>,
}

impl Membership {
    /// A join is on its way.
    pub(super) fn joining(room: RoomIndex) -> Self {
        Self {
            room,
            place: NO_PLACE,
            joining: 1,
            implicit: false,
            by_token: false,
            role: Role::Guest,
            position: 0,
            pinged: 0,
            kept: None,
        }
    }

    /// The connection is in the room by itself.
    pub(super) fn implicit(room: RoomIndex, place: u32) -> Self {
        Self { place, joining: 0, implicit: true, ..Self::joining(room) }
    }
}

/// So many rooms of a connection take no more memory than they need.
const ROOMS_EXACT: usize = 4;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ConnectionKey,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    /// How messages are written to it.
    pub(super) form: Form,
    /// It has been welcomed.
    pub(super) welcomed: bool,
    /// Its session has changed since the broker was told of it.
    pub(super) unsaved: bool,
    /// It counts for its tenant, and for its credential where that has a quota.
    pub(super) counted: bool,
    /// It counts for its user.
    pub(super) entered: bool,
    /// The end of its credential, or the notice of it.
    pub(super) expiry: Option<Timer>,
    /// The end that it was told of; 0: of none.
    pub(super) told_expiring_ms: u64,
    /// The longest message that may be sent deflated; 0: none.
    pub(super) deflate_up_to: u32,
    pub(super) address: Option<IpAddr>,
    pub(super) opened: Moment,
    pub(super) pulse: Pulse,
    /// The next time this connection is looked at: its heartbeat, or the end of its patience.
    pub(super) timer: Option<Timer>,
    /// What others call it.
    pub(super) name: Arc<str>,
    /// What nobody can guess; its name has a part of it.
    pub(super) secret: u64,
    pub(super) identity: Arc<Identity>,
    pub(super) session: Option<SessionId>,
    pub(super) rooms: Vec<Membership>,
    /// Commands that a room's home has not answered yet.
    pub(super) unanswered: u32,
    /// The answer to one of them may be long.
    pub(super) awaits_long: bool,
    /// What most connections never have.
    pub(super) rare: Option<Box<Rare>>,
}

/// A pattern that a connection receives.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) pattern: Pattern,
    pub(super) interest: Interest,
    /// Every core knows of it; before that, nothing is received.
    pub(super) holds: bool,
}

/// What most connections never have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What the client keeps.
    pub(super) state: Option<OwnedData>,
    /// The payload of the latest ping that could not be answered yet.
    pub(super) pong: Option<Box<[u8]>>,
    /// What is known before it has said who it is.
    pub(super) threshold: Option<Box<Threshold>>,
    /// A credential of it that is being judged.
    pub(super) auth: Option<Box<Pending>>,
    /// Joins of it by a room token that is being judged.
    pub(super) joins: Vec<LateJoin>,
    /// What is known of rooms before the welcome.
    pub(super) arrival: Option<Arrival>,
    /// Batches that wait for their last answer.
    pub(super) batches: Vec<Batch>,
    /// The number of the last batch.
    pub(super) last_batch: u32,
    /// Of a message that waits until it takes more answers: how far it was carried out.
    pub(super) progress: Option<Progress>,
    /// Messages for users that wait for their last answer.
    pub(super) sendings: Vec<Sending>,
    /// The number of the last of them.
    pub(super) last_send: u32,
    /// What the client was asked and has not answered.
    pub(super) asked: Vec<Asked>,
    /// The number of the last question.
    pub(super) last_asked: u64,
    /// Messages that could not be understood, and since when they are counted.
    pub(super) bad_messages: u16,
    pub(super) bad_since: Moment,
    pub(super) limiter: Limiter,
    /// With whom it shares what it may send, once it has sent something.
    pub(super) shares: Option<Box<Shares>>,
    pub(super) patterns: Vec<Subscription>,
    /// What earlier connections of its session were called, the latest last.
    pub(super) earlier: Vec<Arc<str>>,
    /// Since when this node has its session.
    pub(super) since: Since,
}

impl Connection {
    pub(super) fn new(
        opened: &Opened,
        purpose: Purpose,
        identity: Arc<Identity>,
        (name, secret): (Arc<str>, u64),
        now: Moment,
    ) -> Self {
        // Only a window of the full size reads every message deflated.
        let deflated = opened.deflate_up_to == u32::MAX;
        Self {
            key: opened.connection,
            purpose,
            phase: Phase::Open,
            form: Form { codec: opened.codec, deflated },
            welcomed: false,
            unsaved: false,
            counted: false,
            entered: false,
            expiry: None,
            told_expiring_ms: 0,
            deflate_up_to: opened.deflate_up_to,
            address: opened.address,
            opened: now,
            pulse: Pulse::new(now),
            timer: None,
            name,
            secret,
            identity,
            session: None,
            rooms: Vec::new(),
            unanswered: 0,
            awaits_long: false,
            rare: None,
        }
    }

    /// What was queued before the last ping has arrived; whether that was not known.
    pub(super) fn pinged_has_arrived(&mut self) -> bool {
        let mut has_moved = false;
        for membership in &mut self.rooms {
            has_moved |= membership.position < membership.pinged;
            membership.position = membership.position.max(membership.pinged);
        }
        has_moved
    }

    /// What earlier connections of its session were called, the latest last.
    pub(super) fn earlier(&self) -> &[Arc<str>] {
        self.rare.as_deref().map_or(&[], |rare| &rare.earlier)
    }

    /// Since when this node has its session.
    pub(super) fn since(&self) -> Since {
        self.rare.as_deref().map_or_else(Since::default, |rare| rare.since)
    }

    /// What the connections of its session were called, this one last.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let earlier = self.earlier();
        let first = (earlier.len() + 1).saturating_sub(NAMES_MAX);
        earlier[first..].iter().chain([&self.name]).cloned().collect()
    }

    /// Whether it is called that, or an earlier one of its session was.
    pub(super) fn is_called(&self, name: &Arc<str>) -> bool {
        self.name == *name || self.earlier().contains(name)
    }

    /// What tells it from others, and from one that goes on with its session does not.
    pub(super) fn reader(&self) -> u64 {
        self.session.map_or(self.secret, SessionId::reader)
    }

    /// Who asks, if it does.
    pub(super) fn asker(&self, core: CoreId) -> Asker {
        Asker {
            address: ConnectionAddress { core, key: self.key },
            name: Arc::clone(&self.name),
            identity: Arc::clone(&self.identity),
            form: self.form,
            ip: self.address,
            session: self.session,
        }
    }

    /// Whether its messages still count.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What most connections never have; it has it from now on.
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives back what it needed only on its way in.
    pub(super) fn forget_rare(&mut self) {
        if self.rare.as_deref().is_some_and(Rare::is_blank) {
            self.rare = None;
        }
    }

    /// The ping that could not be answered yet, which is answered now, or never.
    pub(super) fn take_pong(&mut self) -> Option<Box<[u8]>> {
        let pong = self.rare.as_mut()?.pong.take()?;
        self.forget_rare();
        Some(pong)
    }

    /// Adds a room. Most connections are in one or two: memory for more is not taken ahead.
    pub(super) fn add_room(&mut self, membership: Membership) {
        if self.rooms.len() < ROOMS_EXACT {
            self.rooms.reserve_exact(1);
        }
        self.rooms.push(membership);
    }

    /// The room at `index` in the hub.
    pub(super) fn membership(&mut self, room: RoomIndex) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }

    /// The last join of a room that waits for the keys of its token.
    pub(super) fn late_join(&mut self, room: &RoomKey) -> Option<&mut LateJoin> {
        self.rare.as_mut()?.joins.iter_mut().rev().find(|join| join.room == *room)
    }

    /// Notes that a member of a room has another place now.
    pub(super) fn moved(&mut self, room: RoomIndex, place: u32) {
        if let Some(membership) = self.membership(room) {
            membership.place = place;
        }
    }
}

impl Rare {
    /// Whether nothing in it needs to be remembered.
    fn is_blank(&self) -> bool {
        self.state.is_none()
            && self.pong.is_none()
            && self.threshold.is_none()
            && self.auth.is_none()
            && self.joins.is_empty()
            && self.arrival.is_none()
            && self.batches.is_empty()
            && self.progress.is_none()
            && self.sendings.is_empty()
            && self.asked.is_empty()
            // Numbers of questions are not used twice.
            && self.last_asked == 0
            && self.bad_messages == 0
            && self.limiter == Limiter::default()
            && self.patterns.is_empty()
            && self.earlier.is_empty()
            && self.since == Since::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_something_is_remembered() {
        assert!(Rare::default().is_blank());
        assert!(!Rare { last_asked: 1, ..Rare::default() }.is_blank(), "numbers go on");
    }

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 184, "{}", size_of::<Connection>());
        assert!(size_of::<Membership>() <= 40, "{}", size_of::<Membership>());
    }
}
