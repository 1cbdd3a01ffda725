//! The control plane's threads.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{interval, sleep};

use super::api::{self, View};
use super::audit::Trail;
use super::command::Carried;
use super::inquiry::{Found, Inquiry};
use super::ledger::Ledger;
use super::nodes::{self, Nodes};
use super::places::{Place, Places};
use super::relay::Relays;
use super::serve::{self, Limits};
use super::spread::{self, Spread, Told};
use super::v1::{Desk, PolicyInForce, unix_ms};
use super::{Command, Commander, Commands, health, process, public};
use crate::auth::{Answer, Policy};
use crate::config::Config;
use crate::decision::{Decision, shared};
use crate::id::CoreId;
use crate::letter::{Letter, Order};
use crate::mesh::Port;
use crate::metrics::Registry;
use crate::node::Facts;
use crate::shard::{self, Edict};
use crate::tenant::Tenants;

/// Connections of the control plane's own listener, on each of its threads.
const CONNECTIONS_MAX: usize = 256;
/// Batches taken from the inbox before everything else gets its turn.
const BATCHES_PER_TICK: usize = 64;
/// Between two looks at the cores' heartbeats.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// After an accept that failed, as it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the control plane is made of. `M` is what engines say to each other.
#[derive(Debug)]
pub struct Plane<M> {
    /// The settings.
    pub config: Arc<Config>,
    /// When the process began: what all moments count from.
    pub started: Instant,
    /// Its place in the mesh; the cores are the parties before it.
    pub port: Port<Letter<M>>,
    /// The figures of all cores.
    pub registry: Registry,
    /// Its own listener, at `control.address`.
    pub listener: TcpListener,
    /// What it is told to do.
    pub commands: Commands,
    /// How its own routes reach it.
    pub commander: Commander,
    /// The tenants of the process.
    pub tenants: Arc<Tenants>,
    /// What credentials are checked against, where they are.
    pub policy: Option<Arc<Policy>>,
    /// What tells this process from others.
    pub node: u64,
    /// What was decided before this process began.
    pub standing: Vec<Decision>,
}

/// Runs the control plane on this thread, and on `control.threads - 1` more, until it is told to
/// stop.
///
/// # Errors
///
/// The operating system refuses a runtime, a thread, or a descriptor.
pub fn run<M: Send + 'static>(plane: Plane<M>) -> io::Result<()> {
    let Plane { config, started, port, registry, listener, commands, commander, tenants, .. } =
        plane;
    let (policy, standing, node) = (plane.policy, plane.standing, plane.node);
    listener.set_nonblocking(true)?;
    let trail = Trail::open(&config.audit)?;
    let faults = config.dev.faults.then(|| commander.clone());
    let token = config.control.token.clone().map(Arc::new);
    let most = config.most_decisions();
    let ledger = Ledger::new(standing, most, config.control.state_file.as_deref())?;
    let in_force = PolicyInForce::new(policy.clone());
    let desk = Desk {
        commander,
        tenants: Arc::clone(&tenants),
        trail: trail.clone(),
        ledger: ledger.clone(),
        policy: in_force.clone(),
        leeway_ms: config.auth.leeway_ms,
    };
    let needs_redis = config.redis.is_on() && !config.redis.ready_without;
    let forms = crate::node::forms(config.dev.oldest_form, config.dev.newest_form);
    let view = View { registry, started, draining: Arc::default(), needs_redis, forms, faults };
    let nodes = Nodes::new(&config, &view, node);
    // The bridge comes behind the control plane in the mesh.
    let bridge = config.redis.is_on().then(|| CoreId(port.me().0 + 1));
    let spread = bridge.map(|_| Spread::new(ledger.clone(), most));
    let limits = watch::Sender::new(Limits::from(&config.handshake));
    let router = |view: &View| api::router(view.clone(), desk.clone(), nodes.clone(), &token);
    for index in 1..config.control.threads {
        let (listener, router) = (listener.try_clone()?, router(&view));
        let limits = limits.subscribe();
        thread::Builder::new().name(format!("control {index}")).spawn(move || {
            let served = local(accept(listener, router, limits));
            tracing::error!(error = ?served.err(), "a thread of the control plane ended");
        })?;
    }
    let router = router(&view);
    local(async move {
        spawn_local(accept(listener, router, limits.subscribe()));
        spawn_local(watch_cores(view.clone()));
        let (relays, edicts) = (Relays::default(), Edicts::default());
        let inquiry = Inquiry::new(&config, policy.as_ref());
        let party = Party {
            port,
            bridge,
            view,
            limits,
            relays,
            edicts,
            trail,
            inquiry,
            policy: in_force,
            nodes,
            tenants,
            ledger,
            spread,
        };
        party.run(commands).await
    })?
}

/// Runs a future, and what it spawns, on a runtime of this thread.
fn local<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, future))
}

/// A descriptor that the runtime waits for.
#[allow(deprecated, reason = "its successor is unsafe for descriptors that are not owned; this is")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Serves the control plane's own listener.
async fn accept(
    listener: TcpListener,
    router: Router,
    limits: watch::Receiver<Limits>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = Places::new(CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                places.make_room().await;
                let (router, limits) = (router.clone(), *limits.borrow());
                places.give(|place| serve::connection(stream, router, limits, place));
            }
            Err(error) => {
                tracing::warn!(%error, "the control plane cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Says when a core stops coming round, and when it does again.
async fn watch_cores(view: View) {
    let mut wedged = vec![false; view.registry.cores().count()];
    let mut interval = interval(WATCH_INTERVAL);
    loop {
        interval.tick().await;
        for ((id, core), was_wedged) in view.registry.cores().zip(&mut wedged) {
            let is_wedged = health::status(core, view.now(), false) == health::Status::Wedged;
            let age_ms = health::heartbeat_age_ms(core, view.now());
            match (*was_wedged, is_wedged) {
                (false, true) => {
                    let thread = process::thread_state(core);
                    tracing::error!(core = id.0, age_ms, ?thread, "a core is wedged");
                }
                (true, false) => tracing::warn!(core = id.0, "a core came round again"),
                _ => {}
            }
            *was_wedged = is_wedged;
        }
    }
}

/// Edicts that not every core has carried out.
#[derive(Default)]
struct Edicts {
    last: u64,
    open: HashMap<u64, OpenEdict>,
}

/// An edict that not every core has carried out.
struct OpenEdict {
    left: usize,
    all: Carried,
    done: oneshot::Sender<Carried>,
}

impl Edicts {
    fn begin(&mut self, cores: usize, all: Carried, done: oneshot::Sender<Carried>) -> u64 {
        // Who waited for these has given up.
        self.open.retain(|_, open| !open.done.is_closed());
        self.last += 1;
        self.open.insert(self.last, OpenEdict { left: cores, all, done });
        self.last
    }

    fn carried(&mut self, carried: &shard::Carried) {
        let Some(open) = self.open.get_mut(&carried.number) else { return };
        open.left = open.left.saturating_sub(1);
        open.all.closed += u64::from(carried.closed);
        open.all.holds &= carried.holds;
        if open.left == 0
            && let Some(open) = self.open.remove(&carried.number)
        {
            // Whoever does not wait any more was told that it was not confirmed in time.
            let _ = open.done.send(open.all);
        }
    }
}

/// The control plane as a party of the mesh.
struct Party<M> {
    port: Port<Letter<M>>,
    /// Where the way to other nodes is; none: there are no others.
    bridge: Option<CoreId>,
    view: View,
    /// Of connections that begin from now on, on all threads.
    limits: watch::Sender<Limits>,
    relays: Relays,
    edicts: Edicts,
    trail: Trail,
    inquiry: Inquiry,
    policy: PolicyInForce,
    nodes: Nodes,
    tenants: Arc<Tenants>,
    ledger: Ledger,
    /// None: there are no other nodes.
    spread: Option<Spread>,
}

impl<M: Send + 'static> Party<M> {
    async fn run(mut self, mut commands: Commands) -> io::Result<()> {
        let router = public::router(self.view.clone());
        let doorbell = watched(self.port.doorbell_fd().try_clone_to_owned()?)?;
        let mut look = interval(nodes::LOOK_EVERY);
        let mut read = interval(spread::READ_EVERY);
        let mut read_first = interval(spread::READ_FIRST_EVERY);
        let first_until = Instant::now() + spread::READ_FIRST_FOR;
        loop {
            self.receive(&router);
            self.deliver();
            if !self.port.fall_asleep() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                rung = doorbell.readable() => {
                    rung?.clear_ready();
                    self.port.clear_doorbell();
                }
                () = self.relays.wants_to_send() => {}
                _ = look.tick() => self.look(),
                _ = read.tick(), if self.spread.is_some() => self.share(),
                _ = read_first.tick(), if self.has_to_read() && Instant::now() < first_until => {
                    self.ask_first();
                }
                found = self.inquiry.next() => self.answer(&found),
                command = commands.next() => match command {
                    Command::Order(order) => self.order(&order),
                    Command::Decide { decision, done } => self.decide(&decision, done),
                    Command::Stop => {
                        self.trail.finish();
                        return Ok(());
                    }
                },
            }
            self.port.wake();
        }
    }

    fn receive(&mut self, router: &Router) {
        for _ in 0..BATCHES_PER_TICK {
            let Some(batch) = self.port.receive() else { return };
            for letter in batch.messages {
                match letter {
                    Letter::Relay(message) => {
                        if let Some(stream) = self.relays.handle(batch.from, message) {
                            let limits = self.limits.borrow().once();
                            let place = Place::apart();
                            spawn_local(serve::connection(stream, router.clone(), limits, place));
                        }
                    }
                    Letter::Carried(carried) => self.edicts.carried(&carried),
                    Letter::Question(question) => self.inquiry.ask(batch.from, *question),
                    Letter::Record(record) => self.trail.add(*record),
                    Letter::RecordsLost(count) => self.trail.lose(count),
                    Letter::Nodes(known) => self.nodes.learn(known),
                    Letter::Shared(news) => self.hear(*news),
                    Letter::Core(_)
                    | Letter::Facts(_)
                    | Letter::Share(_)
                    | Letter::Order(_)
                    | Letter::Edict { .. }
                    | Letter::Answer(_) => {
                        tracing::error!(from = ?batch.from, "a letter that is not for the control plane");
                    }
                }
            }
        }
    }

    fn deliver(&mut self) {
        for (to, message) in self.relays.take_outgoing() {
            let bytes = message.cost_bytes();
            self.post(to, Letter::Relay(message), bytes);
        }
        self.port.deliver(self.view.now());
    }

    /// Looks at this node, and tells others what there is to say of it.
    fn look(&mut self) {
        let facts = self.nodes.look(&self.view);
        if let Some(bridge) = self.bridge {
            self.post(bridge, Letter::Facts(Box::new(facts)), size_of::<Facts>());
        }
    }

    /// Gives an order to every core.
    fn order(&mut self, order: &Order) {
        if let Order::Drain { window_ms } = order {
            self.view.draining.store(true, Ordering::Relaxed);
            self.look();
            tracing::info!(window_ms, relayed = self.relays.len(), "sending all connections away");
        }
        if let Order::Reload(reload) = order {
            self.trail.reopen();
            self.limits.send_replace(Limits::from(&reload.config.handshake));
            self.inquiry.replace(&reload.config, reload.policy.as_ref());
            self.policy.replace(reload.policy.clone());
        }
        let cores: Vec<CoreId> = self.view.registry.cores().map(|(id, _)| id).collect();
        for core in cores {
            self.post(core, Letter::Order(order.clone()), size_of::<Order>());
        }
    }

    /// The operator has decided something: it holds here, and on all other nodes.
    fn decide(&mut self, decision: &Decision, done: oneshot::Sender<Carried>) {
        let told = self.spread.as_mut().map(|spread| spread.owe(decision.clone()));
        self.carry_out(decision, told, done);
        self.share();
    }

    /// Says to other nodes what there is to say of decisions, and asks what they say.
    fn share(&mut self) {
        let Some((spread, bridge)) = self.spread.as_mut().zip(self.bridge) else { return };
        for ask in spread.asks(Instant::now()) {
            self.post(bridge, Letter::Share(Box::new(ask)), size_of::<shared::Ask>());
        }
    }

    /// Asks what other nodes have decided, again and again until that is known.
    fn ask_first(&mut self) {
        let Some((spread, bridge)) = self.spread.as_mut().zip(self.bridge) else { return };
        if let Some(ask) = spread.ask_to_read(Instant::now()) {
            self.post(bridge, Letter::Share(Box::new(ask)), size_of::<shared::Ask>());
        }
    }

    /// Whether the decisions of other nodes have not been read yet.
    fn has_to_read(&self) -> bool {
        self.spread.as_ref().is_some_and(|spread| !spread.is_read())
    }

    /// There is news of other nodes' decisions.
    fn hear(&mut self, news: shared::News) {
        let had_to_read = self.has_to_read();
        let Some(spread) = &mut self.spread else { return };
        let decisions = spread.hear(news, unix_ms());
        let is_behind = spread.is_behind();
        for decision in decisions {
            tracing::info!("carrying out a decision that was made on another node");
            // Who waits for it waits there.
            self.carry_out(&decision, None, oneshot::channel().0);
        }
        if had_to_read && !self.has_to_read() {
            // Behind what was decided.
            self.order(&Order::Admit);
        }
        if is_behind {
            self.share();
        }
    }

    /// The one way of a decision, whoever has made it: it is kept, holds for those that come, and
    /// is carried out by every core.
    fn carry_out(&mut self, decision: &Decision, told: Told, done: oneshot::Sender<Carried>) {
        let written = self.ledger.note(decision, unix_ms());
        if let Decision::State { tenant, suspended } = decision
            && let Some(tenant) = self.tenants.find(tenant)
        {
            // Nobody new comes in from here on, so those that the cores close are all.
            self.tenants.get(tenant).suspend(*suspended);
        }
        let carried = Carried { closed: 0, holds: true, written, told };
        let Some(edict) = Edict::of(decision, &self.tenants) else {
            // As below.
            let _ = done.send(carried);
            return;
        };
        let cores: Vec<CoreId> = self.view.registry.cores().map(|(id, _)| id).collect();
        let number = self.edicts.begin(cores.len(), carried, done);
        for core in cores {
            let letter = Letter::Edict { number, edict: edict.clone() };
            self.post(core, letter, size_of::<Edict>());
        }
    }

    /// Gives what was found out to whom it is for.
    fn answer(&mut self, found: &Found) {
        let cores: Vec<CoreId> = self.view.registry.cores().map(|(id, _)| id).collect();
        for core in cores.into_iter().filter(|core| found.to.is_none_or(|to| to == *core)) {
            let answer = Box::new(found.answer.clone());
            self.post(core, Letter::Answer(answer), size_of::<Answer>());
        }
    }

    fn post(&mut self, to: CoreId, letter: Letter<M>, bytes: usize) {
        if let Err(error) = self.port.post(to, letter, bytes) {
            tracing::warn!(?to, %error, "a letter is lost");
        }
    }
}
