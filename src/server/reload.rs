//! What can change in a running process.

use crate::config::{self, Config};

/// The settings to go on with, and the keys that have changed and must wait for a new process.
pub(super) fn merge(old: &Config, new: &Config) -> (Config, Vec<String>) {
    let mut merged = old.clone();
    merged.handshake = new.handshake.clone();
    merged.proxy = new.proxy.clone();
    merged.flush = new.flush.clone();
    merged.drain = new.drain.clone();
    merged.log.filter.clone_from(&new.log.filter);
    merged.admission.accepts_per_second = new.admission.accepts_per_second;
    merged.admission.accept_burst = new.admission.accept_burst;
    for (listener, new) in merged.listeners.iter_mut().zip(&new.listeners) {
        if listener.tls.is_some() && new.tls.is_some() {
            listener.tls.clone_from(&new.tls);
        }
    }
    let kept = config::differences(&merged, new);
    (merged, kept)
}
