//! A monoio runtime with the best ring the kernel grants, and epoll where it grants none.

use std::fmt;
use std::future::Future;
use std::io;

use io_uring::IoUring;
use monoio::{FusionRuntime, IoUringDriver, LegacyDriver, RuntimeBuilder};

const ENTRIES: u32 = 4_096;
const ENTRIES_SMALL: u32 = 512;
const COMPLETIONS_PER_ENTRY: u32 = 4;

/// What a thread runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// io_uring with deferred task work: the cheapest.
    Deferred,
    /// io_uring as old kernels have it.
    Plain,
    /// No io_uring.
    Epoll,
}

impl fmt::Display for Backend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Deferred => "io_uring (single issuer, deferred task work)",
            Self::Plain => "io_uring (plain)",
            Self::Epoll => "epoll",
        })
    }
}

/// A runtime for the calling thread.
pub struct Runtime {
    inner: FusionRuntime<IoUringDriver, LegacyDriver>,
    /// What it runs on.
    pub backend: Backend,
}

impl Runtime {
    /// Tries the best first; each refusal is one step down. `epoll`: do not even try.
    pub fn new(epoll: bool) -> io::Result<Self> {
        let rings = [
            (Backend::Deferred, ENTRIES),
            (Backend::Deferred, ENTRIES_SMALL),
            (Backend::Plain, ENTRIES_SMALL),
        ];
        for (backend, entries) in rings.into_iter().filter(|_| !epoll) {
            if let Ok(runtime) = RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(entries)
                .uring_builder(ring(backend, entries))
                .build()
            {
                return Ok(Self { inner: runtime.into(), backend });
            }
        }
        let runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
        Ok(Self { inner: runtime.into(), backend: Backend::Epoll })
    }

    /// Runs `future` to its end.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.inner.block_on(future)
    }
}

fn ring(backend: Backend, entries: u32) -> io_uring::Builder {
    let mut ring = IoUring::builder();
    ring.setup_cqsize(entries * COMPLETIONS_PER_ENTRY);
    if backend == Backend::Deferred {
        ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    }
    ring
}
