#![doc = include_str!("ARCHITECTURE.md")]

pub mod bucket;
pub mod clock;
pub mod config;
pub mod control;
pub mod hash;
pub mod id;
pub mod letter;
pub mod mesh;
pub mod metrics;
pub mod net;
pub mod protocol;
pub mod room;
pub mod server;
pub mod shard;
pub mod wheel;
pub mod ws;
