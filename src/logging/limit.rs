//! How often one place in the code may log. There are as many places as the program has, so what
//! is remembered is bounded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

/// Events of one place in a window.
pub(super) const EVENTS_MAX: u32 = 20;
/// After which it may log again.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Limiter {
    places: HashMap<Identifier, Place>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    events: u32,
}

impl Limiter {
    /// Whether an event may be written; if so, how many before it were not.
    pub(super) fn admit(&mut self, place: Identifier, now: Instant) -> Option<u32> {
        let place = self.places.entry(place).or_insert(Place { since: now, events: 0 });
        let mut suppressed = 0;
        if now.saturating_duration_since(place.since) >= WINDOW {
            suppressed = place.events.saturating_sub(EVENTS_MAX);
            *place = Place { since: now, events: 0 };
        }
        place.events = place.events.saturating_add(1);
        (place.events <= EVENTS_MAX).then_some(suppressed)
    }
}
