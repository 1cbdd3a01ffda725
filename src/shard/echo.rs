//! `/echo`: every message goes back as it came, deflated where that was agreed and pays.

use crate::id::ConnectionKey;
use crate::protocol::CloseReason;
use crate::ws::MessageKind;
use crate::ws::frame::{self, Opcode};

use super::Shard;

impl Shard {
    /// Sends a message back.
    pub(super) fn echo(&mut self, key: ConnectionKey, kind: MessageKind, payload: &[u8]) {
        assert!(!(self.config.dev.faults && payload == b"panic"), "a panic on request");
        let Some(slot) = self.outbound.slot_mut(key) else { return };
        let waiting = slot.outbox.pending_bytes();
        let deflate_up_to = slot.connection.as_ref().map_or(0, |c| c.deflate_up_to as usize);
        if waiting > self.config.limits.outbox_bytes as usize {
            self.close(key, CloseReason::SlowConsumer);
            return;
        }
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let worth = payload.len() >= self.config.deflate.min_bytes as usize;
        let mut deflated = std::mem::take(&mut self.deflated);
        deflated.clear();
        if worth
            && payload.len() <= deflate_up_to
            && self.compressor.compress(payload, &mut deflated)
        {
            self.outbound.push(key, |out| frame::write(out, opcode, true, &deflated));
        } else {
            self.outbound.push(key, |out| frame::write(out, opcode, false, payload));
        }
        self.deflated = deflated;
    }
}
