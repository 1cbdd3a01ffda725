//! The engine of one core: inputs in, effects out. It holds the connections' sessions and outboxes,
//! the rooms whose home this core is, and the local members of all other rooms.
//!
//! Invariants: it does no I/O and knows no time but the one it is given; the same inputs give the
//! same outputs; what it queues for a connection is bounded.

pub mod application;
pub mod ask;
mod audit;
mod blame;
mod broker;
mod closing;
mod command;
mod connection;
mod departure;
pub mod door;
mod echo;
mod edict;
mod effect;
mod eligible;
mod expiry;
mod fanout;
mod foreign;
mod heartbeat;
mod homes;
pub mod identity;
mod inherit;
mod input;
pub mod invitation;
mod life;
pub mod message;
mod opening;
mod outbound;
mod outbox;
mod pace;
mod patterns;
mod quota;
mod receipt;
mod records;
mod roaming;
mod run;
pub mod session;
mod setup;
#[cfg(test)]
pub(crate) mod tests;
mod users;
mod watch;

use std::sync::Arc;

use crate::clock::{Moment, Now};
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionAddress, ConnectionKey, CoreId, TenantId};
use crate::metrics::{self, Gap};
use crate::protocol::CloseReason;
use crate::room::hub::Hub;
use crate::room::name::{RoomKey, RoomName};
use crate::room::pattern::Pattern;
use crate::room::publication::Press;
use crate::tenant::Tenants;
use crate::wheel::Wheel;
use crate::ws::MessageKind;

pub use audit::Violation;
pub use closing::PATIENCE_MS;
pub use door::{Admission, Claim, Denied, Entry, Later, Page, Pages};
pub use edict::{Carried, Edict};
pub use effect::{Effects, Failure};
pub use fanout::CROWD;
pub use foreign::Foreign;
pub use input::{Input, Opened, Route};
pub use message::CoreMessage;
pub use outbox::Outbox;
pub use pace::Senders;
pub use setup::{Entropy, Setup};
pub use watch::Watch;

use self::application::Handlers;
use self::broker::Broker;
use self::closing::Drain;
use self::connection::Purpose;
use self::door::Door;
use self::edict::Edicts;
use self::fanout::Fanout;
use self::homes::Homes;
use self::identity::Identity;
use self::inherit::Inheritance;
use self::invitation::Invitations;
use self::outbound::Outbound;
use self::patterns::Subscriptions;
use self::roaming::Roaming;
use self::session::{SessionId, Sessions};
use self::users::Users;

/// What a timer is for.
#[derive(Clone, Debug)]
enum Alarm {
    /// Look at a connection: its heartbeat, or the end of its patience.
    Connection(ConnectionKey),
    /// Send the next connections away.
    Drain,
    /// Look at a room: presence to tell, old history.
    Room(RoomKey),
    /// A connection has not said in time who it is.
    Door(ConnectionKey),
    /// A credential runs out.
    Expiry(ConnectionKey),
    /// An edict that some core has not carried out.
    Edict(u64),
    /// A session was not resumed in time.
    Session(SessionId),
    /// A client did not answer a question in time.
    Question(ConnectionKey, u64),
    /// Some cores did not say in time how many took a message.
    Receipt(u64),
    /// The broker did not say in time how a room is.
    Patience(RoomKey),
    /// The broker has not decided about a motion in time.
    Motion(RoomKey, u64),
    /// A room is to be opened again.
    Reopen(RoomKey),
    /// The broker could not do something for a room.
    Retry(RoomKey),
    /// What was said of who is in a room is to be taken back.
    Owed(RoomKey),
    /// What was published here should have come with a room's news.
    Overdue(RoomKey),
    /// A call of a room has not been noted.
    Call(RoomKey),
    /// Ask the broker about patterns.
    Patterns,
    /// Not all nodes know a pattern in time.
    Pattern(TenantId, Pattern),
    /// Tell the broker of sessions.
    Keep,
    /// The broker did not say in time what it has of a session.
    Fetch(SessionId),
    /// The broker did not say in time what became of a publish.
    Ticket(u64),
    /// Nobody said in time what became of a message for a connection of another node.
    Sent(u64),
    /// Tell the broker again which connections users have.
    Places,
    /// For the test suite.
    Fault(ConnectionKey),
}

/// The engine of one core.
#[derive(Debug)]
pub struct Shard {
    core: CoreId,
    cores: u16,
    config: Arc<Config>,
    seed: Seed,
    entropy: Box<dyn Entropy>,
    /// What users and addresses send, on all cores.
    senders: Arc<Senders>,
    outbound: Outbound,
    hub: Hub,
    fanout: Fanout,
    homes: Homes,
    inheritance: Inheritance,
    broker: Broker,
    invitations: Invitations,
    sessions: Sessions,
    roaming: Roaming,
    door: Door,
    edicts: Edicts,
    users: Users,
    tenants: Arc<Tenants>,
    subscriptions: Subscriptions,
    handlers: Arc<Handlers>,
    press: Press,
    /// Who everyone is where nothing is known of anyone.
    anonymous: Arc<Identity>,
    /// The room that everyone is in.
    everyone: RoomName,
    wheel: Wheel<Alarm>,
    drain: Option<Drain>,
    metrics: Arc<metrics::Core>,
    /// Whether a call goes on, or ended in a panic.
    is_called: bool,
    /// Whose doing it would be.
    blame: Option<ConnectionAddress>,
    deliveries_caused: u64,
}

impl Shard {
    /// An engine with no connections.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup {
            core,
            cores,
            config,
            seed,
            entropy,
            metrics,
            policy,
            tenants,
            senders,
            stopwatch,
        } = setup;
        let outbound = Outbound::new(core, cores, Arc::clone(&config));
        metrics.outbox_limit_bytes.set(outbound.pool.budget_bytes);
        Self {
            core,
            cores,
            seed,
            entropy,
            senders,
            outbound,
            hub: Hub::new(seed),
            fanout: Fanout::default(),
            homes: Homes::new(seed, cores, &config, &tenants),
            inheritance: Inheritance::new(seed),
            broker: Broker::new(seed, cores, &config),
            invitations: Invitations::new(seed),
            sessions: Sessions::new(seed),
            roaming: Roaming::new(seed),
            door: Door::new(policy, &config, seed),
            edicts: Edicts::new(seed),
            users: Users::new(seed),
            tenants,
            subscriptions: Subscriptions::new(seed),
            handlers: Arc::default(),
            press: Press::new(config.deflate.level, config.deflate.min_bytes, stopwatch),
            anonymous: Arc::new(Identity::anonymous()),
            everyone: RoomName::everyone(),
            wheel: Wheel::new(),
            drain: None,
            metrics,
            deliveries_caused: 0,
            blame: None,
            is_called: false,
            config,
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Effects) {
        self.enter(now, effects);
        match input {
            Input::Opened(opened) => self.on_opened(*opened),
            Input::Message { connection, kind, payload, frames } => {
                self.on_message(connection, kind, payload, frames);
            }
            Input::Alive { connection } => self.hear(connection),
            Input::Ping { connection, payload } => self.on_ping(connection, payload),
            Input::Pong { connection, payload } => self.on_pong(connection, payload),
            Input::CloseFrame { connection, code } => self.on_close_frame(connection, code),
            Input::Fault { connection, fault } => self.fault(connection, fault),
            Input::Overload { connection } => self.overload(connection),
            Input::Failed { connection } => self.close(connection, CloseReason::Internal),
            Input::Lost { connection } => self.on_lost(connection),
            Input::Written { connection } => self.on_written(connection),
            Input::Core { from, message } => self.on_core(from, message),
            Input::Edict { number, edict } => self.on_edict(number, &edict),
            Input::Answer(answer) => self.on_verdict(&answer),
            Input::Question(question) => self.on_question(&question),
            Input::Drain { window_ms } => self.begin_drain(window_ms),
        }
        self.leave(effects);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) {
        self.enter(now, effects);
        while let Some(alarm) = self.wheel.expire(now.moment) {
            self.blame = None;
            match alarm {
                Alarm::Connection(key) => {
                    self.blame(key);
                    self.on_connection_alarm(key);
                }
                Alarm::Fault(key) => {
                    self.blame(key);
                    panic!("a panic on request");
                }
                Alarm::Drain => self.drain_step(),
                Alarm::Room(key) => self.on_room_alarm(&key),
                Alarm::Door(key) => self.on_door_alarm(key),
                Alarm::Expiry(key) => self.on_expiry_alarm(key),
                Alarm::Edict(number) => self.on_edict_alarm(number),
                Alarm::Session(session) => self.on_session_alarm(session),
                Alarm::Question(key, id) => self.on_question_alarm(key, id),
                Alarm::Receipt(receipt) => self.on_receipt_alarm(receipt),
                Alarm::Patience(room) => self.on_patience_alarm(&room),
                Alarm::Motion(room, ticket) => self.on_motion_alarm(&room, ticket),
                Alarm::Reopen(room) => self.on_reopen_alarm(&room),
                Alarm::Retry(room) => self.on_retry_alarm(&room),
                Alarm::Owed(room) => self.pay(Some(&room)),
                Alarm::Overdue(room) => self.on_overdue_alarm(&room),
                Alarm::Ticket(ticket) => self.on_ticket_alarm(ticket),
                Alarm::Sent(ticket) => self.on_sent_alarm(ticket),
                Alarm::Places => self.on_places_alarm(),
                Alarm::Call(room) => self.on_call_alarm(&room),
                Alarm::Patterns => self.on_patterns_alarm(),
                Alarm::Pattern(tenant, pattern) => self.on_pattern_alarm(tenant, &pattern),
                Alarm::Keep => self.on_keep_alarm(),
                Alarm::Fetch(session) => self.on_fetch_alarm(session),
            }
            self.hear_oneself();
        }
        self.leave(effects);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.wheel.next()
    }

    /// Whether it is known how the link to Redis is, or there is no Redis.
    #[must_use]
    pub fn knows_link(&self) -> bool {
        !self.broker.is_there() || self.broker.is_known()
    }

    /// Whether Redis is in reach.
    #[must_use]
    pub fn has_link(&self) -> bool {
        self.broker.is_up()
    }

    /// Whether Redis is in reach and is still to be told, or to confirm, how far users have come.
    #[must_use]
    pub fn owes_broker(&self) -> bool {
        self.broker.is_up() && self.homes.rooms.values().any(|home| home.room.owes_bookmarks())
    }

    /// The end of a tick: all that was published in it is queued, to be flushed next.
    pub fn settle(&mut self, now: Now, effects: &mut Effects) {
        self.enter(now, effects);
        self.settle_rooms();
        self.count_drops();
        self.outbound.pool.tick = self.outbound.pool.tick.wrapping_add(1);
        self.leave(effects);
    }

    /// What waits to be written to a connection.
    pub fn outbox(&mut self, connection: ConnectionKey) -> Option<&mut Outbox> {
        let now = self.outbound.now.moment;
        self.outbound.slot_mut(connection)?;
        let slot = self.outbound.slots.get_mut(connection.index as usize)?;
        if slot.outbox.is_expiring() {
            let codec = slot.connection.as_ref()?.form.codec;
            slot.outbox.expire(now, codec, &mut self.outbound.pool);
        }
        Some(&mut slot.outbox)
    }

    /// Whether a connection has answers to come, or bytes that wait to be written.
    #[must_use]
    pub fn owes(&self, connection: ConnectionKey) -> bool {
        let Some(slot) = self.outbound.slots.get(connection.index as usize) else { return false };
        let Some(peer) = &slot.connection else { return false };
        slot.generation == connection.generation
            && (peer.unanswered > 0 || peer.is_within_message() || !slot.outbox.is_empty())
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.outbound.len()
    }

    /// Who connections are that come from now on, where no credential says it.
    pub fn assume(&mut self, identity: Arc<Identity>) {
        self.anonymous = identity;
    }

    /// What answers messages whose type is no command, from now on.
    pub fn answer_with(&mut self, handlers: Arc<Handlers>) {
        self.handlers = handlers;
    }

    /// Which core it is the engine of.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Gives back what large messages have taken.
    pub fn give_back(&mut self) {
        self.press.give_back();
        self.outbound.give_back();
    }

    /// Hands on what was counted in this tick.
    fn count_drops(&mut self) {
        let drops = std::mem::take(&mut self.outbound.pool.drops);
        let gaps = &self.metrics.gaps;
        gaps.figure(Gap::SlowConsumer).add(drops.slow_consumer);
        gaps.figure(Gap::Expired).add(drops.expired);
        gaps.figure(Gap::Overload).add(drops.overload);
        gaps.figure(Gap::Transient).add(drops.transient);
        gaps.figure(Gap::HistoryTruncated).add(drops.history_truncated);
        gaps.figure(Gap::EpochChanged).add(drops.epoch_changed);
        self.metrics.deflate.add(self.press.take_tally());
        self.metrics.outbox_bytes.set(self.outbound.pool.budget.held_bytes());
    }

    /// Collects into the caller's effects, without handing them down through every call.
    fn enter(&mut self, now: Now, effects: &mut Effects) {
        self.outbound.now = now;
        std::mem::swap(&mut self.outbound.effects, effects);
        self.is_called = true;
    }

    fn leave(&mut self, effects: &mut Effects) {
        self.hear_oneself();
        self.is_called = false;
        self.blame = None;
        std::mem::swap(&mut self.outbound.effects, effects);
    }

    /// What this core has to say to itself, until it has no more to say.
    fn hear_oneself(&mut self) {
        while let Some(message) = self.outbound.local.pop_front() {
            self.on_core(self.core, message);
        }
    }

    fn on_message(
        &mut self,
        key: ConnectionKey,
        kind: MessageKind,
        payload: &mut [u8],
        frames: u32,
    ) {
        // What it has said before shows no life.
        if !self.is_within_message(key) {
            self.hear(key);
        }
        let Some(connection) = self.outbound.get(key).filter(|c| c.is_open()) else { return };
        match connection.purpose {
            Purpose::Echo => self.echo(key, kind, payload),
            Purpose::Rooms => self.read(key, kind, payload, frames),
        }
    }
}
