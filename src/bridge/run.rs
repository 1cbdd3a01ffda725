//! The bridge's thread: letters of cores in, pipelines to Redis out, and back.
//!
//! Each round takes letters, hands on what was heard, puts what waits into pipelines and sleeps.
//! Invariants: a letter to a core that is too far behind is replaced by word that it missed
//! something; a publish that the link took with it is answered as lost, and never sent again; what
//! an earlier link said of a room is not believed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Moment;
use crate::config::Config;
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics::{self, LinkState};
use crate::room::broker::{Fault, FromBroker, Kept, Placed, ToBroker};
use crate::room::name::RoomKey;
use crate::shard::CoreMessage;
use crate::tenant::Tenants;

use super::keys::Keys;
use super::link::{self, Heard, Link};
use super::queue::{Call, Queue};
use super::script::{self, OpenCall, Scripts};
use super::watch::Watch;
use super::{failure, news};

/// Batches taken from the inbox before everything else gets its turn.
const BATCHES_PER_ROUND: usize = 256;
/// Pipelines on their way at once.
const PIPELINES_MOST: usize = 16;
/// The first pause between two attempts to connect is at most so long.
const RECONNECT_FIRST_MS: u64 = 50;
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
    LocalSet::new().block_on(&runtime, async {
        let Plan { config, started, port, cores, metrics, stopped } = plan;
        metrics.set_link(LinkState::Connecting);
        let redis = &config.redis;
        let bridge = Bridge {
            keys: Arc::new(Keys::new(&redis.prefix, &Tenants::new(&config))),
            scripts: Arc::new(Scripts::new()),
            queue: Queue::new(redis.queue_messages, redis.queue_bytes),
            watch: Watch::default(),
            link: None,
            links: 0,
            attempts: 0,
            connecting: JoinSet::new(),
            pipelines: JoinSet::new(),
            owed: Vec::new(),
            random: ring::rand::SystemRandom::new(),
            config,
            started,
            port,
            cores,
            metrics,
        };
        bridge.run(stopped).await
    })
}

/// What a pipeline was for.
enum Errand {
    Calls(Vec<Call>),
    Subscribe(Vec<RoomKey>),
    /// Nothing waits for it: a ping, or word that rooms are no longer listened to.
    Chore,
}

/// What came of a pipeline: over which link it went, and what each command was answered.
type Outcome = (u64, Errand, RedisResult<Vec<Value>>);

struct Bridge {
    config: Arc<Config>,
    started: Instant,
    port: Port<Letter<CoreMessage>>,
    cores: u16,
    metrics: Arc<metrics::Bridge>,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    queue: Queue,
    watch: Watch,
    link: Option<Link>,
    /// Counts links.
    links: u64,
    /// Attempts since the last link.
    attempts: u32,
    connecting: JoinSet<Result<Link, LinkState>>,
    pipelines: JoinSet<Outcome>,
    /// Rooms that missed something on the way to their cores.
    owed: Vec<RoomKey>,
    random: ring::rand::SystemRandom,
}

impl Bridge {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let doorbell = watched(self.port.doorbell_fd().try_clone_to_owned()?)?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.connect();
        loop {
            self.receive();
            self.hear();
            self.dispatch();
            self.tell_owed();
            self.count();
            self.port.deliver(self.now());
            if !self.port.fall_asleep() {
                tokio::task::yield_now().await;
                self.finish_ready();
                continue;
            }
            let ear = self.link.as_ref().map(|link| Arc::clone(&link.ear));
            let rung = async {
                match &ear {
                    Some(ear) => ear.rung().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                rung = doorbell.readable() => {
                    rung?.clear_ready();
                    self.port.clear_doorbell();
                }
                () = rung => {}
                Some(outcome) = self.pipelines.join_next() => self.finish(outcome),
                Some(made) = self.connecting.join_next() => self.linked(made),
                _ = look.tick() => self.look(),
                _ = &mut stopped => return Ok(()),
            }
            self.finish_ready();
            self.port.wake();
        }
    }

    fn now(&self) -> Moment {
        Moment { us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX) }
    }

    /// Takes what cores want.
    fn receive(&mut self) {
        for _ in 0..BATCHES_PER_ROUND {
            let Some(batch) = self.port.receive() else { return };
            for letter in batch.messages {
                if let Letter::Core(CoreMessage::ToBroker(message)) = letter {
                    self.take(batch.from, *message);
                } else {
                    tracing::error!(from = ?batch.from, "a letter that is not for the bridge");
                }
            }
        }
    }

    fn take(&mut self, from: CoreId, message: ToBroker) {
        let call = match message {
            ToBroker::Close { room } => return self.watch.close(&room),
            ToBroker::Open { room, seen, keep } => {
                let keys = &self.keys;
                self.watch.open(&room, from, || keys.room(&room));
                Call::Open { from, room, seen, keep }
            }
            ToBroker::Publish(publish) => {
                Call::Publish { from, publish: Box::new(publish), since: Instant::now() }
            }
            ToBroker::Pass { room, wire } => Call::Pass { room, wire },
        };
        if self.link.is_none() {
            return self.fail(call, Fault::Lost, false);
        }
        if let Err(call) = self.queue.push(call) {
            self.fail(call, Fault::Overload, false);
        }
    }

    /// Hands on what was heard.
    fn hear(&mut self) {
        let Some(link) = &self.link else { return };
        let (heard, has_missed, has_ended) = link.ear.take();
        for Heard { channel, payload } in heard {
            self.metrics.heard.add(1);
            let Some((room, core)) = self.watch.heard(&channel) else { continue };
            let room = room.clone();
            match news::read(&payload) {
                Some(news) if !self.port.is_over(core) => {
                    self.post(core, FromBroker::News { room, news });
                }
                Some(_) => self.owe(room),
                None => {
                    self.metrics.unreadable.add(1);
                    tracing::warn!(?core, "news that no node of this version tells");
                }
            }
        }
        if has_missed {
            let needed: Vec<_> = self.watch.needed().map(|(room, _)| room.clone()).collect();
            needed.into_iter().for_each(|room| self.owe(room));
        }
        if has_ended {
            self.fall(LinkState::Lost);
        }
    }

    fn owe(&mut self, room: RoomKey) {
        self.metrics.missed.add(1);
        if !self.owed.contains(&room) {
            self.owed.push(room);
        }
    }

    /// Tells cores that have caught up what they have missed.
    fn tell_owed(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        for room in owed {
            match self.watch.get(&room).map(|watched| watched.core) {
                Some(core) if self.port.is_over(core) => self.owed.push(room),
                Some(core) => self.post(core, FromBroker::Missed { room }),
                None => {}
            }
        }
    }

    /// Puts what waits into pipelines.
    fn dispatch(&mut self) {
        while self.link.is_some() && !self.queue.is_empty() {
            if self.pipelines.len() >= PIPELINES_MOST {
                return;
            }
            let calls = self.queue.next();
            self.subscribe(&calls);
            let mut pipeline = redis::pipe();
            for call in &calls {
                pipeline.add_command(self.command(call));
            }
            self.send(pipeline, Errand::Calls(calls));
        }
    }

    /// Listens to rooms that are about to be opened and are not listened to yet.
    fn subscribe(&mut self, calls: &[Call]) {
        // A command for each: the client counts an answer for each command.
        let (mut pipeline, mut rooms) = (redis::pipe(), Vec::new());
        for call in calls {
            let Call::Open { room, from, .. } = call else { continue };
            let keys = &self.keys;
            let watched = self.watch.open(room, *from, || keys.room(room));
            if !watched.is_subscribed {
                watched.is_subscribed = true;
                let mut command = redis::cmd("SSUBSCRIBE");
                command.arg(watched.keys.channel());
                pipeline.add_command(command);
                rooms.push(room.clone());
            }
        }
        if !rooms.is_empty() {
            self.send(pipeline, Errand::Subscribe(rooms));
        }
    }

    fn command(&self, call: &Call) -> redis::Cmd {
        let room_ttl_ms = self.config.redis.room_ttl_ms;
        match call {
            Call::Publish { publish, .. } => {
                self.scripts.publish(&self.keys.room(&publish.room), publish, room_ttl_ms)
            }
            Call::Open { room, seen, keep, .. } => {
                let is_doubtful = self.watch.is_doubtful(room);
                let (keys, seen, keep) = (&self.keys.room(room), seen.as_ref(), *keep);
                let call = OpenCall { keys, seen, keep, room_ttl_ms, is_doubtful };
                self.scripts.open(call, self.chance().to_be_bytes())
            }
            Call::Pass { room, wire } => {
                let mut command = redis::cmd("SPUBLISH");
                command.arg(self.keys.room(room).channel()).arg(news::write_transient(wire));
                command
            }
        }
    }

    fn send(&mut self, pipeline: Pipeline, errand: Errand) {
        let Some(link) = &self.link else { return };
        let (mut connection, links) = (link.connection.clone(), self.links);
        self.pipelines.spawn_local(async move {
            let answers = ask(&mut connection, &pipeline).await;
            (links, errand, answers)
        });
    }

    fn finish_ready(&mut self) {
        while let Some(outcome) = self.pipelines.try_join_next() {
            self.finish(outcome);
        }
    }

    /// A pipeline was answered, or failed as a whole.
    fn finish(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        // What panics there is a bug of the client; its callers' time runs out.
        let Ok((links, errand, answers)) = outcome else { return self.fall(LinkState::Lost) };
        let is_present = links == self.links;
        let errand = match errand {
            // Every room is opened again over a new link.
            Errand::Calls(calls) if !is_present && answers.is_err() => {
                Errand::Calls(calls.into_iter().filter(|call| !call.is_open()).collect())
            }
            errand => errand,
        };
        match (errand, answers) {
            (Errand::Calls(calls), Ok(answers)) => self.answer(calls, answers, is_present),
            (Errand::Calls(calls), Err(error)) => {
                for call in calls {
                    self.fail(call, failure::fault(&error), true);
                }
                self.doubt(&error, is_present);
            }
            (Errand::Subscribe(rooms), answers) => {
                let refused = answers.map(|answers| answers.into_iter().find_map(refusal));
                if let Some(error) = refused.unwrap_or_else(Some) {
                    tracing::warn!(%error, rooms = rooms.len(), "rooms are not listened to");
                    if is_present {
                        self.fall(failure::state(&error));
                    }
                }
            }
            (Errand::Chore, Err(error)) => self.doubt(&error, is_present),
            (Errand::Chore, Ok(_)) => {}
        }
    }

    fn answer(&mut self, calls: Vec<Call>, answers: Vec<Value>, is_present: bool) {
        let mut again = Vec::new();
        let mut doubt = None;
        for (call, answer) in calls.into_iter().zip(answers) {
            if !is_present && call.is_open() {
                continue;
            }
            match answer {
                Value::ServerError(error) => {
                    let error = RedisError::from(error);
                    if failure::is_forgotten(&error) && is_present {
                        again.push(call);
                    } else {
                        self.fail(call, failure::fault(&error), true);
                        doubt = Some(error);
                    }
                }
                answer => {
                    if is_present && self.metrics.link() != LinkState::Up {
                        self.metrics.set_link(LinkState::Up);
                    }
                    self.succeed(call, answer);
                }
            }
        }
        if !again.is_empty() {
            let mut pipeline = redis::pipe();
            for load in self.scripts.load() {
                pipeline.add_command(load);
            }
            self.send(pipeline, Errand::Chore);
            self.queue.push_front(again);
        }
        if let Some(error) = doubt {
            self.doubt(&error, is_present);
        }
    }

    fn succeed(&mut self, call: Call, answer: Value) {
        self.queue.done(&call);
        match call {
            Call::Publish { from, publish, since } => {
                let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.metrics.latency.record(us);
                self.metrics.published.add(1);
                let outcome: Result<Placed, _> = script::placed(&answer).ok_or(Fault::Other);
                self.post(from, FromBroker::Published { ticket: publish.ticket, outcome });
            }
            Call::Open { from, room, .. } => {
                let outcome = script::life(answer).ok_or(Fault::Other);
                self.watch.opened(&room);
                self.post(from, FromBroker::Opened { room, outcome });
            }
            Call::Pass { .. } => {}
        }
    }

    /// A call is answered as not done. `was_sent`: it had left the queue.
    fn fail(&mut self, call: Call, fault: Fault, was_sent: bool) {
        if was_sent {
            self.queue.done(&call);
        }
        match call {
            Call::Publish { from, publish, .. } => {
                self.metrics.failed.add(1);
                let (ticket, outcome) = (publish.ticket, Err(fault));
                self.post(from, FromBroker::Published { ticket, outcome });
            }
            Call::Open { from, room, .. } => {
                self.post(from, FromBroker::Opened { room, outcome: Err(fault) });
            }
            Call::Pass { .. } => self.metrics.failed.add(1),
        }
    }

    /// After an error: is the link still of use?
    fn doubt(&mut self, error: &RedisError, is_present: bool) {
        if is_present && failure::ends_link(error) {
            self.fall(failure::state(error));
        } else if is_present && failure::state(error) != LinkState::Lost {
            self.metrics.set_link(failure::state(error));
        }
    }

    fn connect(&mut self) {
        let (config, keys) = (Arc::clone(&self.config), Arc::clone(&self.keys));
        let scripts = Arc::clone(&self.scripts);
        let pause_ms = match self.attempts {
            0 => 0,
            n => {
                let most = RECONNECT_FIRST_MS << n.min(16);
                self.chance() % most.min(config.redis.reconnect_max_ms).max(1)
            }
        };
        self.attempts += 1;
        let patience = Duration::from_millis(config.redis.timeout_ms) * 4;
        self.connecting.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let made = link::make(&config.redis, &keys, &scripts);
            tokio::time::timeout(patience, made).await.unwrap_or(Err(LinkState::Lost))
        });
    }

    /// An attempt to connect is over.
    fn linked(&mut self, made: Result<Result<Link, LinkState>, tokio::task::JoinError>) {
        match made.unwrap_or(Err(LinkState::Lost)) {
            Ok(link) => {
                tracing::info!(attempts = self.attempts, kept = ?link.kept, "the link to Redis is up");
                self.links += 1;
                self.attempts = 0;
                self.watch.link(&link.server);
                self.metrics.connects.add(1);
                self.metrics.set_link(LinkState::Up);
                self.tell_all(true, link.kept);
                self.link = Some(link);
            }
            Err(state) => {
                if self.metrics.link() != state {
                    tracing::warn!(state = state.word(), "there is no link to Redis");
                    self.metrics.set_link(state);
                }
                self.connect();
            }
        }
    }

    /// The link has ended.
    fn fall(&mut self, state: LinkState) {
        if self.link.take().is_none() {
            return;
        }
        tracing::warn!(state = state.word(), "the link to Redis has ended");
        self.links += 1;
        self.metrics.set_link(state);
        self.watch.unlink();
        for call in self.queue.drain() {
            self.fail(call, Fault::Lost, true);
        }
        self.tell_all(false, Kept::Memory);
        self.connect();
    }

    fn tell_all(&mut self, is_up: bool, kept: Kept) {
        for core in (0..self.cores).map(CoreId) {
            self.post(core, FromBroker::Link { is_up, kept });
        }
    }

    /// Once in a while: rooms that nobody needs any more, and whether the server still answers.
    fn look(&mut self) {
        let grace = Duration::from_millis(self.config.redis.grace_ms);
        let silent = self.watch.sweep(grace);
        if self.link.is_none() {
            return;
        }
        if !silent.is_empty() {
            let mut pipeline = redis::pipe();
            for channel in silent {
                let mut command = redis::cmd("SUNSUBSCRIBE");
                command.arg(channel);
                pipeline.add_command(command);
            }
            self.send(pipeline, Errand::Chore);
        }
        if self.pipelines.is_empty() {
            let mut pipeline = redis::pipe();
            pipeline.add_command(redis::cmd("PING"));
            self.send(pipeline, Errand::Chore);
        }
    }

    fn count(&self) {
        self.metrics.rooms.set(self.watch.len() as u64);
        self.metrics.queue_messages.set(self.queue.publishes());
        self.metrics.queue_bytes.set(self.queue.bytes());
    }

    fn post(&mut self, core: CoreId, message: FromBroker) {
        let message = CoreMessage::FromBroker(Box::new(message));
        let bytes = message.cost_bytes();
        // The plan of the mesh knows every core, and cores end before the bridge.
        let _ = self.port.post(core, Letter::Core(message), bytes);
    }

    fn chance(&self) -> u64 {
        let mut bytes = [0; 8];
        // Without randomness the pauses of nodes are the same, and no more is wrong.
        let _ = ring::rand::SecureRandom::fill(&self.random, &mut bytes);
        u64::from_be_bytes(bytes)
    }
}

/// All answers of a pipeline; errors of single commands are among them.
async fn ask(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> RedisResult<Vec<Value>> {
    connection.send_packed_commands(pipeline, 0, pipeline.len()).await
}

fn refusal(answer: Value) -> Option<RedisError> {
    match answer {
        Value::ServerError(error) => Some(error.into()),
        _ => None,
    }
}

/// A descriptor that the runtime waits for.
#[allow(deprecated, reason = "its successor is unsafe for descriptors that are not owned; this is")]
fn watched(descriptor: std::os::fd::OwnedFd) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    AsyncFd::new(descriptor)
}
