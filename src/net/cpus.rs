//! Which CPUs the threads of the process run on.

use std::io;

use super::socket::check;

/// Keeps this thread to `cpus`, and every thread that it starts from here on; none: it may run where it may.
///
/// # Errors
/// The kernel permits none of them.
pub fn keep_to(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    // SAFETY: a set of CPUs is an array of bits, and all of them may be zero.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: the set is ours, and no setting names a CPU that is beyond its end.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the set is read, and is as long as it is said to be. 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}
