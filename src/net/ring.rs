//! The runtime of a core: the best ring this kernel gives, else a plainer one, else epoll.
//!
//! Invariant: whatever is left out is said, once, with what it costs.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use tracing::warn;

use crate::config::Driver;
use crate::metrics::DriverKind;

/// A smaller ring than this is not worth having: epoll is tried instead.
const ENTRIES_MIN: u32 = 256;

/// The kernel frees a closed ring's memory late, so a restarted process may have to wait for it.
const RETRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(40);

/// A core's runtime.
pub(super) enum Ring {
    /// `io_uring`.
    Uring(Box<Runtime<IoUringDriver>>),
    /// epoll.
    Epoll(Box<Runtime<LegacyDriver>>),
}

/// Which ring a core has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `SINGLE_ISSUER`, `DEFER_TASKRUN` and `COOP_TASKRUN`.
    Deferred,
    /// `COOP_TASKRUN` (kernels before 6.1).
    Cooperative,
    /// No flags (kernels before 5.19).
    Plain,
    /// epoll.
    Epoll,
}

impl Kind {
    /// As `/health` and the log name it.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deferred => "io_uring",
            Self::Cooperative => "io_uring without DEFER_TASKRUN",
            Self::Plain => "io_uring without flags",
            Self::Epoll => "epoll",
        }
    }
}

impl From<Kind> for DriverKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Deferred => Self::Uring,
            Kind::Cooperative | Kind::Plain => Self::PlainUring,
            Kind::Epoll => Self::Epoll,
        }
    }
}

impl Ring {
    /// Runs `future` to its end, and whatever it spawns as long as it lasts.
    pub(super) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            Self::Uring(runtime) => runtime.block_on(future),
            Self::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

/// Builds the runtime of the calling thread.
///
/// # Errors
/// If `driver` insists on `io_uring` and there is none, or if even epoll fails.
pub(super) fn build(driver: Driver, entries: u32) -> io::Result<(Ring, Kind)> {
    choose(driver, entries, RETRY_PAUSE, build_one)
}

/// The best that `build` gives, with what `entries` it is asked for.
fn choose<R>(
    driver: Driver,
    entries: u32,
    pause: Duration,
    mut build: impl FnMut(Kind, u32) -> io::Result<R>,
) -> io::Result<(R, Kind)> {
    if driver != Driver::Epoll {
        match uring(entries, pause, &mut build) {
            Ok(found) => return Ok(found),
            Err(error) if driver == Driver::Uring => {
                let told = format!("no io_uring, which cores.driver insists on: {error}");
                return Err(io::Error::new(error.kind(), told));
            }
            Err(error) => warn!(
                %error,
                "no io_uring here: falling back to epoll, which costs more CPU per message; \
                 `ringroom probe` says why"
            ),
        }
    }
    Ok((build(Kind::Epoll, entries)?, Kind::Epoll))
}

fn uring<R>(
    entries: u32,
    pause: Duration,
    build: &mut impl FnMut(Kind, u32) -> io::Result<R>,
) -> io::Result<(R, Kind)> {
    let mut size = entries.max(ENTRIES_MIN);
    loop {
        let error = match uring_of_size(size, pause, build) {
            Ok((runtime, kind)) => {
                if kind != Kind::Deferred {
                    warn!(ring = kind.name(), "this kernel has a plainer ring: more wake-ups");
                }
                if size < entries {
                    warn!(
                        size,
                        wanted = entries,
                        "a smaller ring than configured: memory is short"
                    );
                }
                return Ok((runtime, kind));
            }
            Err(error) => error,
        };
        // ENOMEM is the memlock limit: a smaller ring may still fit under it.
        if error.raw_os_error() != Some(libc::ENOMEM) || size == ENTRIES_MIN {
            return Err(error);
        }
        size = (size / 2).max(ENTRIES_MIN);
    }
}

fn uring_of_size<R>(
    entries: u32,
    pause: Duration,
    build: &mut impl FnMut(Kind, u32) -> io::Result<R>,
) -> io::Result<(R, Kind)> {
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for kind in [Kind::Deferred, Kind::Cooperative, Kind::Plain] {
        match patiently(pause, || build(kind, entries)) {
            Ok(runtime) => return Ok((runtime, kind)),
            // EINVAL: the kernel does not know a flag. Anything else no flag can mend.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn patiently<T>(pause: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 0;
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && tries < RETRIES => {
                tries += 1;
                thread::sleep(pause);
            }
            done => return done,
        }
    }
}

fn build_one(kind: Kind, entries: u32) -> io::Result<Ring> {
    if kind == Kind::Epoll {
        let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).build()?;
        return Ok(Ring::Epoll(Box::new(runtime)));
    }
    let mut ring = io_uring::IoUring::builder();
    // A burst of completions must find room: the kernel's overflow list is slow, and monoio
    // cannot submit while it is in use.
    ring.setup_cqsize(entries.saturating_mul(4));
    match kind {
        Kind::Deferred => {
            ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        }
        Kind::Cooperative => {
            ring.setup_coop_taskrun();
        }
        Kind::Plain | Kind::Epoll => {}
    }
    let runtime =
        RuntimeBuilder::<IoUringDriver>::new().with_entries(entries).uring_builder(ring).build()?;
    Ok(Ring::Uring(Box::new(runtime)))
}

#[cfg(test)]
mod tests;
