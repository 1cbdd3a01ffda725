#![doc = include_str!("ARCHITECTURE.md")]

pub mod clock;
pub mod config;
pub mod control;
pub mod hash;
pub mod id;
pub mod letter;
pub mod logging;
pub mod mesh;
pub mod metrics;
pub mod protocol;
pub mod ws;
