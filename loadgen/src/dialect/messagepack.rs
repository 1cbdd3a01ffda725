//! Ringroom's protocol in MessagePack.

use serde_json::Value;

use super::notice::Fields;
use super::ringroom::Encoding;
use crate::frame::opcode;

pub(super) struct MessagePack;

impl Encoding for MessagePack {
    const SUBPROTOCOL: &'static str = "ringroom.v1.msgpack";
    const OPCODE: u8 = opcode::BINARY;
    const PAGE: &'static [u8] = b"\xa8messages";
    const OFFSET: &'static [u8] = b"\xa6offset";
    const REDELIVERED: &'static [u8] = b"\xabredelivered\xc3";

    fn encode(value: &Value) -> Vec<u8> {
        rmp_serde::to_vec(value).expect("strings and integers always encode")
    }

    fn decode(bytes: &[u8]) -> Option<Fields> {
        rmp_serde::from_slice(bytes).ok()
    }

    /// By the length before it.
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

    fn number(mut bytes: &[u8]) -> Option<u64> {
        rmp::decode::read_int(&mut bytes).ok()
    }

    /// Behind the byte that counts the fields.
    fn is_message(bytes: &[u8]) -> bool {
        bytes.get(1..).is_some_and(|fields| fields.starts_with(b"\xa4type\xa7message"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ringroom::Ringroom;
    use super::super::{Arrived, Dialect, Event, Notice};
    use super::*;
    use crate::payload::Payload;

    fn messagepack() -> Ringroom<MessagePack> {
        Ringroom::new()
    }

    #[test]
    fn messages_of_every_length_form() {
        for len in [30, 31, 32, 255, 256, 60_000] {
            let payload = Payload::new(1, len).blank();
            let data = String::from_utf8_lossy(&payload).into_owned();
            let value = json!({ "type": "message", "offset": 70_000, "data": data });
            let bytes = rmp_serde::to_vec(&value).expect("encodes");
            let event = messagepack().read(opcode::BINARY, &bytes);
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
        assert_eq!(messagepack().read(opcode::BINARY, &bytes), Event::Notice(joined));
        assert_eq!(messagepack().read(opcode::BINARY, b"\xc1"), Event::Malformed);
    }
}
