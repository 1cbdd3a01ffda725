//! Signs of life: pings and pongs both ways, and what is done when none come.

use crate::clock::Moment;
use crate::config::Limits;
use crate::id::ConnectionKey;
use crate::protocol::CloseReason;
use crate::ws::frame::Opcode;

use super::connection::{NO_PLACE, Phase};
use super::heartbeat::Beat;
use super::{Alarm, Shard};

/// Answers that may wait for a connection before its pings are answered only by the latest.
pub(super) const PONG_QUEUE_BYTES: usize = 4_096;

/// A resumption may repeat this share of the bytes that one may recover.
const MARK_SHARE: u32 = 16;

/// For the test suite: a pong that a server which obeys it dies of, between two writes.
pub(super) const FLUSH_FAULT: &[u8] = b"panic in a flush";

impl Shard {
    pub(super) fn on_ping(&mut self, key: ConnectionKey, payload: &[u8]) {
        self.hear(key);
        if !self.pace_control(key, payload.len()) {
            return;
        }
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let crowded = slot.outbox.own_bytes() >= PONG_QUEUE_BYTES;
        let Some(connection) = slot.connection.as_deref_mut().filter(|c| c.is_open()) else {
            return;
        };
        if crowded {
            connection.rare().pong = Some(payload.into());
        } else {
            self.outbound.control(key, Opcode::Pong, payload);
        }
    }

    pub(super) fn on_pong(&mut self, key: ConnectionKey, payload: &[u8]) {
        self.hear(key);
        let now = self.outbound.now.moment;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        if let Some(us) = connection.pulse.answer(now, payload) {
            self.metrics.round_trip.record(us);
            self.metrics.pongs.add(1);
            if connection.pinged_has_arrived() {
                self.session_changed(key);
            }
            return;
        }
        // What nobody asked for is no more than a frame.
        self.pace_control(key, payload.len());
    }

    pub(super) fn on_written(&mut self, key: ConnectionKey) {
        let Some(slot) = self.outbound.slots.get_mut(key.index as usize) else { return };
        if slot.generation != key.generation {
            return;
        }
        slot.outbox.reclaim(&mut self.outbound.pool);
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        let is_due = slot.outbox.unmarked_bytes() > mark_bytes(&self.config.limits, key);
        if slot.outbox.own_bytes() < PONG_QUEUE_BYTES
            && let Some(payload) = connection.take_pong()
        {
            assert!(!self.config.dev.faults || *payload != *FLUSH_FAULT, "a panic on request");
            self.outbound.control(key, Opcode::Pong, &payload);
        }
        if is_due {
            self.mark(key);
        }
    }

    /// Pings a connection that need not prove that it lives, so that what was written is known to
    /// have arrived.
    pub(super) fn mark(&mut self, key: ConnectionKey) {
        let now = self.outbound.now.moment;
        let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) else { return };
        if connection.rooms.is_empty() || self.config.session.ttl_ms == 0 {
            return;
        }
        if let Some(payload) = connection.pulse.mark(now) {
            self.ping_with(key, &payload);
        }
    }

    /// Sends a ping; what is queued now is written before it.
    pub(super) fn ping_with(&mut self, key: ConnectionKey, payload: &[u8]) {
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        slot.outbox.mark();
        let Some(connection) = slot.connection.as_deref_mut() else { return };
        for membership in &mut connection.rooms {
            let room = self.hub.get(membership.room);
            membership.pinged = room.map_or(0, |room| room.offset);
        }
        self.metrics.pings.add(1);
        self.outbound.control(key, Opcode::Ping, payload);
    }

    /// Notes a sign of life.
    pub(super) fn hear(&mut self, key: ConnectionKey) {
        let now = self.outbound.now.moment;
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.pulse.hear(now);
        }
    }

    pub(super) fn on_connection_alarm(&mut self, key: ConnectionKey) {
        let now = self.outbound.now.moment;
        let heartbeat = &self.config.heartbeat;
        let Some(connection) = self.outbound.get_mut(key) else { return };
        connection.timer = None;
        match connection.phase {
            Phase::Open => {
                match connection.pulse.beat(now, heartbeat.interval_ms, heartbeat.max_missed) {
                    Beat::Wait(until) => {
                        let hub = &self.hub;
                        let owed = connection.rooms.iter().any(|it| {
                            it.place != NO_PLACE
                                && hub.get(it.room).is_some_and(|room| room.offset > it.position)
                        });
                        self.look_again(key, until);
                        if owed {
                            self.mark(key);
                        }
                    }
                    Beat::Ask(payload) => {
                        self.ping_with(key, &payload);
                        self.look_again(key, now.plus_ms(self.config.heartbeat.interval_ms));
                    }
                    Beat::GiveUp => self.close(key, CloseReason::HeartbeatTimeout),
                }
            }
            Phase::Closing | Phase::Ended => self.give_up(key),
        }
    }

    /// Sets the one timer of a connection.
    pub(super) fn look_again(&mut self, key: ConnectionKey, at: Moment) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let previous = connection.timer.take();
        if let Some(previous) = previous {
            self.wheel.cancel(previous);
        }
        let timer = self.wheel.insert(at, Alarm::Connection(key));
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.timer = Some(timer);
        }
    }
}

/// After how many bytes written a connection is asked whether they have arrived: between half of what a
/// resumption may repeat and all of it. Members of a room are written the same, and if all of them were
/// asked in one moment, a thousand would answer in one, and everybody else wait for their answers to
/// be read.
fn mark_bytes(limits: &Limits, key: ConnectionKey) -> u32 {
    let half = limits.recovery_bytes / MARK_SHARE / 2;
    // A multiple of the golden ratio, without its whole part: neighbours are far from each other.
    let part = key.index.wrapping_mul(0x9E37_79B9);
    half + ((u64::from(half) * u64::from(part)) >> 32) as u32
}
