#![doc = include_str!("ARCHITECTURE.md")]

pub mod clock;
pub mod config;
pub mod hash;
pub mod id;
pub mod metrics;
pub mod net;
pub mod protocol;
pub mod server;
pub mod ws;
