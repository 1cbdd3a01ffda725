//! A thread of its own kind: pinned if asked, with a descriptor table of its own.
//!
//! RLIMIT_NOFILE counts per table, so so many threads hold so many times the limit. The copies
//! that a new table begins with are closed at once: a socket is closed only when its last copy is.

use std::io;

use super::socket::check;

const FIRST_AFTER_STANDARD: libc::c_uint = 3;

/// Gives the calling thread its own descriptor table, empty but for the standard streams.
/// `false`: refused, and the table stays shared.
pub fn separate_descriptors() -> bool {
    // SAFETY: no pointers are passed; the thread holds no descriptor yet that it would miss.
    let separated = check(unsafe { libc::unshare(libc::CLONE_FILES) }).is_ok();
    if separated {
        // SAFETY: the table is this thread's alone now, and nothing in it past the standard
        // streams is used by it.
        unsafe { libc::close_range(FIRST_AFTER_STANDARD, libc::c_uint::MAX, 0) };
    }
    separated
}

/// Raises the limit of descriptors to what is allowed; says what it is then.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read and write the struct they are given.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(usize::try_from(limit.rlim_max).unwrap_or(usize::MAX))
}

/// Keeps the calling thread on one CPU.
#[must_use]
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}
