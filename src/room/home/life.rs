//! Lives of a room: where its sequence is not decided here, it may begin anew or leave some out.

use std::sync::Arc;

use crate::clock::Moment;
use crate::room::history::History;

use super::HomeRoom;

impl HomeRoom {
    /// Nothing up to `offset` is here: what comes next is the one behind it.
    pub fn skip_to(&mut self, offset: u64) {
        self.history = History::new(self.config.history, offset);
        for attachment in self.attached.values_mut() {
            attachment.told = attachment.told.max(offset);
        }
    }

    /// Another life begins, of which nothing up to `offset` is here.
    pub fn begin_life(&mut self, epoch: Arc<str>, offset: u64, now: Moment) {
        self.kept.begin_life(&self.epoch);
        self.epoch = epoch;
        // Positions of the life before have nothing to come back to.
        self.keys = None;
        self.cursors = None;
        for attachment in self.attached.values_mut() {
            (attachment.told, attachment.looked) = (0, 0);
        }
        self.skip_to(offset);
        self.adopt_mode(now);
    }
}
