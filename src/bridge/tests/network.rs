//! How a bridge that is under test connects: to the servers of its thread, if there are some.

use std::cell::RefCell;
use std::io;

use super::redis::Redis;
use crate::bridge::dial::Stream;
use crate::config::RedisUrl;

thread_local! {
    static SERVERS: RefCell<Vec<Redis>> = const { RefCell::new(Vec::new()) };
}

/// For as long as it is there, all connections of this thread lead to servers.
pub(super) struct Network;

impl Network {
    pub(super) fn of(servers: &[Redis]) -> Self {
        SERVERS.with_borrow_mut(|all| *all = servers.to_vec());
        Self
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        SERVERS.with_borrow_mut(Vec::clear);
    }
}

/// How a node calls a server, by which the server knows the node.
pub(super) fn host_of(node: usize, server: usize) -> String {
    format!("{node}.{server}.redis")
}

/// A connection to the server of that name; none if there is no such server.
pub(in crate::bridge) async fn reach(url: &RedisUrl) -> Option<io::Result<Box<dyn Stream>>> {
    let RedisUrl::Plain(host) = url else { return None };
    let mut parts = host.name.split('.');
    let (node, server): (_, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let server = SERVERS.with_borrow(|all| all.get(server).cloned())?;
    let stream = server.connect(node).await;
    Some(match stream {
        Some(stream) => Ok(Box::new(stream)),
        None => Err(io::ErrorKind::ConnectionRefused.into()),
    })
}
