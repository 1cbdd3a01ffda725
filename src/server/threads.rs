//! The threads of a process: made in order, and waited for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::auth::Policy;
use crate::bridge;
use crate::config::Config;
use crate::control::{self, Command, Commander, Plane};
use crate::decision::Decision;
use crate::hash::Seed;
use crate::id::CoreId;
use crate::letter::{Letter, Order};
use crate::mesh::{self, Port};
use crate::metrics::Registry;
use crate::net::{self, Admission, Clock, Plan, tls};
use crate::node;
use crate::origin::Origins;
use crate::shard::application::Handlers;
use crate::shard::{CoreMessage, Edict, Pages, Senders};
use crate::tenant::Tenants;

use super::Error;
use super::entropy::System;
use super::plan;

/// What the control plane has to end in where cores are left, as it writes what it has to a file, and how
/// often that is looked at.
const STOP_MAX: Duration = Duration::from_secs(1);
const STOP_LOOK_EVERY: Duration = Duration::from_millis(2);

/// What every core is given, and what is made before the first of them.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) unix: Vec<Option<UnixListener>>,
    pub(super) origins: &'a Arc<Origins>,
    pub(super) certificates: &'a tls::Certificates,
    pub(super) tenants: &'a Arc<Tenants>,
    pub(super) pages: &'a Arc<Pages>,
    pub(super) policy: &'a Option<Arc<Policy>>,
    pub(super) handlers: &'a Arc<Handlers>,
    /// What was decided before this process began.
    pub(super) standing: &'a [Decision],
}

/// The threads of a serving process.
pub(super) struct Threads {
    cores: Vec<JoinHandle<()>>,
    control: JoinHandle<io::Result<()>>,
    /// The bridge to Redis, if there is one.
    bridge: Option<(bridge::Stop, JoinHandle<io::Result<()>>)>,
    commander: Commander,
    /// Where each core says that clients come in.
    opening: Listens,
    /// How many have not said so.
    closed: usize,
    /// Where the control plane listens.
    pub(super) control_address: SocketAddr,
}

/// Starts every core and the control plane. Clients come in once [`Threads::are_open`].
pub(super) fn spawn(parts: &Parts<'_>) -> Result<Threads, Error> {
    let config = parts.config;
    let cpus = plan::cpus(&config.cores);
    let cores = u16::try_from(cpus.len()).unwrap_or(u16::MAX);
    let (mut ports, clock) = (mesh(cores, config)?, Clock::start());
    let bridge_port = config.redis.is_on().then(|| ports.pop()).flatten();
    let port = ports.pop().ok_or_else(|| Error::Mesh(io::Error::other("a mesh of nobody")))?;
    let registry = Registry::new(cores);
    let used = cpus.clone();
    let seed = System::new().seed();
    let (cores, opening) = spawn_cores(parts, cpus, ports, clock, (&registry, seed))?;
    // Not before now: every core has its own descriptor table.
    let listener = TcpListener::bind(config.control.address)
        .map_err(|error| Error::Control(config.control.address, error))?;
    let control_address = listener.local_addr().map_err(Error::Thread)?;
    let (commander, commands) = control::commands();
    let started = clock.started();
    let spare = spare_cpu(&used, config);
    let bridge = bridge_port
        .map(|port| spawn_bridge(config, port, (started, node::id(seed)), &registry, spare))
        .transpose()?;
    let tenants = Arc::clone(parts.tenants);
    let policy = parts.policy.clone();
    let (config, own) = (Arc::clone(config), commander.clone());
    let plane = Plane {
        config,
        started,
        port,
        registry,
        listener,
        commands,
        commander: own,
        tenants,
        policy,
        node: node::id(seed),
        standing: parts.standing.to_vec(),
    };
    let control = thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || control::run(plane))
        .map_err(Error::Thread)?;
    let closed = cores.len();
    Ok(Threads { cores, control, bridge, commander, opening, closed, control_address })
}

/// A CPU that no core is pinned to, if there is one.
fn spare_cpu(used: &[Option<usize>], config: &Config) -> Option<usize> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let mine = |cpu: &usize| config.cores.cpus.is_empty() || config.cores.cpus.contains(cpu);
    let free = |cpu: &usize| !used.contains(&Some(*cpu));
    allowed.into_iter().map(|cpu| cpu.id).filter(mine).find(free)
}

fn spawn_bridge(
    config: &Arc<Config>,
    port: Port<Letter<CoreMessage>>,
    (started, node): (Instant, u64),
    registry: &Registry,
    cpu: Option<usize>,
) -> Result<(bridge::Stop, JoinHandle<io::Result<()>>), Error> {
    let (stop, stopped) = bridge::stop();
    let metrics = Arc::clone(registry.bridge());
    let cores = u16::try_from(registry.cores().count()).unwrap_or(u16::MAX);
    let config = Arc::clone(config);
    let thread = thread::Builder::new().name("bridge".to_owned()).spawn(move || {
        if let Some(id) = cpu {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        let entropy = Box::new(System::new());
        let plan = bridge::Plan { config, started, port, cores, node, entropy, metrics, stopped };
        bridge::run(plan)
    });
    Ok((stop, thread.map_err(Error::Thread)?))
}

/// A port for each core, the control plane's behind them, and the bridge's behind that.
fn mesh(cores: u16, config: &Config) -> Result<Vec<Port<Letter<CoreMessage>>>, Error> {
    mesh::build(mesh::Plan {
        parties: cores + 1 + u16::from(config.redis.is_on()),
        inbox_batches: config.mesh.inbox_batches as usize,
        backlog_bytes: config.mesh.backlog_bytes,
    })
    .map_err(Error::Mesh)
}

fn spawn_cores(
    parts: &Parts<'_>,
    cpus: Vec<Option<usize>>,
    ports: Vec<Port<Letter<CoreMessage>>>,
    clock: Clock,
    (registry, seed): (&Registry, Seed),
) -> Result<(Vec<JoinHandle<()>>, Listens), Error> {
    let config = parts.config;
    let count = u16::try_from(cpus.len()).unwrap_or(u16::MAX);
    let admission = Admission::new(&config.admission, seed);
    let senders = Senders::new(config, seed);
    let standing: Arc<[Edict]> =
        parts.standing.iter().filter_map(|it| Edict::of(it, parts.tenants)).collect();
    let tables = Arc::new(Barrier::new(cpus.len() + 1));
    let (listening, listens) = mpsc::channel();
    let mut threads = Vec::new();
    for (port, cpu) in ports.into_iter().zip(cpus) {
        let core = port.me();
        let plan = Plan {
            core,
            cores: count,
            control: CoreId(count),
            cpu,
            config: Arc::clone(config),
            origins: Arc::clone(parts.origins),
            tls: parts.certificates.configs(),
            unix: clone_all(&parts.unix).map_err(Error::Thread)?,
            port,
            clock,
            admission: Arc::clone(&admission),
            policy: parts.policy.clone(),
            handlers: Arc::clone(parts.handlers),
            tenants: Arc::clone(parts.tenants),
            standing: Arc::clone(&standing),
            pages: Arc::clone(parts.pages),
            senders: Arc::clone(&senders),
            metrics: registry.core(core).map(Arc::clone).unwrap_or_default(),
            seed,
            entropy: Box::new(System::new()),
            tables: Arc::clone(&tables),
            listening: listening.clone(),
        };
        let thread = thread::Builder::new().name(format!("core-{}", core.0));
        threads.push(thread.spawn(move || net::run(plan)).map_err(Error::Thread)?);
    }
    tables.wait();
    drop(listening);
    for _ in &threads {
        listens.recv().map_err(|_| Error::Panic)?.map_err(Error::Thread)?;
    }
    Ok((threads, listens))
}

/// Whether a thread ends that was told to.
fn ends_soon<T>(thread: &JoinHandle<T>) -> bool {
    let began = Instant::now();
    while !thread.is_finished() && began.elapsed() < STOP_MAX {
        thread::sleep(STOP_LOOK_EVERY);
    }
    thread.is_finished()
}

/// Where cores say how far they have come.
type Listens = mpsc::Receiver<io::Result<()>>;

fn clone_all(unix: &[Option<UnixListener>]) -> io::Result<Vec<Option<UnixListener>>> {
    unix.iter().map(|listener| listener.as_ref().map(UnixListener::try_clone).transpose()).collect()
}

impl Threads {
    /// Tells every core.
    pub(super) fn order(&self, order: Order) {
        if self.commander.send(Command::Order(order)).is_err() {
            tracing::error!("the control plane takes no orders");
        }
    }

    /// Whether clients come in everywhere; an error if they cannot.
    pub(super) fn are_open(&mut self) -> Result<bool, Error> {
        while self.closed > 0 {
            match self.opening.try_recv() {
                Ok(opened) => opened.map_err(Error::Thread)?,
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Err(Error::Panic),
            }
            self.closed -= 1;
        }
        Ok(self.closed == 0)
    }

    /// Whether a thread has ended that should not have.
    pub(super) fn any_ended(&self) -> bool {
        let bridge_ended = self.bridge.as_ref().is_some_and(|(_, thread)| thread.is_finished());
        bridge_ended || self.control.is_finished() || self.cores.iter().any(JoinHandle::is_finished)
    }

    /// Whether no core is left.
    pub(super) fn all_cores_ended(&self) -> bool {
        self.cores.iter().all(JoinHandle::is_finished)
    }

    /// Tells Redis what cores have said, and that this node goes. It takes no longer than the farewell.
    pub(super) fn take_leave(&mut self) {
        if let Some((stop, thread)) = self.bridge.take() {
            stop.stop();
            // Whatever became of it, the process ends.
            let _ = thread.join();
        }
    }

    /// How those ended that have. The control plane is stopped, whoever is left, so that the audit trail
    /// is whole.
    pub(super) fn join(self) -> Result<(), Error> {
        let are_gone = self.all_cores_ended();
        // It may have ended by itself.
        let _ = self.commander.send(Command::Stop);
        let has_stopped = ends_soon(&self.control);
        if let Some((stop, thread)) = self.bridge {
            if thread.is_finished() {
                thread.join().map_err(|_| Error::Panic)?.map_err(Error::Thread)?;
            } else if are_gone {
                stop.stop();
                thread.join().map_err(|_| Error::Panic)?.map_err(Error::Thread)?;
            }
        }
        for core in self.cores.into_iter().filter(|core| are_gone || core.is_finished()) {
            core.join().map_err(|_| Error::Panic)?;
        }
        if are_gone || has_stopped {
            self.control.join().map_err(|_| Error::Panic)?.map_err(Error::Thread)?;
        }
        Ok(())
    }
}
