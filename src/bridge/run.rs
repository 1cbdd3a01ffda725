//! The bridge's thread: letters of cores in, pipelines to Redis out, and back.
//!
//! Each round takes letters, hands on what was heard, puts what waits into pipelines and sleeps.
//! Invariants: a letter to a core that is too far behind is replaced by word that it missed
//! something; a publish that the link took with it is answered as lost, and never sent again; what
//! an earlier link said of a room is not believed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics::{self, LinkState};
use crate::room::broker::ToBroker;
use crate::shard::CoreMessage;
use crate::tenant::Tenants;

use super::call;
use super::desk::Desk;
use super::keys::Keys;
use super::link::Link;
use super::nodes::Nodes;
use super::pipeline::Outcome;
use super::queue::Queue;

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
        let Plan { config, started, port, cores, node, metrics, stopped } = plan;
        metrics.set_link(LinkState::Connecting);
        let redis = &config.redis;
        let keys = Keys::new(&redis.prefix, &Tenants::new(&config));
        let bridge = Bridge {
            queue: Queue::new(redis.queue_messages, redis.queue_bytes),
            desk: Desk::new(config, started, port, cores, metrics, keys, node),
            link: None,
            links: 0,
            attempts: 0,
            connecting: JoinSet::new(),
            pipelines: JoinSet::new(),
        };
        bridge.run(stopped).await
    })
}

/// The bridge: what it works with, what waits, and the link.
pub(super) struct Bridge {
    pub(super) desk: Desk,
    pub(super) queue: Queue,
    pub(super) link: Option<Link>,
    /// Counts links.
    pub(super) links: u64,
    /// Attempts since the last link.
    pub(super) attempts: u32,
    pub(super) connecting: JoinSet<Result<Link, LinkState>>,
    pub(super) pipelines: JoinSet<Outcome>,
}

impl Bridge {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
        let doorbell = watched(self.desk.port.doorbell_fd().try_clone_to_owned()?)?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = interval(Nodes::beat_every(self.desk.config.redis.lease_ms));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.connect();
        loop {
            self.receive();
            self.hear();
            self.dispatch();
            self.desk.tell_owed();
            self.count();
            self.desk.port.deliver(self.desk.now());
            if !self.desk.port.fall_asleep() {
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
                    self.desk.port.clear_doorbell();
                }
                () = rung => {}
                Some(outcome) = self.pipelines.join_next() => self.finish(outcome),
                Some(made) = self.connecting.join_next() => self.linked(made),
                _ = look.tick() => self.look(),
                _ = beat.tick() => self.beat(),
                _ = &mut stopped => break,
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
                    _ => tracing::error!(from = ?batch.from, "a letter that is not for the bridge"),
                }
            }
        }
    }

    fn take(&mut self, from: CoreId, message: ToBroker) {
        let Desk { watch, keys, .. } = &mut self.desk;
        match &message {
            ToBroker::Open { room, .. } => {
                watch.open(room, from, || keys.room(room));
            }
            ToBroker::Close { room } => watch.close(room),
            ToBroker::Publish(_) | ToBroker::Pass { .. } | ToBroker::Attend { .. } => {}
        }
        if let Some(call) = call::of(from, message) {
            self.ask(call);
        }
    }

    fn count(&self) {
        let metrics = &self.desk.metrics;
        metrics.rooms.set(self.desk.watch.len() as u64);
        metrics.queue_messages.set(self.queue.publishes());
        metrics.queue_bytes.set(self.queue.bytes());
    }
}

/// A descriptor that the runtime waits for.
#[allow(deprecated, reason = "its successor is unsafe for descriptors that are not owned; this is")]
fn watched(descriptor: std::os::fd::OwnedFd) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    AsyncFd::new(descriptor)
}
