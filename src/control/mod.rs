//! The control plane: everything that is HTTP and not an upgrade, health, metrics, and the word
//! that goes from the process to its cores.
//!
//! Invariants: it runs on threads of its own and no core ever waits for it; what it serves to
//! relayed connections is the public router and nothing else; all that a connection may hold, time
//! included, is bounded.

mod api;
mod audit;
mod command;
mod faults;
mod guard;
mod health;
mod idle;
mod inquiry;
mod ledger;
mod nodes;
mod places;
mod process;
mod public;
mod relay;
mod run;
mod security;
mod serve;
mod spread;
#[cfg(test)]
mod tests;
mod v1;

pub use command::{Command, Commander, Commands, commands};
pub use ledger::standing;
pub use run::{Plane, run};
