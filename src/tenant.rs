//! The tenants of a process: what they are called, what each may take, and what it takes now.
//!
//! Shared by the cores. Invariants: a name is looked up once, when a credential is read, and from
//! then on a tenant is its [`TenantId`]; a tenant without a limit on something costs nothing where
//! that is counted by the message; what was taken is given back exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bucket::{Limits, Meter};
use crate::config::{Config, TenantRows};
use crate::id::TenantId;

pub use crate::config::DEFAULT_TENANT as DEFAULT;

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
    rates: Limits,
    sent: Meter,
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
            rates: Limits::of_tenant(&limits),
            sent: Meter::default(),
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

    /// What it has sent, and what it may; none: as much as it likes.
    #[must_use]
    pub fn messages(&self) -> Option<(&Meter, &Limits)> {
        (!self.rates.are_off()).then_some((&self.sent, &self.rates))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Verdict;
    use crate::clock::Moment;
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

    fn send(tenant: &Tenant, now: Moment, bytes: u32) -> Verdict {
        tenant.messages().map_or(Verdict::Pass, |(meter, limits)| meter.take(limits, now, bytes))
    }

    fn refused(retry_after_ms: u64) -> Verdict {
        Verdict::Refused { retry_after_ms }
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
            assert_eq!(send(acme, at(0), 10), Verdict::Pass);
        }
        assert_eq!(send(acme, at(0), 10), refused(100));
        assert_eq!(send(acme, at(100), 10), Verdict::Pass, "after as long as was told");
        assert_eq!(send(acme, at(100), 10), refused(100));
        assert_eq!(send(acme, at(5_000), 5_000), Verdict::Pass, "with a full second behind it");
        assert_eq!(send(acme, at(9_000), 1_000), refused(1_000), "and a debt before it");
    }

    #[test]
    fn a_burst_and_a_minute_hold_beside_the_second() {
        let one = tenants(|rows| {
            rows.messages_per_second = 10;
            rows.burst = 30;
            rows.messages_per_minute = 60;
        });
        let acme = one.get(one.find("acme").expect("it is configured"));
        let at = |ms| Moment::default().plus_ms(ms);
        let passed = |ms| (0..100).filter(|_| send(acme, at(ms), 0) == Verdict::Pass).count();
        assert_eq!([passed(0), passed(1_000), passed(4_000)], [30, 10, 24]);
        assert_eq!(send(acme, at(4_000), 0), refused(1_000), "one a second from here on");
    }

    #[test]
    fn who_keeps_on_is_banned_for_a_time_and_begins_anew() {
        let one = tenants(|rows| {
            rows.messages_per_second = 10;
            rows.ban_ms = 5_000;
        });
        let acme = one.get(one.find("acme").expect("it is configured"));
        let at = |ms| Moment::default().plus_ms(ms);
        let verdicts: Vec<_> = (0..21).map(|_| send(acme, at(0), 0)).collect();
        assert!(verdicts[..10].iter().all(|it| *it == Verdict::Pass));
        assert!(verdicts[10..20].iter().all(|it| *it == refused(100)));
        assert_eq!(verdicts[20], Verdict::Banned { retry_after_ms: 5_000, began: true });
        let during = Verdict::Banned { retry_after_ms: 1_000, began: false };
        assert_eq!(send(acme, at(4_000), 0), during);
        assert_eq!(send(acme, at(5_000), 0), Verdict::Pass);
    }

    #[test]
    fn a_message_that_is_refused_for_its_bytes_costs_no_message() {
        let one = tenants(|rows| {
            rows.messages_per_second = 10;
            rows.bytes_per_second = 1_000;
        });
        let acme = one.get(one.find("acme").expect("it is configured"));
        let now = Moment::default().plus_ms(5_000);
        assert_eq!(send(acme, now, 999), Verdict::Pass);
        for _ in 0..100 {
            assert_ne!(send(acme, now, 500), Verdict::Pass);
        }
        for _ in 0..9 {
            assert_eq!(send(acme, now, 0), Verdict::Pass, "nine messages are left");
        }
        assert_ne!(send(acme, now, 0), Verdict::Pass);
        let (meter, limits) = acme.messages().expect("it has limits");
        meter.give_back(limits, 0);
        assert_eq!(send(acme, now, 0), Verdict::Pass, "what is given back is there");
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
