//! Ringroom's protocol, whatever its encoding. A message of ours is found by its marker, without a
//! parser.

use std::marker::PhantomData;

use memchr::memmem;
use serde_json::{Value, json};

use super::notice::Fields;
use super::{Arrived, Command, Dialect, Event, Message, Notice};
use crate::payload::MARKER;

/// How the protocol's objects are written, and how the few things that are looked for without a
/// parser are found in them.
pub(super) trait Encoding {
    const SUBPROTOCOL: &'static str;
    const OPCODE: u8;
    /// Comes before the messages of a page of history, and in no message.
    const PAGE: &'static [u8];
    /// Stands in a message that was sent before.
    const REDELIVERED: &'static [u8];

    fn encode(value: &Value) -> Vec<u8>;

    fn decode(bytes: &[u8]) -> Option<Fields>;

    /// The string whose content begins at `start`.
    fn string(bytes: &[u8], start: usize) -> Option<&[u8]>;

    fn offset(bytes: &[u8]) -> Option<u64>;
}

pub(super) struct Ringroom<E>(PhantomData<E>);

impl<E: Encoding> Ringroom<E> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }

    fn message(value: &Value) -> Message {
        let bytes = E::encode(value);
        let payload_at = memmem::find(&bytes, MARKER).unwrap_or(0);
        Message { opcode: E::OPCODE, bytes, payload_at }
    }
}

impl<E: Encoding> Dialect for Ringroom<E> {
    fn subprotocol(&self) -> Option<&'static str> {
        Some(E::SUBPROTOCOL)
    }

    fn greets(&self) -> bool {
        true
    }

    fn joins(&self) -> bool {
        true
    }

    fn publish(&self, room: &str, payload: &[u8]) -> Message {
        let payload = String::from_utf8_lossy(payload);
        Self::message(&json!({ "type": "publish", "room": room, "data": payload }))
    }

    fn echo(&self, payload: &[u8]) -> Message {
        let payload = String::from_utf8_lossy(payload);
        Self::message(&json!({ "type": "ping", "data": payload }))
    }

    fn command(&self, command: Command<'_>) -> Option<Message> {
        Some(Self::message(&as_value(command)))
    }

    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a> {
        if opcode != E::OPCODE {
            return Event::Malformed;
        }
        if let Some(start) = memmem::find(bytes, MARKER) {
            if memmem::find(&bytes[..start], E::PAGE).is_some() {
                return Event::Notice(Notice::Done);
            }
            let Some(payload) = E::string(bytes, start) else { return Event::Malformed };
            return Event::Message(Arrived { payload, offset: E::offset(bytes), whole: bytes });
        }
        E::decode(bytes).map_or(Event::Malformed, Fields::into_event)
    }

    fn is_redelivery(&self, whole: &[u8]) -> bool {
        memmem::find(whole, E::REDELIVERED).is_some()
    }
}

/// A command as a value. Every command here asks for an answer.
fn as_value(command: Command<'_>) -> Value {
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
