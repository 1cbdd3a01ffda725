//! `/echo`: every message goes back as it came, deflated where that was agreed and pays.

use crate::id::ConnectionKey;
use crate::protocol::CloseReason;
use crate::ws::MessageKind;
use crate::ws::frame::Opcode;

use super::Shard;

impl Shard {
    /// Sends a message back.
    pub(super) fn echo(&mut self, key: ConnectionKey, kind: MessageKind, payload: &[u8]) {
        if self.config.dev.faults {
            self.act_up(key, payload);
        }
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
        let press = &mut self.press;
        self.outbound.push(key, |out| press.write(out, opcode, payload, deflate_up_to));
    }
}
