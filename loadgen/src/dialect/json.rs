//! Ringroom's protocol in JSON.

use memchr::memchr;
use serde_json::Value;

use super::notice::Fields;
use super::ringroom::Encoding;
use crate::frame::opcode;
use crate::payload::STAMP_LEN;

pub(super) struct Json;

impl Encoding for Json {
    const SUBPROTOCOL: &'static str = "ringroom.v1.json";
    const OPCODE: u8 = opcode::TEXT;
    const PAGE: &'static [u8] = b"\"messages\":[";
    const OFFSET: &'static [u8] = b"\"offset\":";
    const REDELIVERED: &'static [u8] = b"\"redelivered\":true";

    fn encode(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Fields> {
        serde_json::from_slice(bytes).ok()
    }

    fn string(bytes: &[u8], start: usize) -> Option<&[u8]> {
        quoted(bytes, start)
    }

    fn number(bytes: &[u8]) -> Option<u64> {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0_u64, |value, digit| value.wrapping_mul(10) + u64::from(digit - b'0')))
    }

    fn is_message(bytes: &[u8]) -> bool {
        bytes.starts_with(br#"{"type":"message","#)
    }
}

/// Payloads need no escapes, so a quote ends them.
pub(super) fn quoted(bytes: &[u8], start: usize) -> Option<&[u8]> {
    if start == 0 || bytes[start - 1] != b'"' {
        return None;
    }
    let searched = bytes.get(start + STAMP_LEN..)?;
    let end = start + STAMP_LEN + memchr(b'"', searched)?;
    Some(&bytes[start..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::super::ringroom::Ringroom;
    use super::super::{Arrived, Dialect, Event, Notice};
    use super::*;
    use crate::payload::Payload;

    fn json() -> Ringroom<Json> {
        Ringroom::new()
    }

    #[test]
    fn messages_are_found_wherever_their_fields_stand() {
        let payload = Payload::new(1, 50).blank();
        let data = String::from_utf8(payload.clone()).unwrap();
        for text in [
            format!(r#"{{"type":"message","room":"a","epoch":"e","offset":42,"data":"{data}"}}"#),
            format!(r#"{{"data":"{data}","offset":42,"type":"message"}}"#),
        ] {
            let event = json().read(opcode::TEXT, text.as_bytes());
            let expected = Event::Message(Arrived {
                payload: &payload,
                offset: Some(42),
                whole: text.as_bytes(),
            });
            assert_eq!(event, expected);
        }
    }

    #[test]
    fn a_message_that_is_unlike_the_last_is_found_as_well() {
        let dialect = json();
        let payload = Payload::new(1, 50).blank();
        let data = String::from_utf8(payload.clone()).unwrap();
        for (room, offset) in [("a", 9), ("a", 10), ("a longer name", 11), ("a", 12)] {
            let text = format!(
                r#"{{"type":"message","room":"{room}","offset":{offset},"data":"{data}"}}"#
            );
            let arrived =
                Arrived { payload: &payload, offset: Some(offset), whole: text.as_bytes() };
            assert_eq!(dialect.read(opcode::TEXT, text.as_bytes()), Event::Message(arrived));
        }
    }

    #[test]
    fn a_page_of_history_is_an_answer_and_no_message() {
        let data = String::from_utf8(Payload::new(1, 50).blank()).unwrap();
        let page = format!(r#"{{"type":"ok","id":4,"messages":[{{"offset":1,"data":"{data}"}}]}}"#);
        let event = json().read(opcode::TEXT, page.as_bytes());
        assert_eq!(event, Event::Notice(Notice::Done));
    }

    #[test]
    fn notices() {
        let table = [
            (
                r#"{"type":"welcome","protocol":1,"session":"s","recovered":true,"rooms":[]}"#,
                Notice::Welcome { session: Some("s".into()), recovered: true, offset: None },
            ),
            (
                r#"{"type":"welcome","session":"s","recovered":true,"rooms":[{"recovered":true,"offset":7},{"recovered":false,"offset":3}]}"#,
                Notice::Welcome { session: Some("s".into()), recovered: false, offset: Some(7) },
            ),
            (
                r#"{"type":"ok","id":1,"room":"r","epoch":"e","offset":3,"recovered":false}"#,
                Notice::Joined { epoch: "e".into(), offset: 3, recovered: false },
            ),
            (r#"{"type":"ok","id":2,"room":"r"}"#, Notice::Done),
            (
                r#"{"type":"error","code":"rate_limited","message":"no"}"#,
                Notice::Failed { code: "rate_limited".into() },
            ),
            (
                r#"{"type":"gap","room":"r","epoch":"e","from":4,"to":6,"reason":"overload"}"#,
                Notice::Gap { count: 3 },
            ),
            (
                r#"{"type":"disconnect","reason":"drain","reconnect":true}"#,
                Notice::Disconnect { reason: "drain".into() },
            ),
        ];
        for (text, notice) in table {
            assert_eq!(json().read(opcode::TEXT, text.as_bytes()), Event::Notice(notice), "{text}");
        }
        let foreign = br#"{"type":"message","from":{"user":"u"},"data":1}"#;
        assert_eq!(json().read(opcode::TEXT, foreign), Event::Other);
        assert_eq!(json().read(opcode::TEXT, b"nonsense"), Event::Malformed);
        assert_eq!(json().read(opcode::BINARY, b"{}"), Event::Malformed);
    }

    #[test]
    fn a_publication_names_its_room_and_finds_its_payload() {
        let payload = Payload::new(1, 40).blank();
        let message = json().publish("a \"b\"", &payload);
        assert_eq!(&message.bytes[message.payload_at..][..40], payload);
        let value: Value = serde_json::from_slice(&message.bytes).unwrap();
        assert_eq!(value["room"], "a \"b\"");
    }
}
