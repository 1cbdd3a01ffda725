//! A process from its start to its exit: plan the cores, build the mesh, spawn, and then wait for
//! signals; drain and join.
//!
//! Invariants: nothing is opened between the making of the mesh and the moment at which every core
//! has a descriptor table of its own; no core is ever woken but by its doorbell, because the
//! runtimes of other threads wake by descriptor numbers that mean something else to a core; a core
//! that dies takes the process with it.

mod entropy;
mod plan;
mod reload;
mod sockets;
mod threads;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::auth::{self, Custom, Policy};
use crate::config::{Config, ListenAddress, Listener};
use crate::control;
use crate::decision::Decision;
use crate::letter::{Order, Reload};
use crate::logging::{self, LogError, Logs};
use crate::net::{self, tls};
use crate::origin::{self, Origins};
use crate::shard::application::Handlers;
use crate::shard::{PATIENCE_MS, Pages};
use crate::tenant::Tenants;

use self::threads::Threads;

/// How often the process looks after its cores and its certificates.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The same where it matters how soon it is seen: before clients come in, and in a drain, since what other
/// nodes ask for between the end of its cores and its farewell nobody answers.
const LOOK_OFTEN: Duration = Duration::from_millis(10);

/// How much longer than its window a drain may take: the last goodbye begins at its end. Half a second
/// more is for a farewell to Redis.
const DRAIN_GRACE: Duration = Duration::from_millis(net::GOODBYE_MS + 500);

const _: () =
    assert!(PATIENCE_MS <= net::GOODBYE_MS, "who was closed before a drain ends within it");

/// Reads the configuration again, or says to a person what is wrong with it.
pub type Reread = Box<dyn Fn() -> Result<Config, String>>;

/// Why a server could not start, or had to end.
#[derive(Debug)]
pub enum Error {
    /// The logs cannot be set up.
    Log(LogError),
    /// An address cannot be had.
    Listen(io::Error),
    /// An origin is none.
    Origin(origin::Invalid),
    /// Credentials cannot be checked as the settings ask for.
    Auth(auth::SettingsProblems),
    /// Certificates do not serve.
    Tls(tls::Problems),
    /// The mesh cannot be made.
    Mesh(io::Error),
    /// The control plane cannot have its address.
    Control(SocketAddr, io::Error),
    /// What was decided before cannot be read, or cannot be kept.
    State(io::Error),
    /// A thread, its runtime or its listener cannot be made.
    Thread(io::Error),
    /// A second signal ended the drain before everyone was sent away.
    Impatient,
    /// A thread panicked. What it held is lost; a supervisor should start the process again.
    Panic,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) | Self::Thread(error) => write!(f, "{error}"),
            Self::State(error) => write!(f, "control.state_file: {error}"),
            Self::Log(error) => write!(f, "{error}"),
            Self::Origin(invalid) => {
                write!(f, "handshake.origins: entry {}: {invalid}", invalid.entry + 1)
            }
            Self::Auth(problems) => write!(f, "{problems}"),
            Self::Tls(problems) => write!(f, "{problems}"),
            Self::Mesh(error) => write!(f, "the mesh: {error}"),
            Self::Control(address, error) => {
                write!(f, "the control plane cannot listen on {address}: {error}")?;
                if error.kind() == io::ErrorKind::AddrInUse {
                    f.write_str(
                        ". It shares no address: a server that takes over from another needs one \
                         of its own (--control)",
                    )?;
                }
                Ok(())
            }
            Self::Impatient => f.write_str("a second signal: not everyone was sent away"),
            Self::Panic => {
                f.write_str("a thread panicked: ending, so that a new process can begin")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What an embedding program adds to the server.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// Its own way to check credentials, before any other. With one, a credential is required (or
    /// `auth.anonymous`), whatever else is configured.
    pub custom: Option<Arc<dyn Custom>>,
    /// What answers messages whose type is no command, by that type.
    pub handlers: Handlers,
}

/// Serves until a signal says otherwise.
///
/// # Errors
/// If it cannot begin, or has to end before it was told to.
pub fn run(config: Config, reread: Reread) -> Result<(), Error> {
    run_with(config, reread, Extensions::default())
}

/// The same, with what a program adds of its own.
///
/// # Errors
/// If it cannot begin, or has to end before it was told to.
pub fn run_with(mut config: Config, reread: Reread, added: Extensions) -> Result<(), Error> {
    let kept = net::keep_to_cpus(&config.cores.cpus);
    let logs = logging::start(&config.log).map_err(Error::Log)?;
    if let Err(error) = kept {
        warn!(%error, "not all threads are kept to cores.cpus");
    }
    net::raise_descriptor_limit();
    net::give_back_what_is_large();
    let reserved = net::reserve(&config).map_err(Error::Listen)?;
    // Removed on every way out from here.
    let _sockets = sockets::find(&reserved.addresses);
    let take = |(listener, address): (&mut Listener, &ListenAddress)| {
        std::mem::replace(&mut listener.address, address.clone())
    };
    let asked = config.listeners.iter_mut().zip(&reserved.addresses).map(take).collect();
    let config = Arc::new(config);
    let origins = origins(&config)?;
    let certificates = tls::Certificates::load(&config.listeners).map_err(Error::Tls)?;
    let tenants = Tenants::new(&config);
    let pages = pages(&config, &tenants, &origins)?;
    let policy = policy(&config, &tenants, &added, 0, None)?;
    let standing = standing(&config, &tenants)?;
    let handlers = Arc::new(added.handlers.clone());
    let parts = threads::Parts {
        handlers: &handlers,
        tenants: &tenants,
        pages: &pages,
        policy: &policy,
        standing: &standing,
        config: &config,
        unix: reserved.unix,
        origins: &origins,
        certificates: &certificates,
    };
    let threads = threads::spawn(&parts)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let mut watch = Watch {
        config,
        asked,
        tenants,
        added,
        policies: 0,
        policy,
        reread,
        certificates,
        threads,
        logs,
    };
    let told = runtime.block_on(watch.until_told_to_end());
    told.and(watch.threads.join())
}

/// What is looked after while the cores serve.
struct Watch {
    config: Arc<Config>,
    /// Where each listener was told to listen, before its port was found.
    asked: Vec<ListenAddress>,
    tenants: Arc<Tenants>,
    added: Extensions,
    /// How often credentials have got another policy.
    policies: u64,
    policy: Option<Arc<Policy>>,
    reread: Reread,
    certificates: tls::Certificates,
    threads: Threads,
    logs: Logs,
}

impl Watch {
    async fn until_told_to_end(&mut self) -> Result<(), Error> {
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        let mut hang_up = listen_for(SignalKind::hangup())?;
        let (mut look, mut are_open) = (every(LOOK_OFTEN), false);
        if self.config.redis.is_on() {
            info!("clients come in once there is word of the link to Redis");
        }
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => self.reload(),
                _ = look.tick() => {
                    if are_open {
                        self.look();
                    } else if self.threads.are_open()? {
                        greet(&self.config, self.threads.control_address);
                        (look, are_open) = (every(LOOK_EVERY), true);
                    }
                }
            }
            if self.threads.any_ended() {
                return Ok(());
            }
        }
        self.drain([terminate, interrupt, hang_up]).await
    }

    /// Once in a while: a certificate that changed.
    fn look(&mut self) {
        if self.certificates.have_changed() {
            info!("a certificate file has changed");
            self.take_over(&Arc::clone(&self.config));
        }
    }

    /// Sends everyone away, over the window, and waits for the cores: not for ever, and no longer than
    /// to a second signal. Cores that are left then go with the process.
    async fn drain(&mut self, signals: [Signal; 3]) -> Result<(), Error> {
        let [mut terminate, mut interrupt, mut hang_up] = signals;
        let window_ms = self.config.drain.window_ms;
        info!(window_ms, "draining: connections are sent away; a second signal ends at once");
        self.threads.order(Order::Drain { window_ms });
        let deadline = Instant::now() + Duration::from_millis(window_ms) + DRAIN_GRACE;
        let mut look = every(LOOK_OFTEN);
        while !self.threads.all_cores_ended() {
            tokio::select! {
                _ = terminate.recv() => return Err(Error::Impatient),
                _ = interrupt.recv() => return Err(Error::Impatient),
                _ = hang_up.recv() => warn!("draining: the settings are not read again"),
                _ = look.tick() => {}
                () = tokio::time::sleep_until(deadline) => {
                    warn!(
                        "some connections, or what Redis was still to be told, did not go in time: \
                         ending without them"
                    );
                    self.threads.take_leave();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// SIGHUP: takes over what can change in a running process, and says what cannot.
    fn reload(&mut self) {
        let new = match (self.reread)() {
            Ok(new) => new,
            Err(wrong) => return error!("the old settings are kept: {wrong}"),
        };
        let (config, kept, conflicts) = reload::merge(&self.config, &self.asked, &new);
        for conflict in conflicts.0 {
            let (key, cause) = (conflict.key, conflict.cause);
            warn!(key, %cause, "what waits needs proxies as they are: those settings wait as well");
        }
        for key in kept {
            warn!(key, "this setting has changed, and takes effect when the process starts again");
        }
        self.take_over(&Arc::new(config));
    }

    /// Gives the cores new settings and certificates: all of them, or none if one does not serve.
    fn take_over(&mut self, config: &Arc<Config>) {
        let read = origins(config).and_then(|origins| {
            let pages = pages(config, &self.tenants, &origins)?;
            let (number, before) = (self.policies + 1, self.policy.as_deref());
            let policy = policy(config, &self.tenants, &self.added, number, before)?;
            let certificates = self.certificates.again(&config.listeners).map_err(Error::Tls)?;
            Ok((origins, pages, policy, certificates))
        });
        match read {
            Ok((origins, pages, policy, certificates)) => {
                self.policies += 1;
                self.policy.clone_from(&policy);
                if let Err(error) = self.logs.reload(&config.log) {
                    error!(%error, "the old log filter is kept");
                }
                let (config, tls) = (Arc::clone(config), certificates.configs());
                self.certificates = certificates;
                self.config = Arc::clone(&config);
                let reload = Reload { config, origins, pages, policy, tls };
                self.threads.order(Order::Reload(Arc::new(reload)));
                info!("settings and certificates are reloaded");
            }
            Err(error) => error!(%error, "the old settings and certificates are kept"),
        }
    }
}

fn origins(config: &Config) -> Result<Arc<Origins>, Error> {
    Origins::parse(&config.handshake.origins).map(Arc::new).map_err(Error::Origin)
}

/// Whose pages may connect to which tenant.
fn pages(config: &Config, tenants: &Tenants, general: &Arc<Origins>) -> Result<Arc<Pages>, Error> {
    let mut pages = Pages { general: Arc::clone(general), any: None, of: Vec::new() };
    let mut all = Vec::new();
    for (id, tenant) in tenants.iter() {
        let own = config.tenants.get(&*tenant.name).map(|tenant| &tenant.rows.origins);
        if let Some(own) = own.filter(|own| !own.is_empty()) {
            pages.of.push((id, Origins::parse(own).map_err(Error::Origin)?));
            all.extend_from_slice(own);
        }
    }
    if !all.is_empty() {
        pages.any = Some(Origins::parse(&all).map_err(Error::Origin)?);
    }
    Ok(Arc::new(pages))
}

/// What credentials are checked against, where they are; it counts on from where the one before was.
fn policy(
    config: &Config,
    tenants: &Tenants,
    added: &Extensions,
    number: u64,
    before: Option<&Policy>,
) -> Result<Option<Arc<Policy>>, Error> {
    let custom = added.custom.as_ref();
    if config.auth.mode.is_open() && custom.is_none() {
        return Ok(None);
    }
    let named: Vec<_> = tenants.iter().map(|(id, it)| (id, Arc::clone(&it.name))).collect();
    let read = |path: &Path| std::fs::read_to_string(path);
    let sources = auth::Sources { config, tenants: &named, read: &read, custom, number };
    let mut policy = Policy::read(&sources).map_err(Error::Auth)?;
    if let Some(before) = before {
        policy = policy.after(before);
    }
    Ok(Some(Arc::new(policy)))
}

/// What was decided before this process began. Holds for tenants from here on.
fn standing(config: &Config, tenants: &Tenants) -> Result<Vec<Decision>, Error> {
    let Some(path) = &config.control.state_file else { return Ok(Vec::new()) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let standing = control::standing(path, now_ms).map_err(Error::State)?;
    for decision in &standing {
        if let Decision::State { tenant, suspended } = decision
            && let Some(id) = tenants.find(tenant)
        {
            tenants.get(id).suspend(*suspended);
        }
    }
    Ok(standing)
}

/// A tick that is late is not made up for.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::Thread)
}

/// What to do next, for whoever started it by hand.
#[expect(clippy::print_stdout, reason = "this is what the command says to a person")]
fn greet(config: &Config, control: SocketAddr) {
    for listener in &config.listeners {
        match &listener.address {
            ListenAddress::Tcp(address) => {
                let (web, socket) =
                    if listener.tls.is_some() { ("https", "wss") } else { ("http", "ws") };
                println!(
                    "ringroom serves on {web}://{address}/  (WebSocket: {socket}://{address}/ws)"
                );
            }
            ListenAddress::Unix(path) => println!("ringroom serves on unix:{}", path.display()),
        }
    }
    println!("Open the page for a chat over the real protocol.");
    println!("Control plane: http://{control}/health and /metrics. End with Ctrl-C.");
}
