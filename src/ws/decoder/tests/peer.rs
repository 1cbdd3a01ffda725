//! The other side: makes frames as a client does, and notes what the decoder made of them.

use crate::ws::MessageKind;
use crate::ws::close::Fault;
use crate::ws::decoder::{Chunk, Decoder, Event, Limits, Scratch};

pub(super) const LIMITS: Limits =
    Limits { message_bytes: 65_536, frame_bytes: 65_536, fragments: 1_024 };

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// A header with this first byte and a minimal length.
pub(super) fn header(first: u8, payload_len: u64, mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload_len {
        0..=125 => bytes.push(0x80 | payload_len as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&payload_len.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes
}

/// A masked frame.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5A, 0x00, 0xC3, 0x7F];
    let mut bytes = header(first, payload.len() as u64, mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// An event that owns what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind, payload, .. } => Self::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

pub(super) fn text(text: &str) -> Seen {
    Seen::Message(MessageKind::Text, text.as_bytes().to_vec())
}

pub(super) fn binary(bytes: &[u8]) -> Seen {
    Seen::Message(MessageKind::Binary, bytes.to_vec())
}

/// A connection, and all that came out of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) decoder: Decoder,
    pub(super) scratch: Scratch,
    limits: Limits,
    pub(super) seen: Vec<Seen>,
    pub(super) fault: Option<Fault>,
}

impl Connection {
    pub(super) fn new(deflate: bool, limits: Limits) -> Self {
        Self {
            decoder: Decoder::new(deflate),
            scratch: Scratch::new(),
            limits,
            seen: Vec::new(),
            fault: None,
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = Chunk::new(&mut bytes);
        loop {
            match self.decoder.next(&mut input, &self.limits, &mut self.scratch) {
                Ok(Some(event)) => self.seen.push(event.into()),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(self.fault.replace(fault), None, "a fault is told once");
                }
            }
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        Outcome { seen: self.seen, fault: self.fault }
    }
}

/// All that came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) seen: Vec<Seen>,
    pub(super) fault: Option<Fault>,
}

/// Decodes bytes that are read in these pieces.
pub(super) fn decode<'a>(
    deflate: bool,
    limits: Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut connection = Connection::new(deflate, limits);
    for piece in pieces {
        connection.read(piece);
    }
    connection.outcome()
}
