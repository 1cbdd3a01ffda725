//! The only I/O of the data plane: one pinned runtime a core, its listeners and its connections.
//!
//! A core is one screen of named steps in `core`; what a connection does on the way in is in
//! `intake`, on the way out in `flush`, how it ends in `life`. `unsafe` is here for system calls only.

#![allow(unsafe_code, reason = "system calls that std and monoio do not have")]

mod admission;
mod bans;
mod connection;
mod contain;
mod core;
mod cpus;
mod descriptors;
mod doors;
mod entrance;
mod flush;
mod inbound;
mod intake;
mod life;
mod listener;
mod memory;
mod notify;
mod orders;
mod park;
pub mod probe;
mod reader;
mod relay;
mod ring;
mod run;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod timer;
pub mod tls;
mod turns;
mod unix;

pub use admission::Admission;
pub use cpus::keep_to as keep_to_cpus;
pub use descriptors::raise_limit as raise_descriptor_limit;
pub use life::GOODBYE_MS;
pub use memory::give_back_what_is_large;
pub use run::{Plan, Reserved, reserve, run};
pub use timer::Clock;
