//! The tenants of a process: what they are called, what each may take, and what it takes now.
//!
//! Shared by the cores. Invariants: a name is looked up once, when a credential is read, and from
//! then on a tenant is its [`TenantId`]; a tenant without a limit on something costs nothing where
//! that is counted by the message; what was taken is given back exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Moment;
use crate::config::{Config, TenantRows};
use crate::id::TenantId;

pub use crate::config::DEFAULT_TENANT as DEFAULT;

const SECOND_NS: u64 = 1_000_000_000;

/// All tenants.
#[derive(Debug)]
pub struct Tenants {
    by_name: BTreeMap<Arc<str>, TenantId>,
    all: Vec<Tenant>,
}

/// One tenant.
#[derive(Debug)]
pub struct Tenant {
    /// What it is called.
    pub name: Arc<str>,
    /// What it may take.
    pub limits: TenantRows,
    suspended: AtomicBool,
    /// Connections it has.
    pub connections: Usage,
    /// Rooms it has.
    pub rooms: Usage,
    /// Its users that have a connection.
    pub users: Usage,
    /// What its rooms remember.
    pub history_bytes: AtomicU64,
    messages: Pace,
    bytes: Pace,
}

impl Tenants {
    /// Those of a configuration; without any there is one, [`DEFAULT`].
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let mut all = vec![Tenant::new(DEFAULT, TenantRows::default())];
        let mut by_name = BTreeMap::new();
        for (name, tenant) in &config.tenants {
            let made = Tenant::new(name, tenant.rows.clone());
            if name == DEFAULT {
                all[0] = made;
                continue;
            }
            let id = TenantId(u32::try_from(all.len()).unwrap_or(u32::MAX));
            by_name.insert(Arc::clone(&made.name), id);
            all.push(made);
        }
        if config.tenants.is_empty() || config.tenants.contains_key(DEFAULT) {
            by_name.insert(Arc::clone(&all[0].name), TenantId::DEFAULT);
        }
        Arc::new(Self { by_name, all })
    }

    /// The tenant of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TenantId> {
        self.by_name.get(name).copied()
    }

    /// A tenant. An id that none was given for finds the first.
    #[must_use]
    pub fn get(&self, id: TenantId) -> &Tenant {
        self.all.get(id.0 as usize).unwrap_or(&self.all[0])
    }

    /// How many ids there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Every tenant that there is, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (TenantId, &Tenant)> {
        self.by_name.values().map(|id| (*id, self.get(*id)))
    }
}

impl Tenant {
    fn new(name: &str, limits: TenantRows) -> Self {
        Self {
            name: name.into(),
            suspended: AtomicBool::new(limits.suspended),
            connections: Usage::new(limits.connections),
            rooms: Usage::new(limits.rooms),
            users: Usage::new(limits.users),
            history_bytes: AtomicU64::new(0),
            messages: Pace::new(limits.messages_per_second),
            bytes: Pace::new(limits.bytes_per_second),
            limits,
        }
    }

    /// Whether nobody of it is let in.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Suspends it, or lets it in again.
    pub fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// Counts a message of `bytes`, if it may be sent.
    ///
    /// # Errors
    /// If it sends too much: in how many milliseconds it may go on.
    pub fn send(&self, now: Moment, bytes: u32) -> Result<(), u64> {
        self.messages.take(now, 1)?;
        self.bytes.take(now, bytes).inspect_err(|_| self.messages.give_back(1))
    }

    /// Takes back what [`send`](Self::send) has counted of a message that was refused elsewhere.
    pub fn give_back(&self, bytes: u32) {
        self.messages.give_back(1);
        self.bytes.give_back(bytes);
    }

    /// Whether its rooms remember as much as they may.
    #[must_use]
    pub fn is_over_history(&self) -> bool {
        let limit = self.limits.history_bytes;
        limit > 0 && self.history_bytes.load(Ordering::Relaxed) > limit
    }

    /// Its rooms remember `now` bytes where they remembered `before`.
    pub fn recount_history(&self, before: u64, now: u64) {
        if now >= before {
            self.history_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.history_bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}

/// How many there are, and how many there may be.
#[derive(Debug)]
pub struct Usage {
    count: AtomicU64,
    /// 0: as many as there are.
    limit: u64,
}

impl Usage {
    fn new(limit: u32) -> Self {
        Self { count: AtomicU64::new(0), limit: limit.into() }
    }

    /// One more; false if there are as many as may be.
    #[must_use]
    pub fn take(&self) -> bool {
        let more = |count| (self.limit == 0 || count < self.limit).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One less.
    pub fn give_back(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// How fast something may go, for all cores together: what a second yields may come at once. What
/// is refused costs nothing.
#[derive(Debug)]
struct Pace {
    /// Up to when the rate is used up, in nanoseconds.
    used_until_ns: AtomicU64,
    /// 0: no limit.
    per_second: u64,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { used_until_ns: AtomicU64::new(0), per_second: per_second.into() }
    }

    fn take(&self, now: Moment, cost: u32) -> Result<(), u64> {
        if self.per_second == 0 {
            return Ok(());
        }
        let now_ns = now.us.saturating_mul(1_000);
        let cost_ns = self.time_of(cost);
        // A single cost above what a second yields needs a full second, and leaves a debt.
        let latest_ns = now_ns + SECOND_NS - cost_ns.min(SECOND_NS);
        let spend = |until: u64| (until <= latest_ns).then(|| until.max(now_ns) + cost_ns);
        let spent = self.used_until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        spent.map(|_| ()).map_err(|until| (until - latest_ns).div_ceil(1_000_000))
    }

    /// Takes back what was taken for something that was refused elsewhere.
    fn give_back(&self, cost: u32) {
        if self.per_second > 0 {
            // It was at least so late when this was taken, and has only become later.
            self.used_until_ns.fetch_sub(self.time_of(cost), Ordering::Relaxed);
        }
    }

    fn time_of(&self, cost: u32) -> u64 {
        (u64::from(cost) * SECOND_NS).div_ceil(self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn tenants(change: impl FnOnce(&mut TenantRows)) -> Arc<Tenants> {
        let mut config = Config::default();
        let mut tenant = config::Tenant::default();
        change(&mut tenant.rows);
        config.tenants.insert("acme".to_owned(), tenant);
        Tenants::new(&config)
    }

    #[test]
    fn names_lead_to_tenants_and_nothing_else_does() {
        let open = Tenants::new(&Config::default());
        assert_eq!(open.find(DEFAULT), Some(TenantId::DEFAULT));
        assert_eq!(open.find("acme"), None);
        let one = tenants(|_| ());
        let acme = one.find("acme").expect("it is configured");
        assert_ne!(acme, TenantId::DEFAULT);
        assert_eq!(&*one.get(acme).name, "acme");
        for other in [DEFAULT, "ACME", "acme ", ""] {
            assert_eq!(one.find(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_taken_is_counted_up_to_the_limit() {
        let one = tenants(|rows| rows.connections = 2);
        let acme = one.get(one.find("acme").expect("it is configured"));
        assert!(acme.connections.take() && acme.connections.take());
        assert!(!acme.connections.take());
        acme.connections.give_back();
        assert!(acme.connections.take());
        assert_eq!(acme.connections.count(), 2);
        assert!((0..1_000).all(|_| acme.rooms.take()), "no limit");
    }

    #[test]
    fn a_second_passes_at_once_and_then_the_rate_holds() {
        let one = tenants(|rows| {
            rows.messages_per_second = 10;
            rows.bytes_per_second = 1_000;
        });
        let acme = one.get(one.find("acme").expect("it is configured"));
        let at = |ms| Moment::default().plus_ms(ms);
        for _ in 0..10 {
            assert_eq!(acme.send(at(0), 10), Ok(()));
        }
        assert_eq!(acme.send(at(0), 10), Err(100));
        assert_eq!(acme.send(at(100), 10), Ok(()), "after as long as was told");
        assert_eq!(acme.send(at(100), 10), Err(100));
        assert_eq!(acme.send(at(5_000), 5_000), Ok(()), "with a full second behind it");
        assert_eq!(acme.send(at(9_000), 1_000), Err(1_000), "and a debt before it");
    }

    #[test]
    fn a_message_that_is_refused_for_its_bytes_costs_no_message() {
        let one = tenants(|rows| {
            rows.messages_per_second = 10;
            rows.bytes_per_second = 1_000;
        });
        let acme = one.get(one.find("acme").expect("it is configured"));
        let now = Moment::default().plus_ms(5_000);
        assert_eq!(acme.send(now, 999), Ok(()));
        for _ in 0..100 {
            assert!(acme.send(now, 500).is_err());
        }
        for _ in 0..9 {
            assert_eq!(acme.send(now, 0), Ok(()), "nine messages are left");
        }
        assert!(acme.send(now, 0).is_err());
    }

    #[test]
    fn what_rooms_remember_is_counted_both_ways() {
        let one = tenants(|rows| rows.history_bytes = 100);
        let acme = one.get(one.find("acme").expect("it is configured"));
        acme.recount_history(0, 101);
        assert!(acme.is_over_history());
        acme.recount_history(101, 60);
        assert!(!acme.is_over_history());
    }
}
