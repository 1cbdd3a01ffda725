//! What a credential may take by itself, and what all its connections take now, on whichever core.
//!
//! Invariants: never more connections are in than may be; a quota that replaces another of the same
//! credential goes on where that was, so that new settings forgive nothing. A credential that was taken out
//! of the settings and is put back begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::bucket::{Limits, Meter};

/// What a credential may take.
#[derive(Clone, Debug)]
pub struct Quota {
    /// 0: no limit.
    connections: u32,
    messages: Limits,
    used: Arc<Used>,
}

/// What is taken.
#[derive(Debug, Default)]
struct Used {
    connections: AtomicU32,
    messages: Meter,
}

impl Quota {
    /// So many connections, and so many messages a second of all of them; 0: no limit.
    #[must_use]
    pub fn new(connections: u32, messages_per_second: u32) -> Self {
        let messages = Limits::per_second(messages_per_second);
        Self { connections, messages, used: Arc::default() }
    }

    /// The same limits on what `before` counts.
    pub(super) fn goes_on_from(&mut self, before: &Self) {
        self.used = Arc::clone(&before.used);
    }

    /// Whether both count the same.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.used, &other.used)
    }

    /// Whether there are as many connections as may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.connections > 0 && self.used.connections.load(Relaxed) >= self.connections
    }

    /// One connection more; false if there are as many as may be.
    #[must_use]
    pub fn enter(&self) -> bool {
        let most = if self.connections == 0 { u32::MAX } else { self.connections };
        let more = |count| (count < most).then_some(count + 1);
        self.used.connections.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// One connection less.
    pub fn leave(&self) {
        self.used.connections.fetch_sub(1, Relaxed);
    }

    /// What counts its messages, where there is a limit on them.
    #[must_use]
    pub fn messages(&self) -> Option<(&Meter, &Limits)> {
        (!self.messages.are_off()).then_some((&self.used.messages, &self.messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Verdict;
    use crate::clock::Moment;

    #[test]
    fn connections_are_counted_up_to_the_limit_and_given_back() {
        let quota = Quota::new(2, 0);
        assert!(quota.enter() && !quota.is_full() && quota.enter());
        assert!(!quota.enter() && quota.is_full());
        quota.leave();
        assert!(quota.enter());
        assert!(quota.messages().is_none(), "no limit on these");
        let endless = Quota::new(0, 0);
        assert!((0..1_000).all(|_| endless.enter()) && !endless.is_full());
    }

    #[test]
    fn other_limits_go_on_where_the_old_ones_were() {
        let before = Quota::new(0, 0);
        assert!(before.enter() && before.enter());
        let mut after = Quota::new(2, 1);
        assert!(!after.is_shared_with(&before));
        after.goes_on_from(&before);
        assert!(after.is_shared_with(&before) && after.is_full() && !after.enter());
        before.leave();
        assert!(after.enter());
        let (meter, limits) = after.messages().expect("there is a limit");
        assert_eq!(meter.take(limits, Moment::default(), 0), Verdict::Pass);
        assert_ne!(meter.take(limits, Moment::default(), 0), Verdict::Pass);
    }

    #[test]
    fn many_threads_never_enter_more_than_may() {
        let quota = Quota::new(1_000, 0);
        let entered: usize = std::thread::scope(|scope| {
            let enter = || (0..1_000).filter(|_| quota.enter()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!(entered, 1_000);
    }
}
