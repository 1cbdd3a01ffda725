//! What is to be done: the settings of a run, and how a phase's peers spread over threads.

use std::sync::Arc;

use crate::dialect::DialectName;
use crate::net::wire::Place;
use crate::target::{Sources, Target};

/// Descriptors a thread needs beside its connections: ring, timer, standard streams, spares.
const DESCRIPTORS_SPARE: usize = 64;

/// What holds for all phases of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom to load.
    pub target: Target,
    /// Servers that say the same, for those who only listen.
    pub others: Vec<Target>,
    /// How to speak.
    pub dialect: DialectName,
    /// Where connections come from.
    pub sources: Sources,
    /// Whether to offer compression.
    pub deflate: bool,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// Further lines of the upgrade request.
    pub headers: Vec<String>,
    /// Threads; `None`: as many as there are CPUs to use, or as the connections need.
    pub threads: Option<usize>,
    /// Whether to use epoll even where there is io_uring.
    pub epoll: bool,
    /// CPUs to pin threads to, in turn; empty: the kernel chooses.
    pub cpus: Vec<usize>,
    /// How long a connection may take to open.
    pub connect_timeout_us: u64,
    /// Connections under way at once, per thread.
    pub connect_concurrency: usize,
    /// Connections begun a second, over all threads.
    pub connect_rate: Option<u64>,
    /// How long connecting may take in all, in seconds.
    pub connect_seconds: f64,
    /// Time at the start of a load that is not measured, in seconds.
    pub warmup_seconds: f64,
    /// How long to wait for what is under way at the end, in seconds.
    pub drain_seconds: f64,
    /// The server's process, to watch its CPU and memory.
    pub server_pid: Option<u32>,
    /// Lateness of its own that this tool lets pass, at the 99th percentile.
    pub lateness_max_us: u64,
    /// Whether to keep the progress line to itself.
    pub quiet: bool,
}

/// The connections asked for do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Connections that fit a thread.
    pub per_thread: usize,
}

/// Spreads `peers` over threads. `descriptors` is the limit of one table; `separate` says whether
/// each thread gets its own.
pub fn spread(
    settings: &Settings,
    peers: usize,
    descriptors: usize,
    separate: bool,
) -> Result<Vec<Place>, TooMany> {
    let per_table = descriptors.saturating_sub(DESCRIPTORS_SPARE).max(1);
    let needed = peers.div_ceil(per_table).max(1);
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wished = match settings.threads {
        Some(threads) => threads,
        None if settings.cpus.is_empty() => available,
        None => settings.cpus.len(),
    };
    if !separate && needed > 1 {
        return Err(TooMany { per_thread: per_table });
    }
    // A thread without a peer would only be a thread that waits.
    let threads = wished.max(needed).clamp(1, peers.max(1));
    let first = |thread: usize| peers * thread / threads;
    Ok((0..threads)
        .map(|thread| Place {
            thread,
            threads,
            first_peer: first(thread),
            peers: first(thread + 1) - first(thread),
        })
        .collect())
}

/// Settings as tests and defaults want them.
impl Settings {
    /// For this target, everything else at its default.
    #[must_use]
    pub fn new(target: Target, dialect: DialectName) -> Self {
        Self {
            target,
            others: Vec::new(),
            dialect,
            sources: Sources::default(),
            deflate: false,
            insecure: false,
            headers: Vec::new(),
            threads: None,
            epoll: false,
            cpus: Vec::new(),
            connect_timeout_us: 10_000_000,
            connect_concurrency: 128,
            connect_rate: None,
            connect_seconds: 120.0,
            warmup_seconds: 0.0,
            drain_seconds: 3.0,
            server_pid: None,
            lateness_max_us: 20_000,
            quiet: true,
        }
    }

    /// The server with this number: the target, then the others.
    #[must_use]
    pub fn server(&self, number: usize) -> &Target {
        number.checked_sub(1).map_or(&self.target, |other| &self.others[other])
    }

    /// Every server.
    pub fn servers(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.others)
    }

    /// The number of the server of the listener with this index: the others in turn, if there are any.
    #[must_use]
    pub fn server_of_listener(&self, index: usize) -> usize {
        index.checked_rem(self.others.len()).map_or(0, |other| other + 1)
    }

    /// Shared by threads.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    fn settings(threads: Option<usize>) -> Settings {
        let target = Target::resolve("ws://127.0.0.1:1/").unwrap();
        Settings { threads, ..Settings::new(target, DialectName::Raw) }
    }

    #[test]
    fn listeners_take_the_other_servers_in_turn() {
        let mut settings = settings(None);
        assert_eq!([0, 1, 2].map(|index| settings.server_of_listener(index)), [0; 3]);
        settings.others = vec![settings.target.clone(); 2];
        settings.others[1].url = "last".to_owned();
        let servers = [0, 1, 2, 3].map(|index| settings.server_of_listener(index));
        assert_eq!(servers, [1, 2, 1, 2]);
        assert_eq!(settings.server(2).url, "last");
        assert_eq!(settings.servers().count(), 3);
    }

    #[test]
    fn peers_spread_without_a_hole() {
        let places = spread(&settings(Some(3)), 10, 20_000, true).unwrap();
        let ends: Vec<_> = places.iter().map(|place| (place.first_peer, place.peers)).collect();
        assert_eq!(ends, [(0, 3), (3, 3), (6, 4)]);
    }

    #[test]
    fn as_many_threads_as_descriptors_demand() {
        let places = spread(&settings(Some(1)), 50_000, 20_000, true).unwrap();
        assert_eq!(places.len(), 3);
        assert!(places.iter().all(|place| place.peers <= 19_936));
        let refused = spread(&settings(Some(1)), 50_000, 20_000, false);
        assert_eq!(refused.unwrap_err(), TooMany { per_thread: 19_936 });
        assert_eq!(spread(&settings(Some(8)), 2, 20_000, true).unwrap().len(), 2);
    }
}
