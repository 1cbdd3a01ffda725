//! Many nodes as one: several real servers on a real Redis, which is killed, stopped, emptied and set
//! back under them. No test here measures time: waits are bounded by far more than is needed.
//!
//! Without `redis-server` on the PATH these tests say so loudly and do nothing.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "for whoever reads a failure")]
#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small or random")]
#![allow(dead_code, reason = "what is shared with the end-to-end tests is not all used here")]

#[path = "../e2e/http.rs"]
mod http;
#[path = "../e2e/server.rs"]
mod server;
#[path = "../e2e/tls.rs"]
mod tls;

mod identity {
    //! What the shared harness shows a control plane, which asks for nothing here.
    pub(crate) const OPERATOR: &str = "nobody-asks-for-it";
}
mod cluster;
mod load;
mod node;
mod store;
mod talk;

mod acks;
mod doors;
mod edicts;
mod ends;
mod failover;
mod foreign;
mod forms;
mod governing;
mod histories;
mod names;
mod order;
mod outage;
mod patterns;
mod people;
mod rooms;
mod sessions;
mod states;
mod users;
