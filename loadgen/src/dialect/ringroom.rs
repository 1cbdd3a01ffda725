//! Ringroom's protocol, whatever its encoding. A message of ours is found by its marker, without a
//! parser.

use std::cell::Cell;
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
    /// Comes before a message's number in its room.
    const OFFSET: &'static [u8];
    /// Stands in a message that was sent before.
    const REDELIVERED: &'static [u8];

    fn encode(value: &Value) -> Vec<u8>;

    fn decode(bytes: &[u8]) -> Option<Fields>;

    /// The string whose content begins at `start`.
    fn string(bytes: &[u8], start: usize) -> Option<&[u8]>;

    /// The number at the front of `bytes`.
    fn number(bytes: &[u8]) -> Option<u64>;

    /// Whether a message begins like this; if so, it is no page.
    fn is_message(bytes: &[u8]) -> bool;
}

pub(super) struct Ringroom<E> {
    marker: Habit,
    offset: Habit,
    encoding: PhantomData<E>,
}

/// A search for what mostly stands where it stood last time: messages of a room are alike. A searcher
/// is made once; to make one costs more than to search a short message.
struct Habit {
    finder: memmem::Finder<'static>,
    place: Cell<usize>,
}

impl Habit {
    fn new(needle: &'static [u8]) -> Self {
        Self { finder: memmem::Finder::new(needle), place: Cell::new(0) }
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let place = self.place.get();
        if bytes.get(place..).is_some_and(|rest| rest.starts_with(self.finder.needle())) {
            return Some(place);
        }
        let place = self.finder.find(bytes)?;
        self.place.set(place);
        Some(place)
    }
}

impl<E: Encoding> Ringroom<E> {
    pub(super) fn new() -> Self {
        let (marker, offset) = (Habit::new(MARKER), Habit::new(E::OFFSET));
        Self { marker, offset, encoding: PhantomData }
    }

    fn offset(&self, bytes: &[u8]) -> Option<u64> {
        let start = self.offset.find(bytes)? + E::OFFSET.len();
        E::number(&bytes[start..])
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

    fn publish(&self, room: &str, payload: &[u8]) -> Message {
        let payload = String::from_utf8_lossy(payload);
        Self::message(&json!({ "type": "publish", "room": room, "data": payload }))
    }

    fn echo(&self, payload: &[u8]) -> Option<Message> {
        let payload = String::from_utf8_lossy(payload);
        Some(Self::message(&json!({ "type": "ping", "data": payload })))
    }

    fn command(&self, command: Command<'_>) -> Option<Message> {
        Some(Self::message(&as_value(command)))
    }

    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a> {
        if opcode != E::OPCODE {
            return Event::Malformed;
        }
        if let Some(start) = self.marker.find(bytes) {
            if !E::is_message(bytes) && memmem::find(&bytes[..start], E::PAGE).is_some() {
                return Event::Notice(Notice::Done);
            }
            let Some(payload) = E::string(bytes, start) else { return Event::Malformed };
            return Event::Message(Arrived { payload, offset: self.offset(bytes), whole: bytes });
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
