//! The same bytes through tungstenite: the same events, and a fault where it has one.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::peer::{Outcome, Seen, decode, frame};
use crate::ws::MessageKind;
use crate::ws::close::Fault;
use crate::ws::decoder::Limits;

const LIMITS: Limits = Limits { message_bytes: 600, frame_bytes: 400, fragments: u32::MAX };

/// A socket that has these bytes to read and swallows what is written.
struct Stream<'a>(&'a [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of `bytes`, and whether it found fault with them.
fn theirs(bytes: &[u8]) -> (Vec<Seen>, bool) {
    let config = WebSocketConfig::default()
        .read_buffer_size(1_024)
        .max_message_size(Some(LIMITS.message_bytes))
        .max_frame_size(Some(LIMITS.frame_bytes));
    let mut socket = WebSocket::from_raw_socket(Stream(bytes), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        let (kind, payload) = match socket.read() {
            Ok(Message::Text(text)) => (MessageKind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => (MessageKind::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => {
                seen.push(Seen::Ping(payload.to_vec()));
                continue;
            }
            Ok(Message::Pong(payload)) => {
                seen.push(Seen::Pong(payload.to_vec()));
                continue;
            }
            Ok(Message::Close(Some(close))) if close.reason == "Protocol violation" => {
                return (seen, true);
            }
            Ok(Message::Close(close)) => {
                let (code, reason) = close.map_or((None, String::new()), |close| {
                    (Some(close.code.into()), close.reason.as_str().to_owned())
                });
                seen.push(Seen::Close(code, reason));
                return (seen, false);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (seen, false),
            Err(_) => return (seen, true),
        };
        seen.push(Seen::Message(kind, payload));
    }
}

/// Whether our fault is one where it knows none, or none yet.
fn is_stricter(fault: Fault) -> bool {
    matches!(
        fault,
        // It does not look.
        Fault::PaddedLength | Fault::NegativeLength
        // It waits for the rest of the frame.
        | Fault::InvalidText | Fault::Unmasked | Fault::ReservedBit | Fault::ReservedOpcode
        | Fault::UnexpectedCompression | Fault::FragmentedControl | Fault::LongControl
        | Fault::UnexpectedContinuation | Fault::InterruptedMessage | Fault::MessageTooLong
    )
}

/// Bytes that may end within a frame: we may find fault with its beginning, it does not.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = decode(false, LIMITS, [bytes]);
    let (their_seen, is_faulty) = theirs(bytes);
    match ours.fault {
        Some(fault) if !is_faulty => {
            prop_assert!(is_stricter(fault), "{fault:?} {bytes:02X?}");
            prop_assert!(their_seen.starts_with(&ours.seen), "{bytes:02X?}");
            Ok(())
        }
        _ => agree_exactly(bytes),
    }
}

/// Whole frames with minimal lengths: the same events, and a fault where it has one.
fn agree_exactly(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Outcome { seen, fault } = decode(false, LIMITS, [bytes]);
    // 1014 is in the registry; it does not know it.
    if matches!(seen.last(), Some(Seen::Close(Some(1014), _))) {
        return Ok(());
    }
    let (their_seen, is_faulty) = theirs(bytes);
    prop_assert_eq!(fault.is_some(), is_faulty, "{:?} {:02X?}", fault, bytes);
    prop_assert_eq!(seen, their_seen);
    Ok(())
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,12}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(b'a'..=b'z', 100..420),
        1 => (1_000..1_016u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        12 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    (first, any_payload()).prop_map(|(first, payload)| frame(first, &payload))
}

/// A message in fragments, with control frames between them, as a good client sends it.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::collection::vec(any::<u8>(), 0..30), prop::option::of(0..100usize));
    (any::<bool>(), "\\PC{0,30}", prop::collection::vec(piece, 0..5)).prop_map(
        |(is_text, text, pieces)| {
            let opcode = if is_text { 0x01 } else { 0x02 };
            let mut bytes = frame(opcode, text.as_bytes());
            for (payload, ping) in pieces {
                let payload = if is_text { b"more".to_vec() } else { payload };
                bytes.extend(frame(0x00, &payload));
                if let Some(len) = ping {
                    bytes.extend(frame(0x89, &vec![b'p'; len]));
                }
            }
            bytes.extend(frame(0x80, "ü".as_bytes()));
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn random_frames(frames in prop::collection::vec(any_frame(), 1..10)) {
        agree_exactly(&frames.concat())?;
    }

    #[test]
    fn messages_in_fragments(messages in prop::collection::vec(any_message(), 1..5)) {
        agree_exactly(&messages.concat())?;
    }

    #[test]
    fn good_streams_with_a_few_bits_flipped(
        messages in prop::collection::vec(any_message(), 1..5),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = messages.concat();
        for (position, bit) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        agree(&bytes)?;
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        agree(&bytes)?;
    }
}
