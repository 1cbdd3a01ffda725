//! Ringroom's protocol in MessagePack.

use memchr::memmem;
use serde_json::{Value, json};

use super::notice::Fields;
use super::ringroom::as_value;
use super::{Arrived, Command, Dialect, Event, Message, Notice};
use crate::frame::opcode;
use crate::payload::MARKER;

pub(super) struct MessagePack;

impl Dialect for MessagePack {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("ringroom.v1.msgpack")
    }

    fn greets(&self) -> bool {
        true
    }

    fn joins(&self) -> bool {
        true
    }

    fn publish(&self, room: &str, payload: &[u8]) -> Message {
        let payload = String::from_utf8_lossy(payload);
        message(&json!({ "type": "publish", "room": room, "data": payload }))
    }

    fn echo(&self, payload: &[u8]) -> Message {
        let payload = String::from_utf8_lossy(payload);
        message(&json!({ "type": "ping", "data": payload }))
    }

    fn command(&self, command: Command<'_>) -> Option<Message> {
        Some(message(&as_value(command)))
    }

    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a> {
        if opcode != opcode::BINARY {
            return Event::Malformed;
        }
        if let Some(start) = memmem::find(bytes, MARKER) {
            if memmem::find(&bytes[..start], b"\xa8messages").is_some() {
                return Event::Notice(Notice::Done);
            }
            let Some(payload) = string(bytes, start) else { return Event::Malformed };
            return Event::Message(Arrived { payload, offset: offset(bytes), whole: bytes });
        }
        match rmp_serde::from_slice::<Fields>(bytes) {
            Ok(fields) => fields.into_event(),
            Err(_) => Event::Malformed,
        }
    }

    fn is_redelivery(&self, whole: &[u8]) -> bool {
        memmem::find(whole, b"\xabredelivered\xc3").is_some()
    }
}

fn message(value: &Value) -> Message {
    let bytes = rmp_serde::to_vec(value).expect("strings and integers always encode");
    let payload_at = memmem::find(&bytes, MARKER).unwrap_or(0);
    Message { opcode: opcode::BINARY, bytes, payload_at }
}

/// The string whose content begins at `start`, by the length before it.
fn string(bytes: &[u8], start: usize) -> Option<&[u8]> {
    let len = match bytes[..start] {
        [.., 0xda, high, low] => usize::from(u16::from_be_bytes([high, low])),
        [.., 0xd9, len] => usize::from(len),
        [.., fixed @ 0xa0..=0xbf] => usize::from(fixed & 0x1f),
        [.., 0, 1, middle, low] => 1 << 16 | usize::from(u16::from_be_bytes([middle, low])),
        _ => return None,
    };
    bytes.get(start..start + len)
}

fn offset(bytes: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\xa6offset";
    let start = memmem::find(bytes, KEY)? + KEY.len();
    rmp::decode::read_int(&mut &bytes[start..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn messages_of_every_length_form() {
        for len in [30, 31, 32, 255, 256, 60_000] {
            let payload = Payload::new(1, len).blank();
            let data = String::from_utf8_lossy(&payload).into_owned();
            let value = json!({ "type": "message", "offset": 70_000, "data": data });
            let bytes = rmp_serde::to_vec(&value).expect("encodes");
            let event = MessagePack.read(opcode::BINARY, &bytes);
            let expected =
                Event::Message(Arrived { payload: &payload, offset: Some(70_000), whole: &bytes });
            assert_eq!(event, expected, "{len}");
        }
    }

    #[test]
    fn notices() {
        let ok = json!({ "type": "ok", "id": 1, "epoch": "e", "offset": 0, "recovered": false });
        let bytes = rmp_serde::to_vec(&ok).expect("encodes");
        let joined = Notice::Joined { epoch: "e".into(), offset: 0, recovered: false };
        assert_eq!(MessagePack.read(opcode::BINARY, &bytes), Event::Notice(joined));
        assert_eq!(MessagePack.read(opcode::BINARY, b"\xc1"), Event::Malformed);
    }
}
