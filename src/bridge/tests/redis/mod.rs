//! A Redis that is none, and speaks as one: the real scripts, carried out by Lua over a small dictionary.
//! It delays, hangs, cuts connections in the middle of a pipeline, forgets scripts, is out of memory,
//! is started again with all, some or nothing of what it had, and fails over to a replica that lags. It may
//! be one primary of a cluster, whose slots are moved.
//!
//! Invariant: what it does depends on its seed and on what it is told and when, and on nothing else.

mod attendance;
mod cluster;
mod command;
mod connection;
mod data;
mod fault;
mod history;
mod look;
mod lua;
mod patterns;
mod reply;
mod scripts;
mod server;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::time::Instant;

pub(super) use fault::{Mood, Restart};
use reply::Reply;
use server::{Server, Taken};

/// Bytes on their way in either direction.
const ON_WAY_BYTES: usize = 1 << 16;

/// The server, for whoever speaks with it.
#[derive(Clone, Debug)]
pub(super) struct Redis(Rc<RefCell<Server>>);

impl Redis {
    /// Servers, among which slots are shared out if they are several.
    pub(super) fn all(seed: u64, count: usize) -> Vec<Self> {
        let server = |at: usize| Server::new(seed.wrapping_add(at as u64), (at, count));
        (0..count).map(|at| Self(Rc::new(RefCell::new(server(at))))).collect()
    }

    /// A connection of a node; none if the node cannot reach it.
    pub(super) async fn connect(&self, node: usize) -> Option<DuplexStream> {
        let delay = self.0.borrow_mut().delay();
        tokio::time::sleep(delay).await;
        let (client, server) = tokio::io::duplex(ON_WAY_BYTES);
        let (number, said) = self.0.borrow_mut().enter(node)?;
        tokio::task::spawn_local(connection::serve(self.clone(), server, number, said));
        Some(client)
    }

    /// Waits until a connection is not held up; false once it is no more.
    async fn awake(&self, number: u64) -> bool {
        loop {
            let Some(until) = self.0.borrow().held_until(number) else { return false };
            if until <= Instant::now() {
                return true;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    async fn delay(&self) {
        let delay = self.0.borrow_mut().delay();
        tokio::time::sleep(delay).await;
    }

    /// Waits until so many replicas have what a connection has written, or no longer than that.
    async fn replicate(&self, number: u64, (count, patience): (usize, Duration)) -> Reply {
        let until = Instant::now() + patience;
        loop {
            let delay = self.0.borrow_mut().delay();
            tokio::time::sleep(delay.max(Duration::from_micros(100))).await;
            let have = self.0.borrow_mut().replicas_with(number);
            if have >= count || (!patience.is_zero() && Instant::now() >= until) {
                return Reply::count(have);
            }
        }
    }
}
