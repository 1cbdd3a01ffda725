//! Counters that one thread writes and any may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A figure of one thread: only its owner writes it, so writing is a plain store.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds `n`. Only for the owner.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away. Only for the owner.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces the value. Only for the owner.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// TEMPORARY
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Refusal { Connections, PerAddress, Handshakes, ProxyHeader, Tls, HandshakeTimeout, Descriptors }
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Core { pub connections: Figure, pub beat: Figure, pub accepted: Figure, pub panics: Figure, pub sent_bytes: Figure, pub received_bytes: Figure, pub messages: Figure }
#[allow(missing_docs)]
impl Core {
    pub fn refused(&self, _r: Refusal) {}
    pub fn accepted(&self) { self.accepted.add(1); }
    pub fn upgraded(&self) {}
    pub fn handshake_failed(&self, _r: crate::ws::refusal::Refusal) {}
    pub fn received(&self, n: usize) { self.messages.add(1); self.received_bytes.add(n as u64); }
    pub fn sent(&self, n: u64) { self.sent_bytes.add(n); }
    pub fn panicked(&self) { self.panics.add(1); }
    pub fn beat(&self, now: crate::clock::Moment) { self.beat.set(now.us); }
    pub fn inbox_delay(&self, _us: u64) {}
    pub fn timer_late(&self, _us: u64) {}
    pub fn runs_on(&self, _n: &'static str, _own: bool) {}
    pub fn delivered(&self, _d: &crate::mesh::Delivery, _b: u64) {}
}
#[derive(Debug)]
pub struct Registry(Vec<std::sync::Arc<Core>>);
impl Registry { pub fn new(n: u16) -> Self { Self((0..n).map(|_| Default::default()).collect()) } pub fn core(&self, c: crate::id::CoreId) -> std::sync::Arc<Core> { self.0[c.index()].clone() } }
