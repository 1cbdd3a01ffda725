//! The engine's side of the broker: with one, many nodes are one server, and it decides the order of
//! what is published; without one, a room's home is the authority and nothing here costs anything.
//!
//! A home follows its room: it opens the room with the broker, takes what the broker tells in the
//! order of offsets, and asks again where something is missing. What was asked of a room before it
//! was first open waits, for a bounded time; then the home goes by what it knows.
//!
//! Invariants: a room is followed as long as its home is there or something waits for it, and a home stays
//! as long as its room is followed, unless the room is deleted; what a home delivers under an epoch of the
//! broker, it delivers in the broker's order, each offset once or announced as lost; each publish that
//! waits is answered once.

mod attend;
mod bookmark;
mod call;
mod desk;
mod direct;
mod follow;
mod govern;
mod heed;
mod news;
mod overdue;
mod publish;
mod retry;
mod safety;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::clock::Moment;
use crate::config::Config;
use crate::hash::{Map, Seed};
use crate::id::{CoreId, NodeTag};
use crate::protocol::ErrorCode;
use crate::room::broker::{Beginning, Fault, FromBroker, Kept, Life, News, Seen, ToBroker};
use crate::room::home::too_often;
use crate::room::name::RoomKey;
use crate::room::refusal::Refusal;
use crate::wheel::Timer;

use super::Shard;
use super::ask::What;
use super::message::{Asker, ToHome};

use self::attend::Attending;
use self::bookmark::Reading;
use self::call::{Calling, Elsewhere};
use self::desk::Desk;
use self::direct::Sent;
use self::govern::Governing;
use self::heed::{Check, Ends};
use self::news::Held;
use self::overdue::{Expected, Given};
use self::publish::Pending;
pub(in crate::shard) use self::publish::{Outgoing, Way};
use self::retry::Retry;

/// News that a room keeps while it asks for what is missing before them.
const HELD_MAX: usize = 1_024;
/// What may wait for one room to be open.
const DEFERRED_MAX: usize = 4_096;
/// When what has its place should have come with the room's news.
const OVERDUE_MS: u64 = 1_000;
/// How long all that the broker keeps of a room is not asked for again: it may be much, and news wait.
const ALL_PAUSE_MS: u64 = 10_000;
/// When to try again what the broker could not do.
const RETRY_MS: u64 = 1_000;

/// Why nothing is done while other nodes write in a form that this one does not know.
const BARRED: &str = "the nodes on this Redis are of another version than this one";

/// What the engine knows of the broker.
#[derive(Debug)]
pub(super) struct Broker {
    /// Its place in the mesh; none: there is no broker.
    party: Option<CoreId>,
    /// What tells this process from others.
    node: u64,
    is_up: bool,
    /// There was word of whether it is in reach.
    is_known: bool,
    /// Other nodes write in a form that this one does not know.
    is_barred: bool,
    kept: Kept,
    /// The number of the link over which it was told last which connections users have.
    link: u64,
    rooms: Map<RoomKey, Followed>,
    /// Rooms of which the broker still has what was said here by a home that has ended.
    owed: BTreeSet<RoomKey>,
    pending: Map<u64, Pending>,
    pending_most: usize,
    /// Messages for connections of other nodes, by their tickets.
    sent: BTreeMap<u64, Sent>,
    last_ticket: u64,
    /// What connections of other nodes receive by patterns.
    elsewhere: Elsewhere,
    /// On core 0: what those of this node do.
    desk: Desk,
    /// Rooms that were called, and are not followed yet.
    called: BTreeSet<RoomKey>,
    checks: Vec<Check>,
    /// Counts questions whether a room was called.
    last_heed: u64,
    /// Up to where rooms were heard by patterns whose homes have ended.
    ended: Ends,
}

/// A room that is followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// How far, by the broker's word; none: it has said nothing yet.
    seen: Option<Seen>,
    /// What the broker said, until there is a home to take it.
    life: Option<Box<Life>>,
    /// The part of the broker that holds it is out of reach: that was told, or it could not be opened.
    is_severed: bool,
    /// The broker has said how it is since it was out of reach last.
    is_current: bool,
    /// An answer of the broker is awaited.
    is_asked: bool,
    /// All that the broker keeps of the room is wanted, not only what was not seen.
    wants_all: bool,
    /// Not asked for before that.
    all_from: Moment,
    /// When the room is opened again, so that the broker does not forget it.
    refresh: Option<Timer>,
    /// When what failed is tried again.
    retry: Retry,
    /// Until when what is asked of the room waits for it.
    patience: Option<Timer>,
    deferred: Vec<(CoreId, ToHome)>,
    held: VecDeque<Held>,
    /// Some news could not be kept.
    has_missed: bool,
    /// Places that are known to be given, and what is there has not come.
    expected: Option<Expected>,
    /// What had not come in time when the room was opened again.
    overdue: Option<Given>,
    /// Who is there.
    attending: Attending,
    /// What has been decided about it.
    governing: Governing,
    /// How far those had come who come in.
    reading: Reading,
    /// Whether others know that it is published in.
    calling: Calling,
    /// From where on it is to be heard, once it begins here.
    beginning: Option<Beginning>,
    /// What is behind this was heard here, or was not to be: where it began, or the first place that a
    /// call has named.
    heard_from: Option<Beginning>,
    /// What the broker said, until it is known whether the room was called before, and the number of
    /// that question.
    heeding: Option<(u64, Box<Life>)>,
}

impl Broker {
    pub(super) fn new(seed: Seed, cores: u16, config: &Config) -> Self {
        // The cores come first in the mesh, then the control plane, then the bridge.
        let party = config.redis.is_on().then(|| CoreId(cores + 1));
        let share = config.redis.queue_messages / u32::from(cores.max(1));
        Self {
            party,
            node: crate::node::id(seed),
            is_up: false,
            is_known: false,
            is_barred: false,
            kept: Kept::default(),
            link: 0,
            rooms: Map::with_hasher(seed),
            owed: BTreeSet::new(),
            pending: Map::with_hasher(seed),
            pending_most: share.max(1) as usize,
            sent: BTreeMap::new(),
            last_ticket: 0,
            elsewhere: Elsewhere::new(seed),
            desk: Desk::default(),
            called: BTreeSet::new(),
            checks: Vec::new(),
            last_heed: 0,
            ended: Ends::default(),
        }
    }

    /// What this process is called in the names of its connections.
    pub(super) fn tag(&self) -> NodeTag {
        NodeTag::of(self.node)
    }

    /// Whether it is in reach.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it was ever told if it is in reach.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// The number of the present link, or the last one.
    pub(super) fn link(&self) -> u64 {
        self.link
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.party.is_some()
    }

    /// All rooms that are followed, in an order that does not depend on the map.
    fn followed(&self) -> Vec<RoomKey> {
        let mut rooms: Vec<_> = self.rooms.keys().cloned().collect();
        rooms.sort_unstable();
        rooms
    }

    /// Whether something of a room waits for it.
    pub(super) fn is_awaiting(&self, room: &RoomKey) -> bool {
        self.rooms.get(room).is_some_and(|it| {
            it.patience.is_some()
                || it.governing.is_awaited()
                || it.reading.is_awaited()
                || it.calling.is_awaited()
        })
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.rooms.is_empty()
            && self.pending.is_empty()
            && self.sent.is_empty()
            && self.owed.is_empty()
            && self.desk.is_idle()
            && self.called.is_empty()
            && self.checks.is_empty()
    }
}

impl Shard {
    pub(super) fn tell_broker(&mut self, message: ToBroker) {
        if let Some(party) = self.broker.party {
            self.outbound.send(party, message);
        }
    }

    /// What such people have asked of the broker that it has not answered.
    pub(super) fn asked_of_broker(&self, is_one: impl Fn(&Asker) -> bool) -> Vec<u64> {
        let pending = self.broker.pending.iter();
        let published = pending.filter(|(_, it)| is_one(it.asker())).map(|(number, _)| *number);
        let rooms = self.broker.rooms.values();
        let moved = rooms.filter_map(|followed| followed.governing.asked(&is_one));
        let sent = self.broker.sent.iter().filter(|(_, it)| is_one(it.asker()));
        published.chain(moved).chain(sent.map(|(number, _)| *number)).collect()
    }

    /// The broker says something.
    pub(super) fn on_broker(&mut self, message: FromBroker) {
        match message {
            FromBroker::Link { is_up, kept, number } => self.on_link(is_up, kept, number),
            FromBroker::Barred => self.broker.is_barred = true,
            FromBroker::Opened { room, outcome } => self.on_room_opened(&room, outcome),
            FromBroker::Published { ticket, outcome } => self.on_published(ticket, outcome),
            FromBroker::News { room, news: News::Attendance(step) } => {
                self.on_step(&room, step);
                self.tend(&room);
            }
            FromBroker::Looked { room, outcome } => self.on_looked(&room, outcome),
            FromBroker::Said { room, outcome } => self.on_said(&room, outcome),
            FromBroker::NotForgotten { room } => self.owe(&room),
            FromBroker::Lapsed { node } => self.on_lapsed(node),
            FromBroker::News { room, news: News::Amendment(amendment) } => {
                self.on_amendment(&room, &amendment);
                self.tend(&room);
            }
            FromBroker::Bookmarks { room, news } => self.on_bookmarks(&room, news),
            FromBroker::Recalled { room, outcome } => self.on_recalled(&room, outcome),
            FromBroker::Voted { room, ticket, outcome } => self.on_voted(&room, ticket, outcome),
            FromBroker::Entered { place, outcome } => self.on_place(&place, outcome),
            FromBroker::Displaced { connection } => self.on_displaced(connection),
            FromBroker::News { room, news: News::Invited(invited) } => {
                self.spread_invitation(&room, &invited);
            }
            FromBroker::Invited { connection, invited } => {
                self.on_remembered(connection, &invited);
            }
            FromBroker::News { room, news } => {
                self.on_news(&room, news);
                self.tend(&room);
            }
            FromBroker::Severed { room } => {
                if let Some(followed) = self.broker.rooms.get_mut(&room) {
                    (followed.is_severed, followed.is_current) = (true, false);
                }
                self.stop_attending(&room);
            }
            FromBroker::Direct(news) => self.on_direct_news(news),
            FromBroker::Session(news) => self.on_session_news(news),
            FromBroker::Patterns(outcome) => self.on_patterns(outcome),
            FromBroker::Called { room, outcome } => self.on_call_noted(&room, outcome),
            FromBroker::Missed { room } => {
                if self.broker.rooms.contains_key(&room) {
                    self.open_again(&room);
                }
            }
        }
    }

    /// The broker is in reach, or no longer.
    fn on_link(&mut self, is_up: bool, kept: Kept, number: u64) {
        let was_up = std::mem::replace(&mut self.broker.is_up, is_up);
        self.broker.is_known = true;
        self.broker.kept = kept;
        self.broker.is_barred &= !is_up;
        self.homes.bounds.kept = kept;
        if is_up && !was_up {
            for room in self.broker.followed() {
                self.open_again(&room);
            }
            self.pay(None);
            self.begin_to_read_patterns();
            self.call_again();
        } else if !is_up {
            self.broker.rooms.values_mut().for_each(|it| it.is_current = false);
            self.fail_pending();
            self.fail_sent();
            self.stop_calling();
            self.stop_reading_patterns();
            for room in self.broker.followed() {
                self.stop_attending(&room);
            }
            self.stop_bookmarks();
            self.stop_governing();
            self.decide_places();
            for room in self.broker.followed() {
                self.tend(&room);
            }
        }
        if is_up && std::mem::replace(&mut self.broker.link, number) != number {
            self.hold_places(number);
            self.keep_all_again();
        }
    }

    /// Keeps back what is for a room that is not open with the broker yet.
    pub(super) fn await_broker(&mut self, from: CoreId, message: ToHome) -> Option<ToHome> {
        if !self.broker.is_there() || room_of(&message).is_none() {
            return Some(message);
        }
        let message = match message {
            ToHome::Ask(ask) if self.broker.is_barred && !is_parting(&ask.what) => {
                self.refuse_ask(*ask, unavailable(BARRED));
                return None;
            }
            message => message,
        };
        let Some(room) = room_of(&message) else { return Some(message) };
        if !self.broker.rooms.contains_key(room) {
            if !begins(&message) {
                return Some(message);
            }
            let room = room.clone();
            self.begin_to_follow(&room);
            if self.broker.is_up {
                let patience_ms = self.config.redis.timeout_ms;
                let at = self.outbound.now.moment.plus_ms(patience_ms);
                let timer = self.wheel.insert(at, super::Alarm::Patience(room.clone()));
                if let Some(followed) = self.broker.rooms.get_mut(&room) {
                    followed.patience = Some(timer);
                }
            }
        }
        self.note_beginning(&message);
        let has_to_read = self.has_to_read(&message);
        let followed = room_of(&message).and_then(|room| self.broker.rooms.get_mut(room));
        let holds = |it: &&mut Followed| {
            it.patience.is_some() || it.governing.is_founding() || it.reading.holds || has_to_read
        };
        let Some(followed) = followed.filter(holds) else {
            self.bring_bookmark(&message);
            return Some(message);
        };
        followed.reading.holds |= has_to_read;
        if followed.deferred.len() >= DEFERRED_MAX
            && let ToHome::Ask(ask) = message
        {
            self.refuse_ask(*ask, unavailable("too much waits for this room"));
            return None;
        }
        followed.deferred.push((from, message));
        None
    }

    /// Whether what is said of a room is what this node knows of it, and the broker has not said so.
    pub(super) fn is_local(&self, room: &RoomKey) -> bool {
        let is_told = |it: &Followed| it.is_current && it.seen.is_some();
        self.broker.is_there() && !self.broker.rooms.get(room).is_some_and(is_told)
    }

    /// What the home of a room has seen of it, by the broker's word.
    fn seen_by_broker(&self, room: &RoomKey) -> Option<Seen> {
        self.broker.rooms.get(room).and_then(|followed| followed.seen.clone())
    }
}

/// The room whose home a message is for, if that may have to be asked about first.
fn room_of(message: &ToHome) -> Option<&RoomKey> {
    match message {
        ToHome::Follow { parent, .. } => Some(parent),
        message => message.commanded_room(),
    }
}

/// Whether a message is about a room that may be there on other nodes, or is there after it.
fn begins(message: &ToHome) -> bool {
    match message {
        ToHome::Ask(ask) => !is_parting(&ask.what),
        ToHome::Follow { .. } | ToHome::Called { .. } => true,
        _ => false,
    }
}

/// Whether that is for who is in a room already, and says nothing to others of what is in it.
fn is_parting(what: &What) -> bool {
    matches!(what, What::Leave | What::PresenceSet(_) | What::Ack(_))
}

fn unavailable(message: &'static str) -> Refusal {
    Refusal { code: ErrorCode::Unavailable, message, retry_after_ms: Some(RETRY_MS) }
}

/// What is told of what the broker did not do, or may have done.
fn not_done(fault: Fault) -> Refusal {
    let message = match fault {
        Fault::Unsent => "Redis is out of reach",
        Fault::Lost => "Redis did not answer: whether it was done is not known",
        Fault::NodeAway => "the node that it is on does not answer",
        Fault::Overload => "too much waits for Redis",
        Fault::ReadOnly => "Redis takes no writes",
        Fault::OutOfMemory => "Redis has no memory left",
        Fault::NoReplicas => "Redis has fewer replicas than it wants to take writes",
        Fault::Denied => "Redis does not allow it",
        Fault::TooSoon(left_ms) => return too_often(left_ms),
        Fault::TooFewReplicas => {
            "too few replicas of Redis have it: whether the message stays is not known"
        }
        Fault::Other => "Redis has refused it",
    };
    Refusal { code: fault.code(), ..unavailable(message) }
}

/// An epoch that no broker gave.
pub(super) fn local_epoch(chance: &str) -> Arc<str> {
    format!("0.{chance}").into()
}
