//! The first interrupt asks the run to end and report; the second ends the process.

use std::sync::atomic::Ordering;

use crate::run::INTERRUPTED;

extern "C" fn note(signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    // SAFETY: signal(2) may be called from a handler; the default action needs no memory of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Listens for SIGINT and SIGTERM.
pub fn listen() {
    let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic and calls signal(2): both may be done there.
        unsafe { libc::signal(signal, handler) };
    }
}
