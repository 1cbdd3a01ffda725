//! The bridge's thread: letters of cores in, pipelines to Redis out, and back.
//!
//! Each round takes letters, hands on what was heard, puts what waits into pipelines and sleeps.
//! Invariants: a letter to a core that is too far behind is replaced by word that it missed
//! something; a publish that the link took with it is answered as lost, and never sent again; what
//! an earlier link said of a room is not believed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Config, RedisUrl};
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics::{self, LinkState};
use crate::room::broker::{Kept, ToBroker};
use crate::room::entrance::EntranceAsk;
use crate::room::name::RoomKey;
use crate::shard::{CoreMessage, Entropy};
use crate::tenant::Tenants;

use super::astray::{Astray, Sent};
use super::call;
use super::desk::Desk;
use super::ear::{Event, Inbox};
use super::foreign::Backends;
use super::keys::Keys;
use super::lines::Lines;
use super::map::Map;
use super::nodes::Nodes;
use super::pipeline::Outcome;
use super::queue::{Places, Waiting};
use super::uplink::Made;

/// Batches taken from the inbox before everything else gets its turn.
const BATCHES_PER_ROUND: usize = 256;
/// How often the bridge looks after silent rooms, and whether the server still answers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the bridge is made of.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub config: Arc<Config>,
    /// When the process began: what all moments count from.
    pub started: Instant,
    /// Its place in the mesh; the cores are the parties before it.
    pub port: Port<Letter<CoreMessage>>,
    /// How many cores there are.
    pub cores: u16,
    /// What tells this process from others.
    pub node: u64,
    /// Randomness.
    pub entropy: Box<dyn Entropy>,
    /// Where it counts.
    pub metrics: Arc<metrics::Bridge>,
    /// Says when it is to end.
    pub stopped: oneshot::Receiver<()>,
}

/// Ends the bridge, when it is used or dropped.
#[derive(Debug)]
pub struct Stop(oneshot::Sender<()>);

impl Stop {
    /// Ends it.
    pub fn stop(self) {
        // It may have ended by itself.
        let _ = self.0.send(());
    }
}

/// A way to end a bridge.
#[must_use]
pub fn stop() -> (Stop, oneshot::Receiver<()>) {
    let (sender, receiver) = oneshot::channel();
    (Stop(sender), receiver)
}

/// Runs the bridge on this thread until it is told to stop.
///
/// # Errors
/// The operating system refuses a runtime or a descriptor.
pub fn run(plan: Plan) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async { Bridge::new(plan).run().await })
}

/// The bridge: what it works with, what waits, and the links.
pub(super) struct Bridge {
    pub(super) desk: Desk,
    pub(super) places: Places,
    /// What all ears tell.
    pub(super) inbox: Rc<Inbox>,
    /// Where that is taken to be looked at; empty in between.
    pub(super) heard: VecDeque<(u64, Event)>,
    pub(super) backends: Backends,
    pub(super) lines: Lines,
    pub(super) last_line: u64,
    /// What was wrong last.
    pub(super) trouble: LinkState,
    /// Attempts in vain since all links were there and had answered.
    pub(super) attempts: u32,
    pub(super) looks: u32,
    /// There is a link that was not there before, and `/health` does not say so yet.
    pub(super) is_new: bool,
    /// The nodes there write in a form that this one does not know.
    pub(super) is_barred: bool,
    pub(super) finding: JoinSet<Result<Map, LinkState>>,
    /// Somebody wants to know it anew while it is being found out.
    pub(super) is_find_wanted: bool,
    /// Where links are being made to.
    pub(super) dialing: Vec<RedisUrl>,
    pub(super) connecting: JoinSet<Made>,
    pub(super) surveys: JoinSet<(u64, Option<Kept>)>,
    pub(super) pipelines: JoinSet<Outcome>,
    /// Counts pipelines.
    pub(super) sent: u64,
    /// Those that are not over.
    pub(super) on_way: BTreeMap<u64, Sent>,
    pub(super) astray: Astray,
    /// Calls of rooms that are not listened to yet.
    pub(super) parked: BTreeMap<RoomKey, Vec<Waiting>>,
    stopped: oneshot::Receiver<()>,
}

impl Bridge {
    /// One that has not begun.
    pub(super) fn new(plan: Plan) -> Self {
        let Plan { config, started, port, cores, node, entropy, metrics, stopped } = plan;
        metrics.set_link(LinkState::Connecting);
        let redis = &config.redis;
        let tenants = Tenants::new(&config);
        let backends = Backends::new(&config.redis_interop, &tenants);
        let keys = Keys::new(&redis.prefix, &tenants);
        Self {
            backends,
            places: Places::new(redis.queue_messages, redis.queue_bytes),
            desk: Desk::new(config, started, port, cores, metrics, keys, (node, entropy)),
            inbox: Rc::default(),
            heard: VecDeque::new(),
            lines: Lines::default(),
            last_line: 0,
            trouble: LinkState::Connecting,
            attempts: 0,
            looks: 0,
            is_new: false,
            is_barred: false,
            finding: JoinSet::new(),
            is_find_wanted: false,
            dialing: Vec::new(),
            connecting: JoinSet::new(),
            surveys: JoinSet::new(),
            pipelines: JoinSet::new(),
            sent: 0,
            on_way: BTreeMap::new(),
            astray: Astray::default(),
            parked: BTreeMap::new(),
            stopped,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let doorbell = watched(self.desk.port.doorbell_fd().try_clone_to_owned()?)?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = interval(Nodes::beat_every(self.desk.config.redis.lease_ms));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.find();
        loop {
            self.receive();
            self.hear();
            self.hear_backends();
            self.heed_form();
            self.heed_pause();
            self.heed_loss();
            self.tell_places();
            self.ask_next();
            self.dispatch();
            self.desk.tell_owed();
            self.count();
            self.desk.port.deliver(self.desk.now());
            if std::mem::take(&mut self.is_new) {
                self.note_state();
            }
            if !self.desk.port.fall_asleep() {
                tokio::task::yield_now().await;
                self.finish_ready();
                continue;
            }
            let look_for_sessions = self.desk.wanted.next_look;
            let (inbox, said) = (Rc::clone(&self.inbox), Rc::clone(&self.backends.inbox));
            // What is rare comes first. What comes all the time is taken in each round as well, so none
            // of it waits for the others, and the order is the same in every run.
            tokio::select! {
                biased;
                _ = &mut self.stopped => break,
                _ = beat.tick() => self.beat(),
                _ = look.tick() => self.look(),
                () = moment(look_for_sessions) => call::session::look(&mut self.desk),
                Some(Ok((line, kept))) = self.surveys.join_next() => self.surveyed(line, kept),
                Some(opened) = self.backends.opening.join_next() => self.backends_opened(opened),
                Some(made) = self.connecting.join_next() => self.linked(made),
                Some(found) = self.finding.join_next() => self.found(found),
                Some(outcome) = self.pipelines.join_next() => self.finish(outcome),
                () = inbox.rung() => {}
                () = said.rung() => {}
                rung = doorbell.readable() => {
                    rung?.clear_ready();
                    self.desk.port.clear_doorbell();
                }
            }
            self.finish_ready();
            self.desk.port.wake();
        }
        self.say_goodbye().await;
        Ok(())
    }

    /// Takes what cores want.
    pub(super) fn receive(&mut self) {
        for _ in 0..BATCHES_PER_ROUND {
            let Some(batch) = self.desk.port.receive() else { return };
            for letter in batch.messages {
                match letter {
                    Letter::Core(CoreMessage::ToBroker(message)) => self.take(batch.from, *message),
                    Letter::Facts(facts) => self.say_of_itself(*facts),
                    Letter::Share(ask) => {
                        let call = call::decide::of(*ask, &self.desk);
                        self.ask(call);
                    }
                    _ => tracing::error!(from = ?batch.from, "a letter that is not for the bridge"),
                }
            }
        }
    }

    fn take(&mut self, from: CoreId, message: ToBroker) {
        let Desk { watch, keys, entrances, .. } = &mut self.desk;
        match &message {
            ToBroker::Open { room, lasts, .. } => {
                watch.open(room, from, || keys.room(room)).is_lasting = *lasts;
            }
            ToBroker::Close { room } => watch.close(room),
            ToBroker::Entrance { place, ask: EntranceAsk::Exit } => entrances.goes(place.at),
            ToBroker::Hold { places, all_of } => self.desk.hold(from, places, *all_of),
            ToBroker::Publish(_)
            | ToBroker::Pass { .. }
            | ToBroker::Attend { .. }
            | ToBroker::Recall { .. }
            | ToBroker::Bookmarks { .. }
            | ToBroker::Move { .. }
            | ToBroker::Entrance { .. }
            | ToBroker::Invite { .. }
            | ToBroker::Greet { .. }
            | ToBroker::Direct(_)
            | ToBroker::Session(_)
            | ToBroker::Patterns(_) => {}
        }
        if let Some(call) = call::of(from, message) {
            self.ask(call);
        }
    }

    /// Asks what answers have given rise to.
    pub(super) fn ask_next(&mut self) {
        for call in std::mem::take(&mut self.desk.next) {
            self.ask(call);
        }
    }

    fn count(&self) {
        let metrics = &self.desk.metrics;
        metrics.rooms.set(self.desk.watch.len() as u64);
        metrics.queue_messages.set(self.places.publishes());
        metrics.queue_bytes.set(self.places.bytes());
    }
}

/// Waits for it; none: for ever.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A descriptor that the runtime waits for.
#[allow(deprecated, reason = "its successor is unsafe for descriptors that are not owned; this is")]
pub(super) fn watched(
    descriptor: std::os::fd::OwnedFd,
) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    AsyncFd::new(descriptor)
}
