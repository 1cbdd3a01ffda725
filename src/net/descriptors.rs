//! A descriptor table for each core: none contends for a shared one, and the limit of open files counts
//! per core.
//!
//! Invariant: after [`leave_shared_table`] this thread's table holds the standard streams and what
//! it was told to keep. Nothing that others opened lives on here as a copy.

use std::io;
use std::os::fd::RawFd;
use std::sync::Barrier;

use tracing::warn;

use super::socket::check;

const STANDARD_STREAMS: RawFd = 3;

/// Descriptors of a shared table that clients do not get, at most.
const RESERVED: RawFd = 64;

/// Whether a core has a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Its own: the limit of open files holds per core.
    Own,
    /// The process's: `unshare` was refused.
    Shared,
}

impl Table {
    /// From which number on a descriptor is not for a client: a shared table has the last of it for the
    /// control plane, the log and Redis. Numbers are given out from the lowest, so it tells how many
    /// there are.
    pub(super) fn end_for_clients(self) -> RawFd {
        match self {
            Self::Own => RawFd::MAX,
            Self::Shared => {
                let limit = RawFd::try_from(limit().rlim_cur).unwrap_or(RawFd::MAX);
                limit - (limit / 4).min(RESERVED)
            }
        }
    }
}

/// Gives the calling thread a table of its own, keeping the standard streams and `kept`.
///
/// Waits at `barrier` for all cores: only when each has its copy may anyone open something new, or
/// the copies would hold it open too.
pub(super) fn leave_shared_table(kept: &[RawFd], barrier: &Barrier) -> Table {
    // SAFETY: no memory is involved; only the calling thread's table changes.
    let left = check(unsafe { libc::unshare(libc::CLONE_FILES) });
    barrier.wait();
    if let Err(error) = left {
        warn!(
            %error,
            "unshare(CLONE_FILES) was refused: all cores share one descriptor table, so the limit \
             of open files holds for the whole process, and opening and closing contend"
        );
        return Table::Shared;
    }
    if let Err(error) = close_all_but(kept) {
        warn!(%error, "close_range was refused: copies of descriptors stay open in this core");
    }
    Table::Own
}

/// Raises the soft limit of open files to the hard one: what may be had is had. Says how many.
pub fn raise_limit() -> u64 {
    let mut limit = limit();
    if limit.rlim_max == 0 {
        return 0;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the limit is live. Raising the soft limit to the hard one needs no right.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    limit.rlim_cur
}

/// The limit of open files; none is known: 0.
fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is live and written by the call, or left as it is.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit
}

/// The kernel's id of the calling thread.
pub(super) fn thread_id() -> u64 {
    // SAFETY: no memory is involved, and it cannot fail.
    u64::try_from(unsafe { libc::gettid() }).unwrap_or(0)
}

/// Keeps signals off the calling thread: they are for the thread that waits for them, whose
/// handler writes to a descriptor that is another one, or none, in a core's table.
pub(super) fn leave_signals_to_others() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set, and pthread_sigmask only reads it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}

fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd >= STANDARD_STREAMS).collect();
    kept.sort_unstable();
    let mut first = STANDARD_STREAMS;
    for fd in kept {
        close_between(first, fd - 1)?;
        first = fd + 1;
    }
    close_between(first, RawFd::MAX)
}

fn close_between(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    let flags: libc::c_uint = 0;
    // SAFETY: this thread's table is its own copy, so nobody's descriptor is closed under them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::sync::{Arc, Barrier};

    use super::*;

    fn is_open(fd: RawFd) -> bool {
        // SAFETY: no memory is involved.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn a_shared_table_has_some_left_that_clients_do_not_get() {
        let all = RawFd::try_from(limit().rlim_cur).unwrap_or(RawFd::MAX);
        let end = Table::Shared.end_for_clients();
        assert!(end <= all - RESERVED.min(all / 4) && end >= all / 4 * 3, "{end} of {all}");
        assert_eq!(Table::Own.end_for_clients(), RawFd::MAX, "nobody else is there");
    }

    #[test]
    fn a_core_keeps_what_it_was_told_to_and_its_closing_is_its_own() {
        let kept = File::open("/dev/null").expect("there is a /dev/null");
        let other = File::open("/dev/null").expect("there is a /dev/null");
        let (kept_fd, other_fd) = (kept.as_raw_fd(), other.as_raw_fd());
        let barrier = Arc::new(Barrier::new(1));
        let (table, kept_there, other_there) = std::thread::spawn(move || {
            let table = leave_shared_table(&[kept_fd], &barrier);
            // Before a number is given out again.
            let found = (table, is_open(kept_fd), is_open(other_fd));
            let opened = File::open("/dev/null").expect("there is a /dev/null").into_raw_fd();
            assert!(is_open(opened));
            found
        })
        .join()
        .expect("the thread does not panic");
        assert!(is_open(kept_fd) && is_open(other_fd), "this thread's table is untouched");
        if table == Table::Own {
            assert!(kept_there, "kept");
            assert!(!other_there, "closed there");
        }
    }
}
