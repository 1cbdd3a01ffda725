//! What connections do. One scenario a file: its options, and its behaviour as a state machine
//! that is told what happens on its thread's connections.

pub mod chat;
pub mod churn;
pub mod echo;
pub mod fanout;
pub mod hold;
mod ledger;
mod members;
pub mod resume;
pub mod slow;
pub mod storm;
mod turns;

use clap::{Args, Command, FromArgMatches, Subcommand};
use serde::{Deserialize, Serialize};

use crate::dialect::{Dialect, Event, Notice};
use crate::net::wire::{Phase, Wire};

pub use ledger::Ledger;

/// Messages sent in one tick at most, so that reading is not starved.
pub const BURST_MAX: usize = 512;
/// How far ahead a scenario without a timetable wants to be asked again.
const IDLE_US: u64 = 10_000;

/// One thread's part of a phase.
pub trait Scenario {
    /// Asks for the first connections.
    fn begin(&mut self, wire: &mut Wire);

    /// A connection may be used.
    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>);

    /// A message came.
    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>);

    /// A WebSocket ping was answered.
    fn answered_ping(&mut self, _peer: usize) {}

    /// A connection ended, having come as far as `phase`.
    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase);

    /// Whether the load may start.
    fn is_ready(&self, wire: &Wire) -> bool;

    /// Does what is due while the load runs; says when it wants to be asked again.
    fn run(&mut self, wire: &mut Wire) -> u64;

    /// Whether all that was sent has arrived.
    fn is_settled(&self, _wire: &Wire) -> bool {
        true
    }

    /// Counts what did not arrive.
    fn finish(&mut self, _wire: &mut Wire) {}
}

/// A scenario's options.
pub trait Plan {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Connections over all threads.
    fn peers(&self) -> usize;

    /// Publishers over all threads.
    fn publishers(&self) -> usize {
        0
    }

    /// Bytes of a payload.
    fn size(&self) -> usize {
        crate::payload::STAMP_LEN
    }

    /// Pairs of a connection and a publisher that it hears.
    fn pairs(&self) -> usize {
        self.publishers()
    }

    /// How long the load runs.
    fn seconds(&self) -> f64;

    /// Its rates, by the names of their options.
    fn rates(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// What it has connections do beside sending messages, in a word, and how often in a second.
    fn turns(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// Whether connections end on purpose, and are made anew.
    fn renews_connections(&self) -> bool {
        false
    }

    /// Whether there is a timetable to be late for. A closed loop has none, and nor has who only waits.
    fn keeps_timetable(&self) -> bool {
        let sends = self.expects_messages() && !self.is_closed_loop();
        sends || self.turns().is_some_and(|(_, per_second)| per_second > 0.0)
    }

    /// Closed loop: messages in flight.
    fn in_flight(&self) -> Option<u32> {
        None
    }

    /// Whether what is sent waits for answers: such latencies say nothing about a fixed load.
    fn is_closed_loop(&self) -> bool {
        self.in_flight().is_some()
    }

    /// Whether a run without messages would be no measurement.
    fn expects_messages(&self) -> bool {
        true
    }

    /// Whether what is measured is how the connections are made; what comes then is to show that they last.
    fn measures_connecting(&self) -> bool {
        false
    }

    /// What it would have to say and the dialect has no words for.
    fn lacks(&self, _dialect: &dyn Dialect) -> Option<&'static str> {
        None
    }

    /// One thread's part, for so many peers from `first_peer` on.
    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario>;
}

/// All scenarios.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "kebab-case")]
pub enum Workload {
    /// Hold idle connections, answering heartbeats.
    Hold(hold::Hold),
    /// Send messages that come back to their sender.
    Echo(echo::Echo),
    /// Publish to rooms; every member receives.
    Fanout(fanout::Fanout),
    /// Connect as fast as is allowed.
    Storm(storm::Storm),
    /// Talk as people do: messages, comings and goings, questions.
    Chat(chat::Chat),
    /// Hold connections while some of them end and come anew.
    Churn(churn::Churn),
    /// Cut connections and take up where they ended.
    Resume(resume::Resume),
    /// Publish to rooms some of whose members stop reading.
    Slow(slow::Slow),
}

impl Workload {
    /// What the scenarios are called.
    #[must_use]
    pub fn names() -> Vec<String> {
        let command = Self::augment_subcommands(Command::new("scenarios"));
        command.get_subcommands().map(|scenario| scenario.get_name().to_owned()).collect()
    }

    /// The scenario of this name as the command line has it when no option is given.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let command = Self::augment_subcommands(Command::new("scenarios"));
        let matches = command.try_get_matches_from(["scenarios", name]).ok()?;
        Self::from_arg_matches(&matches).ok()
    }

    /// The options behind the name.
    #[must_use]
    pub fn plan(&self) -> &dyn Plan {
        match self {
            Self::Hold(plan) => plan,
            Self::Echo(plan) => plan,
            Self::Fanout(plan) => plan,
            Self::Storm(plan) => plan,
            Self::Chat(plan) => plan,
            Self::Churn(plan) => plan,
            Self::Resume(plan) => plan,
            Self::Slow(plan) => plan,
        }
    }
}

/// Options as the command line has them when none is given: the one place where defaults stand.
fn from_defaults<T: Args>() -> T {
    let matches = T::augment_args(Command::new("defaults")).get_matches_from(["defaults"]);
    T::from_arg_matches(&matches).expect("every option has a default")
}

/// Peers that are where the load wants them, or never will be.
struct Settled {
    peers: Vec<bool>,
    left: usize,
}

impl Settled {
    fn new(peers: usize) -> Self {
        Self { peers: vec![false; peers], left: peers }
    }

    /// Notes that nothing more is to be waited for with this peer, however often that is noted.
    fn note(&mut self, peer: usize) {
        if !std::mem::replace(&mut self.peers[peer], true) {
            self.left -= 1;
        }
    }

    fn all(&self) -> bool {
        self.left == 0
    }
}

/// The name of a run's room: new in every run, so that no history of another one answers.
fn room_name(run: u32, index: usize) -> String {
    format!("load-{run:x}-{index}")
}
