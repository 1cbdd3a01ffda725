//! What the broker could not do for a room is tried again by opening the room again: at one time,
//! whatever failed, and later each time that something fails again.

use crate::clock::Moment;
use crate::room::name::RoomKey;
use crate::shard::{Alarm, Shard};
use crate::wheel::Timer;

use super::RETRY_MS;

/// How often the pause is doubled.
const DOUBLINGS_MAX: u32 = 2;

/// When a room is opened again because something failed.
#[derive(Debug, Default)]
pub(super) struct Retry {
    timer: Option<Timer>,
    /// When that is, or was last.
    due: Moment,
    /// How often it was so, in a row: so often the next pause is doubled.
    doublings: u32,
}

impl Retry {
    /// What failed waits for its time.
    pub(super) fn is_planned(&self) -> bool {
        self.timer.is_some()
    }
}

impl Shard {
    /// The broker could not do something for a room.
    pub(super) fn retry(&mut self, room: &RoomKey) {
        if !self.broker.is_up {
            return;
        }
        let now = self.outbound.now.moment;
        let Some(followed) = self.broker.rooms.get_mut(room) else { return };
        let retry = &mut followed.retry;
        if retry.is_planned() {
            return;
        }
        let longest_ms = RETRY_MS << DOUBLINGS_MAX;
        let is_first = retry.due.plus_ms(self.config.redis.timeout_ms + longest_ms) < now;
        if is_first {
            retry.doublings = 0;
        }
        retry.due = now.plus_ms(RETRY_MS << retry.doublings);
        retry.timer = Some(self.wheel.insert(retry.due, Alarm::Retry(room.clone())));
    }

    /// What the broker could not do for a room is due again.
    pub(in crate::shard) fn on_retry_alarm(&mut self, room: &RoomKey) {
        self.cancel_retry(room);
        if let Some(followed) = self.broker.rooms.get_mut(room) {
            let doublings = &mut followed.retry.doublings;
            *doublings = (*doublings + 1).min(DOUBLINGS_MAX);
        }
        self.on_reopen_alarm(room);
    }

    /// The room is opened again, or followed no more.
    pub(super) fn cancel_retry(&mut self, room: &RoomKey) {
        let followed = self.broker.rooms.get_mut(room);
        if let Some(timer) = followed.and_then(|it| it.retry.timer.take()) {
            self.wheel.cancel(timer);
        }
    }
}
