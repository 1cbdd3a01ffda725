//! The core threads: made, told, and waited for.

use std::io;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use crate::config::Config;
use crate::control;
use crate::id::CoreId;
use crate::letter::{Letter, Order};
use crate::mesh::{self, Port};
use crate::metrics;
use crate::net::{self, Admission, Clock, Plan, tls};
use crate::shard::CoreMessage;
use crate::ws::origin::Origins;

use super::Error;
use super::entropy::System;
use super::plan;

/// The threads of the data plane.
pub(super) struct Cores {
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// For orders.
    port: Port<Letter<CoreMessage>>,
    clock: Clock,
    /// What the control plane begins with; given out once.
    pub(super) control: Option<control::Setup>,
}

/// Starts every core, and returns when all of them listen.
pub(super) fn spawn(
    config: &Arc<Config>,
    unix: Unix,
    origins: &Arc<Origins>,
    certificates: &tls::Certificates,
) -> Result<Cores, Error> {
    let cpus = plan::cpus(&config.cores);
    let count = u16::try_from(cpus.len()).unwrap_or(u16::MAX);
    // The mesh has two more parties than cores: the control plane, and this thread for its orders.
    let (control, orders) = (CoreId(count), CoreId(count + 1));
    let mut ports = mesh::build(mesh::Plan {
        parties: count + 2,
        inbox_batches: config.mesh.inbox_batches as usize,
        backlog_bytes: config.mesh.backlog_bytes,
    })
    .map_err(Error::Mesh)?;
    let mut take_port = |id: CoreId| ports.pop().filter(|port| port.me() == id);
    let (Some(orders), Some(control_port)) = (take_port(orders), take_port(control)) else {
        return Err(Error::Mesh(io::Error::other("the mesh has fewer ports than parties")));
    };
    let registry = metrics::Registry::new(count);
    let clock = Clock::start();
    let seed = System::new().seed();
    let admission = Admission::new(&config.admission, seed);
    let tables = Arc::new(Barrier::new(cpus.len() + 1));
    let listening = Arc::new(Barrier::new(cpus.len() + 1));
    let mut threads = Vec::new();
    for (port, cpu) in ports.into_iter().zip(cpus) {
        let core = port.me();
        let plan = Plan {
            core,
            cores: count,
            control,
            cpu,
            config: Arc::clone(config),
            origins: Arc::clone(origins),
            tls: certificates.configs(),
            unix: clone_all(&unix).map_err(Error::Core)?,
            port,
            clock,
            admission: Arc::clone(&admission),
            metrics: registry.core(core),
            seed,
            entropy: Box::new(System::new()),
            tables: Arc::clone(&tables),
            listening: Arc::clone(&listening),
        };
        let thread = thread::Builder::new().name(format!("core-{}", core.0));
        threads.push(thread.spawn(move || net::run(plan)).map_err(Error::Core)?);
    }
    tables.wait();
    drop(unix);
    listening.wait();
    let control = control::Setup {
        config: Arc::clone(config),
        port: control_port,
        registry,
        clock,
    };
    Ok(Cores { threads, port: orders, clock, control: Some(control) })
}

type Unix = Vec<Option<std::os::unix::net::UnixListener>>;

fn clone_all(unix: &Unix) -> io::Result<Unix> {
    unix.iter().map(|listener| listener.as_ref().map(|it| it.try_clone()).transpose()).collect()
}

impl Cores {
    /// Tells every core.
    pub(super) fn order(&mut self, order: &Order) {
        for index in 0..self.threads.len() {
            let core = CoreId(u16::try_from(index).unwrap_or(u16::MAX));
            // A core that is gone needs no orders.
            let _ = self.port.post(core, Letter::Order(order.clone()), size_of::<Order>());
        }
        self.deliver();
    }

    /// Tries again to hand over what did not fit.
    pub(super) fn deliver(&mut self) {
        self.port.deliver(self.clock.moment());
    }

    /// Whether a core has ended, for whatever reason.
    pub(super) fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether no core is left.
    pub(super) fn all_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the cores, and says how they ended: an error of their own before a panic.
    pub(super) fn join(self) -> Result<(), Error> {
        let mut ended = Ok(());
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Error::Core(error)),
                Err(_) => ended = Err(Error::CoreDied),
            }
        }
        ended
    }
}
