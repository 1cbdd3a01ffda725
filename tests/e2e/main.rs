//! The server as the world meets it: the real binary, over real sockets, by clients that may do
//! anything. No test here measures time: waits are bounded by far more than is needed.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "for whoever reads a failure")]
#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small or random")]

mod client;
mod http;
mod server;
mod talk;
mod tls;

mod abuse;
mod addresses;
mod admission;
mod bans;
mod bounds;
mod cookies;
mod crowd;
mod drain;
mod drivers;
mod encryption;
mod faults;
mod figures;
mod frames;
mod gone;
mod halves;
mod handshake;
mod identity;
mod inbox;
mod keys;
mod operator;
mod oracle;
mod relay;
mod reload;
mod reuse;
mod secrets;
mod strangers;
