//! How the main thread leads the others through a phase, without a lock or a descriptor.
//!
//! Threads look at the stage on every tick, so at least every 10 ms.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Where a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connections are made and rooms joined.
    Connect,
    /// The load runs, from [`Control::start_us`] to [`Control::end_us`].
    Run,
    /// Nothing new is sent; what is under way may arrive.
    Drain,
    /// Everything is closed.
    Stop,
}

/// Shared by all threads of a phase.
pub struct Control {
    stage: AtomicU8,
    start_us: AtomicU64,
    end_us: AtomicU64,
    ready: AtomicUsize,
    /// When the last thread had all its connections.
    ready_us: AtomicU64,
    settled: AtomicUsize,
    /// When all threads are to tell their counts, and how many of them have.
    mark_us: AtomicU64,
    marked: AtomicUsize,
    /// When the last of them did.
    marked_us: AtomicU64,
    /// By publisher: messages sent so far.
    sent: Box<[AtomicU64]>,
}

impl Control {
    /// For a phase with so many publishers.
    #[must_use]
    pub fn new(publishers: usize) -> Self {
        Self {
            stage: AtomicU8::new(0),
            start_us: AtomicU64::new(u64::MAX),
            end_us: AtomicU64::new(u64::MAX),
            ready: AtomicUsize::new(0),
            ready_us: AtomicU64::new(0),
            settled: AtomicUsize::new(0),
            mark_us: AtomicU64::new(0),
            marked: AtomicUsize::new(0),
            marked_us: AtomicU64::new(0),
            sent: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The current stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Connect,
            1 => Stage::Run,
            2 => Stage::Drain,
            _ => Stage::Stop,
        }
    }

    /// Goes to a later stage.
    pub fn advance(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Has the load run from this moment to that, however late somebody says that it is over.
    pub fn run(&self, start_us: u64, end_us: u64) {
        self.end_us.store(end_us, Ordering::Release);
        self.start_us.store(start_us, Ordering::Release);
        self.advance(Stage::Run);
    }

    /// When the load starts.
    #[must_use]
    pub fn start_us(&self) -> u64 {
        self.start_us.load(Ordering::Acquire)
    }

    /// When the load ends.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.end_us.load(Ordering::Acquire)
    }

    /// One more thread has all its connections, since this moment.
    pub fn note_ready(&self, now_us: u64) {
        self.ready_us.fetch_max(now_us, Ordering::AcqRel);
        self.ready.fetch_add(1, Ordering::AcqRel);
    }

    /// Threads that have all their connections.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Acquire)
    }

    /// When the last of those threads had them.
    #[must_use]
    pub fn ready_us(&self) -> u64 {
        self.ready_us.load(Ordering::Acquire)
    }

    /// One more thread has received all it was owed.
    pub fn note_settled(&self) {
        self.settled.fetch_add(1, Ordering::AcqRel);
    }

    /// Threads that have received all they were owed.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled.load(Ordering::Acquire)
    }

    /// Has all threads tell their counts at this moment, so that they are of one moment.
    pub fn mark_at(&self, mark_us: u64) {
        self.marked_us.store(0, Ordering::Release);
        self.marked.store(0, Ordering::Release);
        self.mark_us.store(mark_us, Ordering::Release);
    }

    /// When counts are to be told; 0 before anybody wants them.
    #[must_use]
    pub fn mark_us(&self) -> u64 {
        self.mark_us.load(Ordering::Acquire)
    }

    /// One more thread has told its counts, at this moment.
    pub fn note_marked(&self, now_us: u64) {
        self.marked_us.fetch_max(now_us, Ordering::AcqRel);
        self.marked.fetch_add(1, Ordering::AcqRel);
    }

    /// When the last of so many threads told its counts; `None`: some have not.
    #[must_use]
    pub fn marked_us(&self, threads: usize) -> Option<u64> {
        let all = self.marked.load(Ordering::Acquire) >= threads;
        all.then(|| self.marked_us.load(Ordering::Acquire))
    }

    /// Notes that a publisher's messages up to `sequence` are sent, or about to be: noted before the
    /// kernel has it, so that no server can have a message that is not in the count.
    pub fn note_sent(&self, publisher: usize, sequence: u64) {
        self.sent[publisher].store(sequence, Ordering::Release);
    }

    /// The number of a publisher's latest message.
    #[must_use]
    pub fn sent(&self, publisher: usize) -> u64 {
        self.sent[publisher].load(Ordering::Acquire)
    }
}
