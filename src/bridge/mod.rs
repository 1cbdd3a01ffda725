//! The bridge to Redis, by which many nodes are one server: a thread of its own, a party of the mesh.
//!
//! It gives what homes publish to a script that puts it in order, keeps it and tells all nodes; it
//! listens to the rooms that are open here and hands on what it hears. Redis is one server, the primary
//! that Sentinels know, or a cluster, which is a server for each part of the rooms.
//!
//! Invariants: no core ever waits for it; each publish is answered once, by a place or a named fault;
//! what waits in either direction is bounded, and what does not fit is told to whom it concerns; a
//! room is listened to before it is asked how it is, so nothing is missed between the two.

mod answer;
mod astray;
mod call;
mod desk;
mod dial;
mod ear;
mod entrances;
mod failure;
mod foreign;
mod frame;
#[doc = include_str!("GUIDE.md")]
pub mod guide {}
mod hearing;
mod keys;
mod lines;
mod link;
mod map;
mod mouth;
mod news;
mod nodes;
mod owed;
mod pipeline;
mod queue;
mod refusal;
mod run;
mod script;
mod station;
#[cfg(test)]
mod tests;
mod time;
mod uplink;
mod watch;
mod way;

pub use keys::Keys;
pub use run::{Plan, Stop, run, stop};
