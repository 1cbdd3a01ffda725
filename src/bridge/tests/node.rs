//! A node: its engines, its bridge, and the mesh between them.
//!
//! The engines of a node take turns in one task. It wakes as a core does, by its doorbells and timers.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::network;
use crate::bridge::run::{Bridge, Plan, Stop, stop, watched};
use crate::clock::Moment;
use crate::config::Config;
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::{self, Port};
use crate::metrics;
use crate::shard::tests::Counting;
use crate::shard::tests::cluster::Cluster;
use crate::shard::{CoreMessage, Shard};

const CORES: u16 = 2;
/// Who comes behind the cores.
const BRIDGE: CoreId = CoreId(CORES + 1);

type Ports = Vec<Port<Letter<CoreMessage>>>;

/// The engines, and their ends of the mesh.
pub(super) struct Engines {
    pub(super) cluster: Cluster,
    /// Of the cores, and the control plane's.
    ports: Ports,
    began: Instant,
    /// They do nothing until then.
    pub(super) held_until: Instant,
}

/// One node.
pub(super) struct Node {
    engines: Rc<RefCell<Engines>>,
    /// Somebody has acted upon them.
    touched: Rc<Notify>,
    pub(super) metrics: Arc<metrics::Bridge>,
    stop: Stop,
    bridge: JoinHandle<Bridge>,
    _driver: JoinSet<()>,
}

impl Node {
    /// The node of this place among all, and of this name; it begins to connect.
    pub(super) fn begin(
        place: usize,
        name: u64,
        mut config: Config,
        (seed, began): (u64, Instant),
    ) -> Self {
        config.redis.url = Some(format!("redis://{}", network::host_of(place, 0)));
        let cluster = Cluster::of_node(CORES, config.clone(), name);
        let plan = mesh::Plan { parties: CORES + 2, inbox_batches: 16, backlog_bytes: 16_384 };
        let mut ports: Ports = mesh::build(plan).expect("the kernel gives descriptors");
        let metrics = Arc::default();
        let (stop, stopped) = stop();
        let plan = Plan {
            config: Arc::new(config),
            started: began.into_std(),
            port: ports.pop().expect("the bridge's is the last"),
            cores: CORES,
            node: cluster.id(),
            entropy: Box::new(Counting(seed.wrapping_mul(1_000) + name)),
            metrics: Arc::clone(&metrics),
            stopped,
        };
        let bridge = tokio::task::spawn_local(async move {
            let mut bridge = Bridge::new(plan);
            bridge.run().await.expect("the kernel gives descriptors");
            bridge
        });
        let bell = |port: &Port<_>| {
            let own =
                port.doorbell_fd().try_clone_to_owned().expect("the kernel gives descriptors");
            watched(own).expect("the runtime watches descriptors")
        };
        let bells = ports[..usize::from(CORES)].iter().map(bell).collect();
        let engines = Engines { cluster, ports, began, held_until: began };
        let (engines, touched) = (Rc::new(RefCell::new(engines)), Rc::new(Notify::new()));
        let mut driver = JoinSet::new();
        driver.spawn_local(drive(Rc::clone(&engines), bells, Rc::clone(&touched)));
        Self { engines, touched, metrics, stop, bridge, _driver: driver }
    }

    /// Acts upon its engines.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Cluster) -> R) -> R {
        let mut engines = self.engines.borrow_mut();
        engines.pass();
        let done = act(&mut engines.cluster);
        engines.pump();
        self.touched.notify_one();
        done
    }

    /// Its cores do nothing for a while.
    pub(super) fn hang(&self, time: Duration) {
        self.engines.borrow_mut().held_until = Instant::now() + time;
        self.touched.notify_one();
    }

    pub(super) fn heal(&self) {
        self.hang(Duration::ZERO);
    }

    /// Its bridge says farewell; what is left of it.
    pub(super) async fn end(self) -> Bridge {
        self.stop.stop();
        self.bridge.await.expect("it does not panic")
    }

    /// It is no more, without a farewell.
    pub(super) fn kill(self) {
        self.bridge.abort();
    }
}

impl Engines {
    fn is_held(&self) -> bool {
        Instant::now() < self.held_until
    }

    /// Their clock is what the runtime's is, and timers that are due have run.
    fn pass(&mut self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).expect("a run is short");
        self.cluster.wait_until(Moment { us: passed * 1_000 });
    }

    /// Takes what has come, does what is due, and hands over what there is to say.
    fn pump(&mut self) {
        if self.is_held() {
            return;
        }
        self.pass();
        loop {
            self.hear();
            self.cluster.settle();
            let said = std::mem::take(&mut self.cluster.to_broker);
            for (core, message) in said {
                let message = CoreMessage::ToBroker(Box::new(message));
                let bytes = message.cost_bytes();
                let posted = self.ports[core.index()].post(BRIDGE, Letter::Core(message), bytes);
                posted.expect("the bridge is there for as long as its node");
            }
            let now = self.cluster.now.moment;
            let mut may_sleep = true;
            for port in &mut self.ports {
                port.deliver(now);
                may_sleep &= port.fall_asleep();
            }
            if may_sleep {
                return;
            }
            self.ports.iter_mut().for_each(Port::wake);
        }
    }

    fn hear(&mut self) {
        let Self { ports, cluster, .. } = self;
        let (control, cores) = ports.split_last_mut().expect("the control plane is there");
        for (core, port) in (0..CORES).map(CoreId).zip(cores) {
            while let Some(batch) = port.receive() {
                for letter in batch.messages {
                    match letter {
                        Letter::Core(message) => cluster.hear(core, message),
                        other => panic!("a core is told {other:?}"),
                    }
                }
            }
        }
        while control.receive().is_some() {}
    }

    /// When they have something to do by themselves.
    fn next_timeout(&self) -> Instant {
        let next = self.cluster.shards.iter().filter_map(Shard::next_timeout).min();
        let next = next.map_or(Duration::from_secs(60), |next| {
            // Their clock has milliseconds.
            Duration::from_millis(next.us.div_ceil(1_000))
        });
        (self.began + next).max(self.held_until)
    }
}

async fn drive(engines: Rc<RefCell<Engines>>, bells: Vec<AsyncFd<OwnedFd>>, touched: Rc<Notify>) {
    loop {
        let next = {
            let mut engines = engines.borrow_mut();
            engines.ports.iter_mut().for_each(Port::wake);
            engines.pump();
            engines.next_timeout()
        };
        tokio::select! {
            biased;
            () = poll_fn(|context| rung(&bells, context)) => {
                let mut engines = engines.borrow_mut();
                engines.ports.iter_mut().for_each(|port| _ = port.clear_doorbell());
            }
            () = touched.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Whether somebody has rung any of them.
fn rung(bells: &[AsyncFd<OwnedFd>], context: &mut Context<'_>) -> Poll<()> {
    let mut rung = Poll::Pending;
    for bell in bells {
        if let Poll::Ready(Ok(mut guard)) = bell.poll_read_ready(context) {
            guard.clear_ready();
            rung = Poll::Ready(());
        }
    }
    rung
}
