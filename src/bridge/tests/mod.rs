//! The bridge as it is, in a simulator: nodes with their engines, meshes and bridges, and a Redis that is
//! none and does what goes wrong, all in one thread, on one clock that stands still until nobody has
//! anything to do, moved by one seed.
//!
//! Nothing here stands in for a part of the bridge but the socket ([`network`]).

mod idle;
pub(super) mod network;
mod node;
mod receivers;
mod redis;
mod rest;
mod seeds;
mod slots;
mod transcript;
mod trouble;
mod world;
