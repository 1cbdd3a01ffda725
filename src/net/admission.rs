//! Who is let in: connections of all, of one address, and those still in their handshake.
//!
//! Shared by the cores, asked once per accepted connection and never per message. Invariant: an
//! [`Admitted`] counts until it is dropped, wherever that happens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Moment, Now};
use crate::config;
use crate::hash::{self, Seed};
use crate::id::ip_key;
use crate::metrics::Refusal;

use super::bans::Bans;

/// Locks are split so that cores which accept at the same time seldom meet.
const SHARDS: usize = 64;

/// The doors of a process.
#[derive(Debug)]
pub struct Admission {
    limits: config::Admission,
    open: AtomicU32,
    handshakes: AtomicU32,
    addresses: Vec<Mutex<hash::Map<IpAddr, u32>>>,
    bans: Bans,
    seed: Seed,
}

impl Admission {
    /// Doors with these limits.
    #[must_use]
    pub fn new(limits: &config::Admission, seed: Seed) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.clone(),
            bans: Bans::new(limits.bad_credentials_per_minute, limits.ban_ms, seed),
            open: AtomicU32::new(0),
            handshakes: AtomicU32::new(0),
            addresses: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(seed))).collect(),
            seed,
        })
    }

    /// Lets a connection into its handshake, or says which limit it met.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Refusal> {
        take(&self.open, self.limits.connections).ok_or(Refusal::Connections)?;
        let mut admitted = Admitted { doors: Arc::clone(self), address: None, in_handshake: false };
        take(&self.handshakes, self.limits.handshakes).ok_or(Refusal::Handshakes)?;
        admitted.in_handshake = true;
        admitted.count_address(address)?;
        Ok(admitted)
    }

    /// Whether nobody is in, on any core.
    pub(super) fn is_empty(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// An address has shown a bad credential; if it is shut out for that, until when in Unix time.
    pub(super) fn offend(&self, now: Now, address: IpAddr) -> Option<u64> {
        self.bans.offend(now, address)
    }

    /// Whether an address is shut out: for how many milliseconds yet.
    pub(super) fn ban_left_ms(&self, now: Moment, address: Option<IpAddr>) -> Option<u64> {
        self.bans.left_ms(now, address)
    }

    fn shard(&self, key: IpAddr) -> &Mutex<hash::Map<IpAddr, u32>> {
        &self.addresses[(self.seed.hash(&key) >> 32) as usize % SHARDS]
    }
}

fn take(counter: &AtomicU32, limit: u32) -> Option<u32> {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < limit).then_some(count + 1)
        })
        .ok()
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    doors: Arc<Admission>,
    address: Option<IpAddr>,
    in_handshake: bool,
}

impl Admitted {
    /// The handshake is over: another may begin one.
    pub(super) fn upgraded(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            self.doors.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A trusted proxy said who the client is: that address counts from now on, not the proxy's.
    pub(super) fn speaks_for(&mut self, client: Option<IpAddr>) -> Result<(), Refusal> {
        self.forget_address();
        self.count_address(client)
    }

    fn count_address(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let limit = self.doors.limits.connections_per_ip;
        let Some(key) = address.map(ip_key).filter(|_| limit > 0) else {
            return Ok(());
        };
        let mut counts = self.doors.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            return Err(Refusal::ConnectionsPerAddress);
        }
        *count += 1;
        drop(counts);
        self.address = Some(key);
        Ok(())
    }

    fn forget_address(&mut self) {
        let Some(key) = self.address.take() else {
            return;
        };
        let mut counts = self.doors.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.upgraded();
        self.forget_address();
        self.doors.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(connections: u32, per_ip: u32, handshakes: u32) -> Arc<Admission> {
        let limits = config::Admission {
            connections,
            connections_per_ip: per_ip,
            handshakes,
            accepts_per_second: 0,
            accept_burst: 0,
            bad_credentials_per_minute: 0,
            ban_ms: 0,
        };
        Admission::new(&limits, Seed(1, 2))
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("a valid address"))
    }

    #[test]
    fn each_limit_is_named_and_freed_by_leaving() {
        let doors = doors(3, 2, 3);
        let first = doors.admit(ip("10.0.0.1"));
        let second = doors.admit(ip("10.0.0.1"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(doors.admit(ip("10.0.0.1")).err(), Some(Refusal::ConnectionsPerAddress));
        let third = doors.admit(ip("10.0.0.2"));
        assert!(third.is_ok());
        assert_eq!(doors.admit(ip("10.0.0.3")).err(), Some(Refusal::Connections));
        drop(first);
        assert!(doors.admit(ip("10.0.0.1")).is_ok(), "a place is free again");
    }

    #[test]
    fn a_refused_connection_leaves_nothing_counted() {
        let doors = doors(10, 1, 10);
        let held = doors.admit(ip("10.0.0.1"));
        for _ in 0..100 {
            assert_eq!(doors.admit(ip("10.0.0.1")).err(), Some(Refusal::ConnectionsPerAddress));
        }
        drop(held);
        assert_eq!(doors.open.load(Ordering::Relaxed), 0);
        assert_eq!(doors.handshakes.load(Ordering::Relaxed), 0);
        assert!(doors.addresses.iter().all(|shard| shard.lock().expect("not poisoned").is_empty()));
    }

    #[test]
    fn handshakes_are_freed_by_the_upgrade() {
        let doors = doors(10, 0, 1);
        let mut first = doors.admit(None).expect("the first");
        assert_eq!(doors.admit(None).err(), Some(Refusal::Handshakes));
        first.upgraded();
        first.upgraded();
        let second = doors.admit(None);
        assert!(second.is_ok());
        assert_eq!(doors.admit(None).err(), Some(Refusal::Handshakes), "freed once");
    }

    #[test]
    fn ipv6_counts_by_its_64_bit_prefix() {
        let doors = doors(10, 1, 10);
        let _held = doors.admit(ip("2001:db8::1")).expect("the first");
        assert_eq!(doors.admit(ip("2001:db8::2")).err(), Some(Refusal::ConnectionsPerAddress));
        assert!(doors.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_proxys_word_moves_the_count_to_the_client() {
        let doors = doors(10, 1, 10);
        let mut first = doors.admit(ip("10.0.0.1")).expect("the proxy");
        first.speaks_for(ip("192.0.2.1")).expect("its first client");
        let mut second = doors.admit(ip("10.0.0.1")).expect("the proxy again");
        assert_eq!(second.speaks_for(ip("192.0.2.1")), Err(Refusal::ConnectionsPerAddress));
    }
}
