//! What a thread counts and times, and how the main thread gets to see it.
//!
//! Threads count into plain fields; ten times a second they add what is new to the shared copy.
//! Nothing shared is touched per message.

use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use serde::Serialize;

const HIGHEST_US: u64 = 300_000_000;
const DIGITS: u8 = 3;

/// A histogram of microseconds, as this tool makes them: three digits, up to five minutes.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("the bounds are sound constants")
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything counted, since the thread began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds another thread's.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// What was counted since `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    /// Connections asked for.
    attempted,
    /// Connections open and, where the dialect has one, welcomed.
    opened,
    /// Connections that never opened.
    refused,
    /// Connections that ended though nobody here wanted it.
    dropped,
    /// Connections this side closed on purpose.
    closed,
    /// Connections this side ended because the server broke the protocol.
    violations,
    /// Measured messages handed to the kernel (or to the wait for room in a socket).
    sent,
    /// Messages that were due and not sent, because the socket had no room for too long.
    unsent,
    /// Measured messages that arrived sound.
    received,
    /// Messages that should have arrived and did not.
    lost,
    /// Messages that arrived more than once.
    repeated,
    /// Messages that arrived after a later one.
    reordered,
    /// Messages that are not what was sent.
    corrupt,
    /// Sound messages that reached somebody who should not have them.
    misdelivered,
    /// Connections of slow consumers that the server ended.
    slow_ended,
    /// Sound messages of other runs, ignored.
    foreign,
    /// Messages the server said it would not deliver.
    announced_gaps,
    /// Errors the server answered with.
    errors,
    /// WebSocket pings answered.
    pings,
    /// Bytes read from sockets.
    bytes_in,
    /// Bytes written to sockets.
    bytes_out,
    /// Commands answered (joins, presence, history …).
    answered,
    /// Connections ended, commands given or cuts made, of those that a rate asks for.
    turns,
    /// Those that were due and not done: nobody was free to.
    missed,
    /// Connections that took up where an earlier one ended.
    resumed,
    /// Resumptions the server could not do.
    not_recovered,
    /// Messages that came again as they may, marked so in guaranteed rooms or with a session.
    redelivered,
}

impl Counters {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.dropped + self.closed + self.violations)
    }
}

/// One thread's measurements.
pub struct Recorder {
    /// Counts since the thread began.
    pub counters: Counters,
    /// Latencies, from the intended moment, since the last publication.
    pub latency: Histogram<u64>,
    /// From the start of a connection to the end of its handshake.
    pub handshake: Histogram<u64>,
    /// How late this thread itself was: timers and sends.
    pub lateness: Histogram<u64>,
    shared: Arc<Shared>,
    published: Counters,
}

impl Recorder {
    /// A recorder that publishes to `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            counters: Counters::default(),
            latency: histogram(),
            handshake: histogram(),
            lateness: histogram(),
            shared,
            published: Counters::default(),
        }
    }

    /// Adds what is new to the shared copy.
    pub fn publish(&mut self) {
        let mut totals = self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = &mut *totals;
        totals.counters.add(&self.counters.since(&self.published));
        self.published = self.counters;
        for (mine, all) in [
            (&mut self.latency, &mut totals.latency),
            (&mut self.handshake, &mut totals.handshake),
            (&mut self.lateness, &mut totals.lateness),
        ] {
            if !mine.is_empty() {
                all.add(&*mine).expect("all histograms here have the same bounds");
                mine.reset();
            }
        }
    }
}

/// All threads' measurements together.
#[derive(Default)]
pub struct Shared {
    totals: Mutex<Totals>,
}

/// What [`Shared::take_into`] hands out.
pub struct Totals {
    /// Counts since the phase began.
    pub counters: Counters,
    /// Latencies since the last take.
    pub latency: Histogram<u64>,
    /// Handshakes since the last take.
    pub handshake: Histogram<u64>,
    /// Lateness since the last take.
    pub lateness: Histogram<u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            latency: histogram(),
            handshake: histogram(),
            lateness: histogram(),
        }
    }
}

impl Shared {
    /// The counts so far, and the histograms since the last call, in exchange for `into`.
    pub fn take_into(&self, into: &mut Totals) {
        for histogram in [&mut into.latency, &mut into.handshake, &mut into.lateness] {
            histogram.reset();
        }
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        into.counters = totals.counters;
        std::mem::swap(&mut *totals, into);
    }
}
