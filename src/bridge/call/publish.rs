//! A publication asks for its place.

use std::time::Instant;

use redis::{Cmd, Value};

use crate::bridge::answer::{number, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::bridge::time;
use crate::id::CoreId;
use crate::room::broker::{self, Fault, FromBroker, Placed, Stamp};

use super::{Call, Lane};

/// By how much the pace of a user over all nodes is less than what the room says, at most.
const TOLERANCE_MS: u64 = 250;

/// A publish of a core.
#[derive(Debug)]
pub(in crate::bridge) struct Publish {
    from: CoreId,
    publish: broker::Publish,
    since: Instant,
}

impl Publish {
    pub(in crate::bridge) fn new(from: CoreId, publish: broker::Publish) -> Self {
        Self { from, publish, since: time::now() }
    }
}

impl Call for Publish {
    fn bytes(&self) -> usize {
        self.publish.wire.len()
    }

    fn lane(&self) -> Lane {
        Lane::Publishes
    }

    fn slot(&self, desk: &Desk) -> u16 {
        desk.slot(&self.publish.room)
    }

    fn replicas(&self) -> u8 {
        self.publish.keep.replicas
    }

    fn command(&self, desk: &Desk) -> Cmd {
        let broker::Publish { room, seen, keep, key, pace, wire, .. } = &self.publish;
        let names = desk.names(room);
        let mut keys = vec![names.state(), names.history(), names.channel()];
        let (mut key_ms, mut pace_ms) = (0, 0);
        if let Some((key, window_ms)) = key {
            keys.push(names.publication(key));
            key_ms = *window_ms;
        }
        if let Some((user, slow_mode_ms)) = pace {
            keys.push(names.pace(user));
            pace_ms = kept_pace_ms(*slow_mode_ms);
        }
        let mut command = desk.scripts.call(Name::Publish, &keys);
        script::add_seen(&mut command, seen.as_ref());
        let stamp = wire.get(1..=Stamp::BYTES).unwrap_or_default();
        command.arg(script::fresh(stamp)).arg(stamp).arg(&**wire);
        command.arg(keep.size).arg(keep.bytes).arg(keep.ttl_ms);
        command.arg(desk.config.redis.room_ttl_ms).arg(key_ms).arg(pace_ms);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let us = u64::try_from(time::elapsed(self.since).as_micros()).unwrap_or(u64::MAX);
        desk.metrics.latency.record(us);
        let outcome = placed(&answer).unwrap_or(Err(Fault::Other));
        match &outcome {
            Ok(_) => desk.metrics.published.add(1),
            // Redis does what it is to do.
            Err(Fault::TooSoon(_)) => {}
            Err(_) => desk.metrics.failed.add(1),
        }
        desk.post(self.from, FromBroker::Published { ticket: self.publish.ticket, outcome });
    }

    fn fail(self: Box<Self>, fault: Fault, desk: &mut Desk) {
        desk.metrics.failed.add(1);
        let (ticket, outcome) = (self.publish.ticket, Err(fault));
        desk.post(self.from, FromBroker::Published { ticket, outcome });
    }
}

/// How long Redis keeps in mind that a user has published. A home counts from when it takes a publication,
/// Redis from when that has arrived: whoever keeps the pace is not refused where the first one took
/// longer than the second. On its own node a home holds the pace to the millisecond.
fn kept_pace_ms(slow_mode_ms: u64) -> u64 {
    let tolerance_ms = (slow_mode_ms / 10).min(TOLERANCE_MS);
    slow_mode_ms.saturating_sub(tolerance_ms).max(1)
}

/// What `publish.lua` said; none if it says no such thing.
fn placed(value: &Value) -> Option<Result<Placed, Fault>> {
    if let Value::Int(left_ms) = value {
        return Some(Err(Fault::TooSoon(u64::try_from(*left_ms).ok()?)));
    }
    let Value::Array(items) = value else { return None };
    let [epoch, offset, is_duplicate, nodes] = items.as_slice() else { return None };
    Some(Ok(Placed {
        epoch: text(epoch)?.into(),
        offset: number(offset)?,
        is_duplicate: number(is_duplicate)? == 1,
        nodes: u32::try_from(number(nodes)?).ok()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_over_all_nodes_has_a_tolerance() {
        for (slow_mode_ms, kept_ms) in
            [(1, 1), (9, 9), (10, 9), (1_000, 900), (2_500, 2_250), (3_600_000, 3_599_750)]
        {
            assert_eq!(kept_pace_ms(slow_mode_ms), kept_ms, "{slow_mode_ms}");
        }
    }
}
