//! D8 to D11 through the decoder: compressed messages among the others.

use super::peer::{
    BINARY, CONTINUATION, Connection, FIN, LIMITS, PING, RSV1, Seen, TEXT, binary, decode, frame,
    text,
};
use crate::ws::close::Fault;
use crate::ws::decoder::Limits;
use crate::ws::deflate::Compressor;

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(Compressor::new(6).compress(message, &mut out));
    out
}

/// Stored blocks, so that a message of any bytes has a compressed form: longer than itself.
fn stored(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in message.chunks(16_383) {
        let len = u16::try_from(block.len()).unwrap();
        out.push(0x00);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0x00);
    out
}

#[test]
fn the_examples_of_rfc_7692_in_frames() {
    // §7.2.3.1, in one frame and in two.
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let bytes = [
        frame(FIN | RSV1 | TEXT, &hello),
        frame(RSV1 | TEXT, &hello[..3]),
        frame(FIN | PING, b"between"),
        frame(FIN | CONTINUATION, &hello[3..]),
        frame(FIN | RSV1 | BINARY, &[0x00]),
        frame(FIN | TEXT, b"plain"),
    ]
    .concat();
    let outcome = decode(true, LIMITS, [&bytes[..]]);
    let between = Seen::Ping(b"between".to_vec());
    let expected = [text("Hello"), between, text("Hello"), binary(b""), text("plain")];
    assert_eq!((outcome.seen.as_slice(), outcome.fault), (&expected[..], None));
}

#[test]
fn a_message_within_the_limit_does_not_fail_for_being_longer_compressed() {
    let longest: Vec<u8> = (0..65_536u32).map(|index| (index * 7) as u8).collect();
    let payload = stored(&longest);
    assert!(payload.len() > longest.len());
    let outcome = decode(true, LIMITS, [&frame(FIN | RSV1 | BINARY, &payload)[..]]);
    assert_eq!(outcome.seen, [binary(&longest)]);

    let halves = payload.split_at(payload.len() / 2);
    let bytes = [frame(RSV1 | BINARY, halves.0), frame(FIN | CONTINUATION, halves.1)].concat();
    assert_eq!(decode(true, LIMITS, bytes.chunks(1_000)).seen, [binary(&longest)]);
}

#[test]
fn the_limit_is_the_inflated_length_in_one_frame_and_over_fragments() {
    let limits = Limits { message_bytes: 1_000, ..LIMITS };
    for (len, fault) in [(1_000, None), (1_001, Some(Fault::MessageTooLong))] {
        let payload = deflated(&vec![b'a'; len]);
        let (head, tail) = payload.split_at(3);
        let streams = [
            frame(FIN | RSV1 | TEXT, &payload),
            [frame(RSV1 | TEXT, head), frame(FIN | CONTINUATION, tail)].concat(),
        ];
        for bytes in streams {
            let outcome = decode(true, limits, [&bytes[..]]);
            assert_eq!((outcome.seen.len(), outcome.fault), (usize::from(fault.is_none()), fault));
        }
    }
}

#[test]
fn a_bomb_over_fragments_costs_no_more_than_its_bytes() {
    let bomb = deflated(&vec![0; 30_000_000]);
    assert!(bomb.len() < LIMITS.frame_bytes);
    let mut connection = Connection::new(true, LIMITS);
    connection.read(&frame(RSV1 | BINARY, &bomb[..100]));
    connection.read(&frame(CONTINUATION, &bomb[100..20_000]));
    assert!(connection.decoder.held_bytes() < 65_536, "nothing is inflated before its end");
    connection.read(&frame(FIN | CONTINUATION, &bomb[20_000..]));
    assert_eq!(connection.fault, Some(Fault::MessageTooLong));
    assert_eq!(connection.decoder.held_bytes(), 0);
}

#[test]
fn compressed_text_is_utf8_too() {
    let bad = b"\xED\xA0\x80".repeat(40);
    let good = "€".repeat(40);
    let frames = |first: u8, message: &[u8]| frame(FIN | RSV1 | first, &deflated(message));
    let outcome = decode(true, LIMITS, [&frames(TEXT, &bad)[..]]);
    assert_eq!(outcome.fault, Some(Fault::InvalidText));
    let outcome = decode(true, LIMITS, [&frames(BINARY, &bad)[..]]);
    assert_eq!(outcome.seen, [binary(&bad)]);
    let outcome = decode(true, LIMITS, [&frames(TEXT, good.as_bytes())[..]]);
    assert_eq!(outcome.seen, [text(&good)]);
}

#[test]
fn a_client_that_keeps_its_context_is_closed_and_no_other_is_harmed() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let again = [0xF2, 0x00, 0x11, 0x00, 0x00];
    let mut offender = Connection::new(true, LIMITS);
    offender.read(&frame(FIN | RSV1 | TEXT, &hello));
    offender.read(&frame(FIN | RSV1 | TEXT, &again));
    assert_eq!(offender.seen, [text("Hello")]);
    assert_eq!(offender.fault, Some(Fault::InvalidDeflate));

    let mut other = Connection::new(true, LIMITS);
    std::mem::swap(&mut other.scratch, &mut offender.scratch);
    other.read(&frame(FIN | RSV1 | TEXT, &hello));
    assert_eq!(other.seen, [text("Hello")]);
}
