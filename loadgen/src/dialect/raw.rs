//! No dialect at all: the payload is the message. Any echo or broadcast server speaks it.

use super::{Arrived, Command, Dialect, Event, Message};
use crate::frame::opcode;
use crate::payload::MARKER;

pub(super) struct Raw {
    pub(super) binary: bool,
}

impl Dialect for Raw {
    fn publish(&self, _room: &str, payload: &[u8]) -> Message {
        let opcode = if self.binary { opcode::BINARY } else { opcode::TEXT };
        Message { opcode, bytes: payload.to_vec(), payload_at: 0 }
    }

    fn echo(&self, payload: &[u8]) -> Option<Message> {
        Some(self.publish("", payload))
    }

    fn command(&self, _command: Command<'_>) -> Option<Message> {
        None
    }

    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a> {
        let expected = if self.binary { opcode::BINARY } else { opcode::TEXT };
        if opcode != expected {
            return Event::Malformed;
        }
        // A greeting or a notice of an unknown server is no corruption; a damaged stamp is.
        let ours = bytes.starts_with(MARKER)
            || bytes.len() >= crate::payload::STAMP_LEN && !bytes.starts_with(b"{");
        if ours {
            Event::Message(Arrived { payload: bytes, offset: None, whole: bytes })
        } else {
            Event::Other
        }
    }
}
