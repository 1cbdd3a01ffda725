//! The least a correct WebSocket program can do: the denominators of every speed claim.
//!
//! Every program here serves one port on one thread and does nothing that the protocol does not
//! force on it: no routing, no limits, no timers, no statistics. What they do, they do properly:
//! partial frames, short writes, closes and full buffers are handled.

#![allow(unsafe_code, reason = "bare system calls are what this crate is about")]
#![allow(clippy::missing_panics_doc, reason = "a measuring tool stops where the machine fails it")]

pub mod epoll;
pub mod frame;
pub mod handshake;
pub mod ring;
pub mod server;
pub mod socket;

use clap::Args;

/// What every server here is told.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Port on 127.0.0.1.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// Pin the one thread to this CPU.
    #[arg(long)]
    pub cpu: Option<usize>,
}
