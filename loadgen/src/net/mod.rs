//! Everything that touches the kernel: rings, sockets, TLS, timers, threads.
//!
//! A thread owns its ring, its descriptor table and its connections. One task per connection
//! reads; everything is written by whoever has something to say, directly and without waiting,
//! and what a socket has no room for waits in that connection's backlog, which is bounded.

#![allow(unsafe_code, reason = "system calls that no crate here wraps")]

pub mod deflate;
pub mod driver;
mod end;
pub mod handshake;
mod link;
pub mod runtime;
pub mod signal;
pub mod socket;
pub mod thread;
mod timer;
pub mod tls;
pub mod wire;
