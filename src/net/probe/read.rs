//! Looks at the host.

#![allow(unsafe_code, reason = "resource limits and unshare have no safe wrapper in std")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::thread;

use io_uring::{Builder, IoUring};

use super::{Facts, Limit, Outcome, Ring, SYSCTLS};

/// Enough entries to see whether a ring can be had.
const RING_ENTRIES: u32 = 8;

/// What there is. Leaves nothing behind.
#[must_use]
pub fn read() -> Facts {
    Facts {
        kernel: file("/proc/sys/kernel/osrelease").unwrap_or_default(),
        ring: ring(),
        descriptors: limit(libc::RLIMIT_NOFILE),
        locked_bytes: limit(libc::RLIMIT_MEMLOCK),
        own_table: own_table(),
        cpus: cpus_allowed(),
        sysctls: sysctls(),
    }
}

/// The CPUs this process may run on; none if the kernel does not say.
#[must_use]
pub fn cpus_allowed() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

fn sysctls() -> BTreeMap<&'static str, String> {
    SYSCTLS
        .iter()
        .filter_map(|name| Some((*name, file(&format!("/proc/sys/{}", name.replace('.', "/")))?)))
        .collect()
}

/// The words of a file, with one space between them.
fn file(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn ring() -> Ring {
    Ring {
        plain: set_up(|_| {}),
        coop_taskrun: set_up(|ring| _ = ring.setup_coop_taskrun()),
        single_issuer: set_up(|ring| _ = ring.setup_single_issuer()),
        defer_taskrun: set_up(|ring| _ = ring.setup_single_issuer().setup_defer_taskrun()),
    }
}

fn set_up(flags: impl FnOnce(&mut Builder)) -> Outcome {
    let mut builder = IoUring::builder();
    flags(&mut builder);
    builder.build(RING_ENTRIES).map(drop).map_err(|error| number(&error))
}

/// Tried on a thread of its own, which takes the copied table with it.
fn own_table() -> Outcome {
    let unshare = || {
        // SAFETY: takes no pointers; it affects the calling thread's descriptor table alone, and
        // this thread opens and closes nothing and ends at once.
        match unsafe { libc::unshare(libc::CLONE_FILES) } {
            0 => Ok(()),
            _ => Err(number(&io::Error::last_os_error())),
        }
    };
    match thread::Builder::new().name("probe".to_owned()).spawn(unshare) {
        Ok(thread) => thread.join().unwrap_or(Err(libc::EFAULT)),
        Err(error) => Err(number(&error)),
    }
}

fn limit(resource: libc::__rlimit_resource_t) -> Limit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, exclusively borrowed `rlimit` for the length of the call.
    let outcome = unsafe { libc::getrlimit(resource, &raw mut limit) };
    debug_assert_eq!(outcome, 0, "getrlimit fails for unknown resources only");
    Limit { soft: limit.rlim_cur, hard: limit.rlim_max }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
