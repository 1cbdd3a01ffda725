//! Ringroom's protocol in JSON. A message of ours is found by its marker, without a parser.

use memchr::{memchr, memmem};
use serde_json::{Value, json};

use super::notice::Fields;
use super::{Arrived, Command, Dialect, Event, Message, Notice};
use crate::frame::opcode;
use crate::payload::{MARKER, STAMP_LEN};

pub(super) struct Json;

impl Dialect for Json {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("ringroom.v1.json")
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
        if opcode != opcode::TEXT {
            return Event::Malformed;
        }
        if let Some(start) = memmem::find(bytes, MARKER) {
            if memmem::find(&bytes[..start], b"\"messages\":[").is_some() {
                return Event::Notice(Notice::Done);
            }
            let Some(payload) = quoted(bytes, start) else { return Event::Malformed };
            return Event::Message(Arrived { payload, offset: offset(bytes), whole: bytes });
        }
        match serde_json::from_slice::<Fields>(bytes) {
            Ok(fields) => fields.into_event(),
            Err(_) => Event::Malformed,
        }
    }

    fn is_redelivery(&self, whole: &[u8]) -> bool {
        memmem::find(whole, b"\"redelivered\":true").is_some()
    }
}

/// A command as a value, the same in both encodings. Every command here asks for an answer.
pub(super) fn as_value(command: Command<'_>) -> Value {
    match command {
        Command::Join { room, since: None } => json!({ "type": "join", "id": 1, "room": room }),
        Command::Join { room, since: Some((epoch, offset)) } => {
            let since = json!({ "epoch": epoch, "offset": offset });
            json!({ "type": "join", "id": 1, "room": room, "since": since })
        }
        Command::Leave { room } => json!({ "type": "leave", "id": 2, "room": room }),
        Command::Presence { room } => json!({ "type": "presence", "id": 3, "room": room }),
        Command::History { room, limit } => {
            json!({ "type": "history", "id": 4, "room": room, "limit": limit })
        }
    }
}

fn message(value: &Value) -> Message {
    let bytes = value.to_string().into_bytes();
    let payload_at = memmem::find(&bytes, MARKER).unwrap_or(0);
    Message { opcode: opcode::TEXT, bytes, payload_at }
}

/// The string whose content begins at `start`. Payloads need no escapes, so a quote ends it.
fn quoted(bytes: &[u8], start: usize) -> Option<&[u8]> {
    if start == 0 || bytes[start - 1] != b'"' {
        return None;
    }
    let searched = bytes.get(start + STAMP_LEN..)?;
    let end = start + STAMP_LEN + memchr(b'"', searched)?;
    Some(&bytes[start..end])
}

fn offset(bytes: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"offset\":";
    let start = memmem::find(bytes, KEY)? + KEY.len();
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_u64, |value, digit| value.wrapping_mul(10) + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn messages_are_found_wherever_their_fields_stand() {
        let payload = Payload::new(1, 50).blank();
        let data = String::from_utf8(payload.clone()).unwrap();
        for text in [
            format!(r#"{{"type":"message","room":"a","epoch":"e","offset":42,"data":"{data}"}}"#),
            format!(r#"{{"data":"{data}","offset":42,"type":"message"}}"#),
        ] {
            let event = Json.read(opcode::TEXT, text.as_bytes());
            let expected = Event::Message(Arrived {
                payload: &payload,
                offset: Some(42),
                whole: text.as_bytes(),
            });
            assert_eq!(event, expected);
        }
    }

    #[test]
    fn a_page_of_history_is_an_answer_and_no_message() {
        let data = String::from_utf8(Payload::new(1, 50).blank()).unwrap();
        let page = format!(r#"{{"type":"ok","id":4,"messages":[{{"offset":1,"data":"{data}"}}]}}"#);
        let event = Json.read(opcode::TEXT, page.as_bytes());
        assert_eq!(event, Event::Notice(Notice::Done));
    }

    #[test]
    fn notices() {
        let table = [
            (
                r#"{"type":"welcome","protocol":1,"session":"s","recovered":true,"rooms":[]}"#,
                Notice::Welcome { session: Some("s".into()), recovered: true },
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
            assert_eq!(Json.read(opcode::TEXT, text.as_bytes()), Event::Notice(notice), "{text}");
        }
        let foreign = br#"{"type":"message","from":{"user":"u"},"data":1}"#;
        assert_eq!(Json.read(opcode::TEXT, foreign), Event::Other);
        assert_eq!(Json.read(opcode::TEXT, b"nonsense"), Event::Malformed);
        assert_eq!(Json.read(opcode::BINARY, b"{}"), Event::Malformed);
    }

    #[test]
    fn a_publication_names_its_room_and_finds_its_payload() {
        let payload = Payload::new(1, 40).blank();
        let message = Json.publish("a \"b\"", &payload);
        assert_eq!(&message.bytes[message.payload_at..][..40], payload);
        let value: Value = serde_json::from_slice(&message.bytes).unwrap();
        assert_eq!(value["room"], "a \"b\"");
    }
}
