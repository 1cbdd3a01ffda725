//! socket.io's events over engine.io 4, as far as a measurement needs them: the namespace is joined
//! by one packet, and a message is an event of one string. Its server is chosen by the URL,
//! `/socket.io/?EIO=4&transport=websocket`.

use memchr::memmem;

use super::json::quoted;
use super::{Arrived, Command, Dialect, Event, Message, Notice};
use crate::frame::opcode;
use crate::payload::MARKER;

/// engine.io's packet of a handshake, and socket.io's of a namespace joined.
const OPEN: &[u8] = b"0{";
const CONNECTED: &[u8] = b"40";
const REFUSED: &[u8] = b"44";
const EVENT: &[u8] = br#"42["message",""#;
const EVENT_END: &[u8] = br#""]"#;

pub(super) struct SocketIo;

impl Dialect for SocketIo {
    fn greets(&self) -> bool {
        true
    }

    fn publish(&self, _room: &str, payload: &[u8]) -> Message {
        let bytes = [EVENT, payload, EVENT_END].concat();
        Message { opcode: opcode::TEXT, bytes, payload_at: EVENT.len() }
    }

    /// A connection is heard only in a namespace that it has joined.
    fn echo(&self, _payload: &[u8]) -> Option<Message> {
        None
    }

    fn command(&self, command: Command<'_>) -> Option<Message> {
        let joins = matches!(command, Command::Join { since: None, .. });
        joins.then(|| Message { opcode: opcode::TEXT, bytes: CONNECTED.to_vec(), payload_at: 0 })
    }

    fn read<'a>(&self, opcode: u8, bytes: &'a [u8]) -> Event<'a> {
        if opcode != opcode::TEXT {
            return Event::Malformed;
        }
        if let Some(start) = memmem::find(bytes, MARKER) {
            let Some(payload) = quoted(bytes, start) else { return Event::Malformed };
            return Event::Message(Arrived { payload, offset: None, whole: bytes });
        }
        if bytes.starts_with(OPEN) {
            Event::Notice(Notice::Welcome { session: None, recovered: false, offset: None })
        } else if bytes.starts_with(CONNECTED) {
            Event::Notice(Notice::Done)
        } else if bytes.starts_with(REFUSED) {
            Event::Notice(Notice::Failed { code: "connect_error".to_owned() })
        } else if bytes.starts_with(EVENT) {
            // An event that should have carried our marker.
            Event::Malformed
        } else {
            Event::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn an_event_comes_back_as_it_was_sent() {
        let payload = Payload::new(1, 40).blank();
        let sent = SocketIo.publish("any", &payload);
        assert_eq!(&sent.bytes[sent.payload_at..][..40], payload);
        let event = SocketIo.read(opcode::TEXT, &sent.bytes);
        let arrived = Arrived { payload: &payload, offset: None, whole: &sent.bytes };
        assert_eq!(event, Event::Message(arrived));
    }

    #[test]
    fn packets_of_the_server() {
        let welcome = Notice::Welcome { session: None, recovered: false, offset: None };
        let refused = Notice::Failed { code: "connect_error".to_owned() };
        let table: [(&[u8], Event<'_>); 5] = [
            (br#"0{"sid":"a","upgrades":[]}"#, Event::Notice(welcome)),
            (br#"40{"sid":"b"}"#, Event::Notice(Notice::Done)),
            (br#"44{"message":"no"}"#, Event::Notice(refused)),
            (b"2", Event::Other),
            (br#"42["message","damaged"]"#, Event::Malformed),
        ];
        for (bytes, expected) in table {
            assert_eq!(SocketIo.read(opcode::TEXT, bytes), expected);
        }
        assert_eq!(SocketIo.read(opcode::BINARY, b"40"), Event::Malformed);
        assert!(SocketIo.command(Command::Leave { room: "a" }).is_none());
    }
}
