//! The one timerfd of a core, and the file descriptors a ring cannot read.
//!
//! Invariant: armed for the earliest moment anyone asked for, or earlier; never later.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use crate::clock::Moment;

use super::ring::Kind;
use super::socket::{check, set_nonblocking};
use super::stream::Stream;

/// What a core asks for the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// The same moment as the kernel counts it: reading it is asked of every core per message, so it
    /// is one call and one multiplication.
    start_us: u64,
}

impl Clock {
    /// A clock that reads 0 now. One for the whole process: moments cross threads.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), start_us: monotonic_us() }
    }

    /// When it read 0.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    /// The moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { us: monotonic_us().saturating_sub(self.start_us) }
    }

    /// What the wall clock said when this clock read 0, as far as it knows now: the wall clock may
    /// jump, so this is asked again each tick.
    pub(super) fn unix_origin_us(&self) -> u64 {
        let unix = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let unix_us = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        unix_us.saturating_sub(self.moment().us)
    }
}

/// The kernel's monotonic clock.
pub(super) fn monotonic_us() -> u64 {
    clock_us(libc::CLOCK_MONOTONIC)
}

fn clock_us(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is live and written by the call, which cannot fail for the clocks asked here.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Neither is ever negative.
    time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1_000
}

/// The CPU time that the calling thread has taken.
pub(super) fn thread_cpu_us() -> u64 {
    clock_us(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The timer of a core.
pub(super) struct Timer {
    alarm: Counter,
    armed_for: Cell<Option<Moment>>,
}

impl Timer {
    /// A timer that is not armed.
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: just made, known to nobody else.
        let alarm = Counter::new(unsafe { OwnedFd::from_raw_fd(fd) })?;
        Ok(Self { alarm, armed_for: Cell::new(None) })
    }

    /// Makes sure that it fires at `deadline` at the latest.
    pub(super) fn arm(&self, deadline: Moment, now: Moment) {
        if self.armed_for.get().is_some_and(|armed| armed <= deadline) {
            return;
        }
        let wait_us = deadline.since_us(now).max(1);
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(wait_us / 1_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(wait_us % 1_000_000 * 1_000).unwrap_or(0),
        };
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: the setting is live; nothing is written back to a null pointer.
        let set = unsafe {
            libc::timerfd_settime(self.alarm.fd, 0, &raw const setting, std::ptr::null_mut())
        };
        if set == 0 {
            self.armed_for.set(Some(deadline));
        }
    }

    /// Waits until it fires; says for which moment it was armed.
    pub(super) async fn fired(&self) -> Option<Moment> {
        self.alarm.rung().await;
        self.armed_for.take()
    }
}

/// A descriptor that counts (a timerfd or an eventfd), waited for and read within a runtime.
///
/// monoio would read it as a file, which these refuse on its epoll driver: so it goes in the
/// envelope of a socket, which only waits, and is read by system call.
pub(super) struct Counter {
    envelope: Stream,
    fd: RawFd,
}

impl Counter {
    /// Takes it into this core's runtime.
    pub(super) fn new(counter: OwnedFd) -> io::Result<Self> {
        let fd = counter.as_raw_fd();
        set_nonblocking(fd)?;
        Ok(Self { envelope: Stream::new(counter)?, fd })
    }

    /// Waits until it counts more than 0, and sets it back to 0.
    pub(super) async fn rung(&self) {
        // An error is as good as a ring: the reading shows that there is nothing.
        let _ = self.envelope.readable().await;
        let mut count = [0_u8; 8];
        // SAFETY: eight bytes are there to be written.
        let _ = unsafe { libc::read(self.fd, count.as_mut_ptr().cast(), count.len()) };
    }
}

/// How a task lets the runtime look at all sockets once, without sleeping.
pub(super) enum Glance {
    /// A ring completes the wait for an eventfd that always counts 1 with whatever else is ready.
    Ring(Counter),
    /// The epoll driver remembers that such an eventfd is ready and would not look. It does look
    /// before it runs what was spawned in the meantime.
    Queue,
}

impl Glance {
    /// As the runtime needs it.
    pub(super) fn new(kind: Kind) -> io::Result<Self> {
        if kind == Kind::Epoll {
            return Ok(Self::Queue);
        }
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: just made, known to nobody else.
        Ok(Self::Ring(Counter::new(unsafe { OwnedFd::from_raw_fd(fd) })?))
    }

    /// Everything that is ready now has been seen when it returns.
    pub(super) async fn glance(&self) {
        match self {
            // Left ready: nothing reads it.
            Self::Ring(ready) => drop(ready.envelope.readable().await),
            Self::Queue => monoio::spawn(async {}).await,
        }
    }
}
