//! What time it is for the bridge: by the runtime's clock, so that a test that holds that clock holds all
//! of the bridge's times.

use std::time::{Duration, Instant};

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago that was.
pub(super) fn elapsed(since: Instant) -> Duration {
    now().saturating_duration_since(since)
}
