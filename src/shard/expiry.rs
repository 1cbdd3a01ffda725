//! Credentials that run out: the client is told ahead of time, and sent away when it shows no other.
//!
//! Invariant: a connection whose credential says when it runs out has one timer for it; what counts
//! is the wall clock, which may jump: a timer that comes too early by it is set again, and none waits
//! for long.

use crate::id::ConnectionKey;
use crate::protocol::{CloseReason, Event};

use super::{Alarm, Shard};

/// The longest that is waited for before the wall clock is asked again. Who is not to be here any more
/// after a jump is sent away within it.
const LOOK_MS: u64 = 60_000;

impl Shard {
    /// Looks at when a connection's credential runs out: tells it, sends it away, or comes again.
    pub(super) fn watch_expiry(&mut self, key: ConnectionKey) {
        let (now, auth) = (self.outbound.now, &self.config.auth);
        let (notice_ms, leeway_ms) = (auth.expiring_ms, auth.leeway_ms);
        let Some(connection) = self.outbound.get_mut(key).filter(|it| it.is_open()) else { return };
        if let Some(timer) = connection.expiry.take() {
            self.wheel.cancel(timer);
        }
        let Some(expires_at_ms) = connection.identity.expires_at_ms else { return };
        let end_ms = expires_at_ms.saturating_add(leeway_ms);
        let notice_at_ms = expires_at_ms.saturating_sub(notice_ms);
        let next_ms = if now.unix_ms >= end_ms {
            self.close(key, CloseReason::TokenExpired);
            return;
        } else if now.unix_ms >= notice_at_ms {
            if connection.told_expiring_ms != expires_at_ms {
                connection.told_expiring_ms = expires_at_ms;
                self.outbound.say(key, &Event::Expiring { at_ms: expires_at_ms });
            }
            end_ms
        } else {
            notice_at_ms
        };
        let wait_ms = (next_ms - now.unix_ms).min(LOOK_MS);
        let timer = self.wheel.insert(now.moment.plus_ms(wait_ms), Alarm::Expiry(key));
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.expiry = Some(timer);
        }
    }

    /// The time has come.
    pub(super) fn on_expiry_alarm(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.outbound.get_mut(key) {
            connection.expiry = None;
        }
        self.watch_expiry(key);
    }
}
