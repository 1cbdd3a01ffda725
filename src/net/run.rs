//! A core thread from its first to its last system call.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};

use slab::Slab;

use crate::auth::Policy;
use crate::clock::Now;
use crate::config::{Config, ListenAddress};
use crate::hash::Seed;
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics;
use crate::origin::Origins;
use crate::shard::application::Handlers;
use crate::shard::{CoreMessage, Edict, Effects, Entropy, Pages, Senders, Setup, Shard};
use crate::tenant::Tenants;
use crate::wheel::Wheel;
use crate::ws::decoder::{self, Scratch};

use super::admission::Admission;
use super::core::{Core, Deadline, State};
use super::descriptors::{self, Table};
use super::entrance::{self, Bound, Entrance, Wait};
use super::inbound::{Inbound, Tally};
use super::listener::{Listener, Pace};
use super::notify::Notify;
use super::park::Account;
use super::reader::SHARED_BUFFER_BYTES;
use super::ring::{self, Kind, Ring};
use super::socket;
use super::timer::{Clock, Counter, Glance, Timer, monotonic_us, thread_cpu_us};
use super::turns::Turns;
use super::unix;

/// What a core is given to begin with.
#[derive(Debug)]
pub struct Plan {
    /// Which core it is.
    pub core: CoreId,
    /// How many there are.
    pub cores: u16,
    /// Where the control plane is in the mesh.
    pub control: CoreId,
    /// The CPU it stays on; none: the kernel chooses.
    pub cpu: Option<usize>,
    /// The settings, with the addresses that were reserved.
    pub config: Arc<Config>,
    /// Whose pages may connect.
    pub origins: Arc<Origins>,
    /// What each listener encrypts with, if it does.
    pub tls: Vec<Option<Arc<rustls::ServerConfig>>>,
    /// UNIX sockets, one for each listener that is one.
    pub unix: Vec<Option<UnixListener>>,
    /// Its place in the mesh.
    pub port: Port<Letter<CoreMessage>>,
    /// The clock of the process.
    pub clock: Clock,
    /// The doors of the process.
    pub admission: Arc<Admission>,
    /// What credentials are checked against; none: everyone is let in.
    pub policy: Option<Arc<Policy>>,
    /// The program's own answers.
    pub handlers: Arc<Handlers>,
    /// The tenants of the process.
    pub tenants: Arc<Tenants>,
    /// What was decided before this process began.
    pub standing: Arc<[Edict]>,
    /// Whose pages may connect to which tenant.
    pub pages: Arc<Pages>,
    /// What users and addresses send, counted by all cores.
    pub senders: Arc<Senders>,
    /// What it counts.
    pub metrics: Arc<metrics::Core>,
    /// The key of all maps.
    pub seed: Seed,
    /// For ids and epochs.
    pub entropy: Box<dyn Entropy + Send>,
    /// All cores have left the shared table, and no one else has opened anything.
    pub tables: Arc<Barrier>,
    /// Told once that this core has all it needs, and once that clients come in, or else what is
    /// wrong; hung up without a word, it panicked.
    pub listening: mpsc::Sender<io::Result<()>>,
}

/// Runs a core on the calling thread until it has drained. If it cannot have a runtime or a
/// listener it says so to `plan.listening`, and returns at once.
pub fn run(plan: Plan) {
    descriptors::leave_signals_to_others();
    if let Some(cpu) = plan.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        tracing::warn!(cpu, "this core could not be pinned to its CPU");
    }
    let table = descriptors::leave_shared_table(&kept(&plan), &plan.tables);
    match ring::build(plan.config.cores.driver, plan.config.cores.ring_entries) {
        Ok((mut ring, kind)) => drive(&mut ring, kind, table, plan),
        // Whoever does not wait for it has given up on all cores.
        Err(error) => drop(plan.listening.send(Err(error))),
    }
}

fn drive(ring: &mut Ring, kind: Kind, table: Table, plan: Plan) {
    plan.metrics.set_driver(kind.into());
    plan.metrics.thread_id.set(descriptors::thread_id());
    ring.block_on(async {
        let (name, listening) = (plan.core, plan.listening.clone());
        let core = match open(plan, kind, table) {
            Ok(core) => core,
            Err(error) => return drop(listening.send(Err(error))),
        };
        // As above.
        let _ = listening.send(Ok(()));
        drop(listening);
        tracing::debug!(core = ?name, ring = kind.name(), "it has its addresses");
        monoio::spawn(hear_the_timer(Rc::clone(&core)));
        monoio::spawn(hear_the_doorbell(Rc::clone(&core)));
        core.bell.ring();
        core.run().await;
    });
}

/// What must stay open when a core leaves the shared table.
fn kept(plan: &Plan) -> Vec<RawFd> {
    let doorbells = plan.port.doorbells().map(|bell| bell.as_raw_fd());
    let inherited = plan.unix.iter().flatten().map(AsRawFd::as_raw_fd);
    doorbells.chain(inherited).collect()
}

/// Everything of a core that needs its runtime.
fn open(plan: Plan, kind: Kind, table: Table) -> io::Result<Rc<Core>> {
    let Plan { config, core, cores, seed, entropy, metrics, senders, port, clock, .. } = plan;
    let doors = Bound::all(plan.unix, &config)?;
    let doorbell: OwnedFd = port.doorbell_fd().try_clone_to_owned()?;
    let mut shard = Shard::new(Setup {
        core,
        cores,
        config: Arc::clone(&config),
        seed,
        entropy,
        metrics: Arc::clone(&metrics),
        policy: plan.policy,
        tenants: plan.tenants,
        senders,
        stopwatch: monotonic_us,
    });
    shard.answer_with(plan.handlers);
    shard.believe_pages(Arc::clone(&plan.pages));
    begin_with(&mut shard, &clock, &plan.standing);
    let (wheel, waits_for_redis) = wheel(&clock, &config);
    let tally = tally(&config, cores, &metrics);
    let state = State {
        shard,
        effects: Effects::default(),
        turns: Turns::default(),
        connections: Slab::new(),
        connections_ever: 0,
        listeners: Listener::all(&config, plan.tls),
        origins: plan.origins,
        pages: plan.pages,
        admission: Arc::clone(&plan.admission),
        failures: Vec::new(),
        records_lost: 0,
        pace: Pace::new(&config.admission),
        port,
        control: plan.control,
        wheel,
        metrics,
        frame_limits: decoder::Limits::from(&config.limits),
        scratch: Scratch::timed(monotonic_us),
        inbound: Inbound::new(Rc::clone(&tally)),
        decrypted: Vec::new(),
        reads: 0,
        events: 0,
        reads_before: 0,
        events_before: 0,
        account: Account { at: clock.moment(), cpu_us: thread_cpu_us(), ..Account::default() },
        was_spinning: false,
        wait: Wait { is_on: waits_for_redis, knows_decisions: false },
        all_end_at: None,
        looks_over: 0,
        jumped_us: 0,
        config,
    };
    Ok(Rc::new(Core {
        state: RefCell::new(state),
        unix_origin_us: Cell::new(clock.unix_origin_us()),
        clock,
        bell: Notify::default(),
        admission: plan.admission,
        entrance: RefCell::new(Some(Entrance { doors, listening: plan.listening })),
        doors: RefCell::default(),
        shared_buffer: Cell::new(vec![0; SHARED_BUFFER_BYTES]),
        tally,
        timer: Timer::new()?,
        doorbell: Counter::new(doorbell)?,
        glance: Glance::new(kind)?,
        end_for_clients: table.end_for_clients(),
    }))
}

/// What the core may hold of what it receives.
fn tally(config: &Config, cores: u16, metrics: &metrics::Core) -> Rc<Tally> {
    let tally = Tally::of_core(config.limits.inbox_total_bytes, cores);
    metrics.inbox_limit_bytes.set(tally.budget_bytes);
    tally
}

/// The core's own timers, and whether the link to Redis is waited for.
fn wheel(clock: &Clock, config: &Config) -> (Wheel<Deadline>, bool) {
    let (mut wheel, patience_ms) = (Wheel::new(), entrance::patience_ms(config));
    if let Some(patience_ms) = patience_ms {
        wheel.insert(clock.moment().plus_ms(patience_ms), Deadline::Redis);
    }
    (wheel, patience_ms.is_some())
}

/// Takes over what was decided before this process began.
fn begin_with(shard: &mut Shard, clock: &Clock, standing: &[Edict]) {
    let moment = clock.moment();
    let now = Now { moment, unix_ms: (clock.unix_origin_us() + moment.us) / 1_000 };
    let forgotten = standing.iter().filter(|edict| !shard.begin_with(now, edict)).count();
    if forgotten > 0 {
        tracing::error!(forgotten, "auth.revocations is too small for what the state file holds");
    }
}

async fn hear_the_timer(core: Rc<Core>) {
    loop {
        let due = core.timer.fired().await;
        if let Some(due) = due {
            let late_us = core.clock.moment().since_us(due);
            core.state.borrow().metrics.timer_lateness.record(late_us);
        }
        core.bell.ring();
    }
}

async fn hear_the_doorbell(core: Rc<Core>) {
    loop {
        core.doorbell.rung().await;
        core.bell.ring();
    }
}

/// The addresses of a process, before its cores listen on them.
#[derive(Debug)]
pub struct Reserved {
    /// The settings' addresses, with real ports where they said 0.
    pub addresses: Vec<ListenAddress>,
    /// UNIX sockets: one for all cores.
    pub unix: Vec<Option<UnixListener>>,
    /// Keep the ports until the cores have them: two servers that are started at once with any port
    /// would else be given the same one, and share it.
    pub held: Vec<OwnedFd>,
}

/// Makes sure that nobody else listens where this process is to, and finds ports where any will do.
///
/// # Errors
/// Names the address, and what would help.
pub fn reserve(config: &Config) -> io::Result<Reserved> {
    let mut reserved = Reserved { addresses: Vec::new(), unix: Vec::new(), held: Vec::new() };
    for listener in &config.listeners {
        let (address, unix) = match &listener.address {
            ListenAddress::Tcp(address) => {
                let (address, held) = reserve_port(*address, config)?;
                reserved.held.push(held);
                (address, None)
            }
            ListenAddress::Unix(path) => {
                (listener.address.clone(), Some(unix::listen(path, &config.tcp)?))
            }
        };
        reserved.addresses.push(address);
        reserved.unix.push(unix);
    }
    Ok(reserved)
}

/// Binding without `SO_REUSEPORT` fails where another process listens, which the cores' own
/// listeners would not: they would silently share the port with it.
fn reserve_port(address: SocketAddr, config: &Config) -> io::Result<(ListenAddress, OwnedFd)> {
    let bound = socket::bind(address, &config.tcp, config.tcp.share_port).map_err(|error| {
        let what = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => format!(
                "{address} is in use: another process listens there. To take over from a running \
                 server, start the new one with --share-port"
            ),
            Some(libc::EACCES) => {
                format!("{address}: ports below 1024 need CAP_NET_BIND_SERVICE")
            }
            Some(libc::EADDRNOTAVAIL) => format!("{address} is no address of this machine"),
            _ => format!("{address}: {error}"),
        };
        io::Error::new(error.kind(), what)
    })?;
    socket::share_port(&bound)?;
    Ok((ListenAddress::Tcp(socket::local_address(&bound)?.unwrap_or(address)), bound))
}
