//! What the process tells the control plane to pass on: the way in for signals and watchers, which
//! have no port of their own.

use tokio::sync::{mpsc, oneshot};

use crate::letter::Order;

use super::ledger::Written;
use super::spread::Told;
use crate::decision::Decision;

/// Commands that may wait.
const WAITING_MAX: usize = 64;

/// A command to the control plane.
#[derive(Debug)]
pub enum Command {
    /// Give every core this order. A drain also makes the process not ready, at once.
    Order(Order),
    /// The operator has decided this: keep it, have every core carry it out, and say when all have.
    Decide {
        /// What.
        decision: Decision,
        /// Who waits for it.
        done: oneshot::Sender<Carried>,
    },
    /// Return from [`run`](super::run).
    Stop,
}

/// What came of a decision on all cores.
#[derive(Debug)]
pub struct Carried {
    /// Connections that were closed for it.
    pub closed: u64,
    /// It holds for those that come, too.
    pub holds: bool,
    /// Whether it will hold after a restart.
    pub(super) written: Written,
    /// Whether it will hold on all other nodes.
    pub(super) told: Told,
}

/// The sending end: any thread may have one.
#[derive(Clone, Debug)]
pub struct Commander(mpsc::Sender<Command>);

/// The receiving end: goes to [`run`](super::run).
#[derive(Debug)]
pub struct Commands(mpsc::Receiver<Command>);

/// A way to command the control plane.
#[must_use]
pub fn commands() -> (Commander, Commands) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Commander(sender), Commands(receiver))
}

impl Commander {
    /// Sends one command, without waiting.
    ///
    /// # Errors
    ///
    /// The command comes back if the control plane has ended, or has not kept up with many.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        self.0.try_send(command).map_err(mpsc::error::TrySendError::into_inner)
    }
}

impl Commands {
    /// The next command. Waits for ever once nobody can send one.
    pub(super) async fn next(&mut self) -> Command {
        match self.0.recv().await {
            Some(command) => command,
            None => std::future::pending().await,
        }
    }
}
