//! TEMPORARY
use std::sync::Arc;
use crate::letter::Letter;
#[derive(Debug)]
pub struct Setup { pub config: Arc<crate::config::Config>, pub port: crate::mesh::Port<Letter<crate::shard::CoreMessage>>, pub registry: crate::metrics::Registry, pub clock: crate::net::Clock }
#[derive(Debug)]
pub struct Handle(Setup);
pub fn start(s: Option<Setup>) -> std::io::Result<Handle> { Ok(Handle(s.unwrap())) }
impl Handle { pub fn address(&self) -> std::net::SocketAddr { self.0.config.control.address } pub async fn stop(self) {} }
