//! The end of connections: by us, by the peer, or of all of them because the server goes away.
//!
//! Invariants: a connection is sent at most one close frame and nothing after it; what it sends
//! after either close frame is ignored; its end is waited for no longer than [`PATIENCE_MS`].

use crate::clock::Moment;
use crate::id::ConnectionKey;
use crate::metrics::Close;
use crate::protocol::{CloseReason, Event};
use crate::ws::close::{self, Fault};

use super::connection::{Phase, Purpose};
use super::outbound::{Outbound, Slot};
use super::{Alarm, Shard};

/// How long a peer may take to answer our close frame. A drain has half a second more for its last: the
/// process has time to tell Redis what became of them.
pub const PATIENCE_MS: u64 = 4_000;
/// Between two steps of a drain.
const DRAIN_STEP_MS: u64 = 20;
/// The least window over which clients are asked to come back.
const RETURN_WINDOW_MS: u64 = 1_000;

/// All connections are being sent away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    ends: Moment,
    window_ms: u64,
    /// The place after the last connection that was sent away.
    next: usize,
}

impl Shard {
    /// Sends a connection away: `disconnect`, then a close frame.
    pub(super) fn close(&mut self, key: ConnectionKey, reason: CloseReason) {
        let retry_after_ms = match reason {
            CloseReason::Drain => Some(self.return_delay_ms(key)),
            CloseReason::SlowConsumer | CloseReason::Overloaded => Some(RETURN_WINDOW_MS),
            _ => None,
        };
        self.close_with(key, reason, reason.as_str(), retry_after_ms);
    }

    /// Queues frames that a connection did not ask for, if it reads what it is sent; else it is sent away,
    /// as by a message.
    pub(super) fn tell(&mut self, key: ConnectionKey, frames: &[u8]) {
        let limit_bytes = self.config.limits.outbox_bytes as usize;
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        // What waits of rooms is bounded by their own policies, and is no fault of theirs who read on.
        let waiting = slot.outbox.own_bytes();
        if waiting > 0 && waiting + frames.len() > limit_bytes {
            self.close(key, CloseReason::SlowConsumer);
        }
        self.spare(key);
        self.outbound.push_bytes(key, frames);
    }

    /// Sends a connection away that lags while all of them together have more waiting than may.
    pub(super) fn spare(&mut self, key: ConnectionKey) {
        let Outbound { slots, pool, .. } = &self.outbound;
        let lags = |slot: &Slot| slot.generation == key.generation && slot.outbox.lags(pool);
        if pool.is_over_budget() && slots.get(key.index as usize).is_some_and(lags) {
            self.close(key, CloseReason::Overloaded);
        }
    }

    /// A peer broke the protocol.
    pub(super) fn fault(&mut self, key: ConnectionKey, fault: Fault) {
        let reason = match fault.code() {
            1007 => CloseReason::InvalidPayload,
            1009 => CloseReason::TooLarge,
            _ => CloseReason::ProtocolError,
        };
        self.close_with(key, reason, fault.reason(), None);
        self.ignore(key);
    }

    /// What a peer has sent of a message is not kept.
    pub(super) fn overload(&mut self, key: ConnectionKey) {
        self.close(key, CloseReason::Overloaded);
        self.ignore(key);
    }

    /// A peer that is sent away is not listened to.
    fn ignore(&mut self, key: ConnectionKey) {
        // Nothing more is read from it, so its answer would never be seen.
        if let Some(connection) = self.outbound.get_mut(key).filter(|c| c.phase == Phase::Closing) {
            connection.phase = Phase::Ended;
            self.outbound.effects.hangups.push(key);
        }
    }

    fn close_with(
        &mut self,
        key: ConnectionKey,
        reason: CloseReason,
        text: &str,
        retry_after_ms: Option<u64>,
    ) {
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let Some(connection) = slot.connection.as_deref_mut().filter(|c| c.is_open()) else {
            return;
        };
        connection.phase = Phase::Closing;
        connection.take_pong();
        let speaks_rooms = connection.purpose == Purpose::Rooms;
        // It does not read: what waits would keep the reason from it, and memory from others.
        if matches!(
            reason,
            CloseReason::SlowConsumer | CloseReason::Overloaded | CloseReason::HeartbeatTimeout
        ) {
            slot.outbox.clear();
        }
        self.outbound.let_go(key);
        if speaks_rooms {
            self.outbound.say(key, &Event::Disconnect { reason, retry_after_ms });
        }
        self.finish(key, Some(reason.close_code()), text);
        self.metrics.closes.count(counted(reason));
        let deadline = self.outbound.now.moment.plus_ms(PATIENCE_MS);
        self.look_again(key, deadline);
    }

    /// The peer's close frame: the answer to ours, or to be answered.
    pub(super) fn on_close_frame(&mut self, key: ConnectionKey, code: Option<u16>) {
        let Some(connection) = self.outbound.get_mut(key) else { return };
        let phase = std::mem::replace(&mut connection.phase, Phase::Ended);
        match phase {
            Phase::Open => {
                self.metrics.closes.count(Close::Client);
                connection.take_pong();
                self.outbound.let_go(key);
                self.finish(key, code, "");
                let deadline = self.outbound.now.moment.plus_ms(PATIENCE_MS);
                self.look_again(key, deadline);
            }
            Phase::Closing => {}
            Phase::Ended => return,
        }
        self.outbound.effects.hangups.push(key);
    }

    /// A closing connection has had its time.
    pub(super) fn give_up(&mut self, key: ConnectionKey) {
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        if let Some(connection) = slot.connection.as_deref_mut() {
            connection.phase = Phase::Ended;
            connection.timer = None;
        }
        self.outbound.effects.aborts.push(key);
    }

    /// Queues the close frame, after which nothing is queued.
    fn finish(&mut self, key: ConnectionKey, code: Option<u16>, text: &str) {
        self.outbound.push(key, |out| close::write_frame(out, code, text));
        if let Some(slot) = self.outbound.slot_mut(key) {
            slot.outbox.seal();
        }
    }

    /// All connections are to go within `window_ms`.
    pub(super) fn begin_drain(&mut self, window_ms: u64) {
        let ends = self.outbound.now.moment.plus_ms(window_ms);
        self.drain = Some(Drain { ends, window_ms, next: 0 });
        self.drain_step();
    }

    /// Whether new connections are sent away at once.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Sends away the share of connections that is due, and comes again.
    pub(super) fn drain_step(&mut self) {
        let Some(drain) = self.drain else { return };
        let left = self.outbound.slots.len() - drain.next.min(self.outbound.slots.len());
        let left_ms = drain.ends.since_ms(self.outbound.now.moment);
        let steps = usize::try_from(left_ms / DRAIN_STEP_MS + 1).unwrap_or(usize::MAX);
        let until = drain.next + left.div_ceil(steps);
        for index in drain.next..until {
            let key = self.outbound.slots.get(index).and_then(|slot| slot.connection.as_ref());
            if let Some(key) = key.map(|connection| connection.key) {
                self.close(key, CloseReason::Drain);
            }
        }
        self.drain = Some(Drain { next: until, ..drain });
        if left_ms > 0 {
            let next = self.outbound.now.moment.plus_ms(DRAIN_STEP_MS.min(left_ms));
            self.wheel.insert(next, Alarm::Drain);
        }
    }

    /// When a client that is sent away may come back: spread, so that they do not come at once.
    fn return_delay_ms(&self, key: ConnectionKey) -> u64 {
        let window_ms = self.drain.map_or(0, |drain| drain.window_ms).max(RETURN_WINDOW_MS);
        self.seed.hash(&key) % window_ms + 1
    }
}

/// What a close counts as.
fn counted(reason: CloseReason) -> Close {
    match reason {
        CloseReason::HeartbeatTimeout => Close::HeartbeatTimeout,
        CloseReason::ProtocolError | CloseReason::UnsupportedData | CloseReason::InvalidPayload => {
            Close::ProtocolError
        }
        CloseReason::TooLarge => Close::TooLarge,
        CloseReason::AuthFailed => Close::AuthFailed,
        CloseReason::AuthTimeout => Close::AuthTimeout,
        CloseReason::TokenExpired => Close::TokenExpired,
        CloseReason::Revoked => Close::Revoked,
        CloseReason::Banned => Close::Banned,
        CloseReason::BadMessages => Close::BadMessages,
        CloseReason::RateLimited => Close::RateLimited,
        CloseReason::ConnectionLimit => Close::ConnectionLimit,
        CloseReason::Replaced => Close::Replaced,
        CloseReason::Suspended => Close::Suspended,
        CloseReason::Internal => Close::Internal,
        CloseReason::Drain => Close::Drain,
        CloseReason::SlowConsumer => Close::SlowConsumer,
        CloseReason::Overloaded => Close::Overloaded,
    }
}
