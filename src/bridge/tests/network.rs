//! How a bridge that is under test connects: to the server of its thread, if there is one.

use std::cell::RefCell;
use std::io;

use super::redis::Redis;
use crate::bridge::dial::Stream;
use crate::config::RedisUrl;

thread_local! {
    static SERVER: RefCell<Option<Redis>> = const { RefCell::new(None) };
}

/// For as long as it is there, all connections of this thread lead to a server.
pub(super) struct Network;

impl Network {
    pub(super) fn of(redis: &Redis) -> Self {
        SERVER.with_borrow_mut(|server| *server = Some(redis.clone()));
        Self
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        SERVER.with_borrow_mut(|server| *server = None);
    }
}

/// How a node calls the server, by which the server knows the node.
pub(super) fn url_of(node: usize) -> String {
    format!("redis://{node}.redis")
}

/// A connection to the server of this thread; none if there is no such server.
pub(in crate::bridge) async fn reach(url: &RedisUrl) -> Option<io::Result<Box<dyn Stream>>> {
    let server = SERVER.with_borrow(Clone::clone)?;
    let RedisUrl::Plain(host) = url else { return None };
    let node = host.name.split('.').next()?.parse().ok()?;
    let stream = server.connect(node).await;
    Some(match stream {
        Some(stream) => Ok(Box::new(stream)),
        None => Err(io::ErrorKind::ConnectionRefused.into()),
    })
}
