//! Who sleeps and who must ring: the two flags that keep a party of the mesh from sleeping through
//! its work. Checked exhaustively by `tests/loom_mesh.rs`, which compiles this very file.
//!
//! Both flags follow one pattern: each side first makes its own news visible, then a full fence,
//! then looks at the other's. Of two that do so at once, at least one sees the other. Every write of
//! a flag is a read-modify-write, so the writes of both sides form one order that all agree on.

use super::atomic::{AtomicBool, Ordering, fence};

/// Whether a party sleeps. Its owner sets it, its peers take it back.
#[derive(Debug)]
pub(crate) struct Sleeper {
    asleep: AtomicBool,
}

impl Sleeper {
    pub(crate) fn awake() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// For the owner: goes to sleep, unless `has_work` by then. `true`: it may park, and whoever
    /// brings work from now on rings.
    pub(crate) fn fall_asleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if has_work() {
            self.wake();
            return false;
        }
        true
    }

    /// For the owner: awake, whatever woke it. Nobody needs to ring any more.
    pub(crate) fn wake(&self) {
        self.asleep.swap(false, Ordering::AcqRel);
    }

    /// For a peer that has just made work visible: whether it has to ring. Says so to one peer for
    /// each time the owner fell asleep.
    pub(crate) fn must_be_rung(&self) -> bool {
        fence(Ordering::SeqCst);
        // Reading first keeps the line shared while the owner is awake, which it is under load.
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }
}

/// Whether somebody has found an inbox full and waits for room in it.
#[derive(Debug)]
pub(crate) struct Room {
    wanted: AtomicBool,
}

impl Room {
    pub(crate) fn enough() -> Self {
        Self { wanted: AtomicBool::new(false) }
    }

    /// For a sender that found the inbox full. It must try once more after this: the owner may have
    /// made room, and told nobody, before it could know that anyone waits.
    pub(crate) fn want(&self) {
        self.wanted.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// For a sender about to sleep: whether the owner will still tell when it has made room. If
    /// not, it has told already.
    pub(crate) fn will_be_told(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// For the owner, after it took something: whether to tell those who wait.
    pub(crate) fn must_tell(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::AcqRel)
    }
}
