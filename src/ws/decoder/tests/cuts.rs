//! F14: what comes out does not depend on how the bytes were cut.

use proptest::prelude::*;

use super::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, LIMITS, Outcome, PING, PONG, RSV1, Seen, TEXT, decode, frame,
    header,
};
use crate::ws::close::Fault;
use crate::ws::deflate::Compressor;

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(Compressor::new(6).compress(message, &mut out));
    out
}

/// About two hundred frames of every kind and length form, valid to the end.
fn corpus() -> Vec<Vec<u8>> {
    let long = "grüße ".repeat(60);
    let packed = deflated(long.as_bytes());
    let mut corpus = Vec::new();
    for round in 0..12u8 {
        corpus.extend([
            frame(FIN | TEXT, "κόσμε".as_bytes()),
            frame(FIN | BINARY, &[round; 3]),
            frame(FIN | PING, &[round]),
            frame(TEXT, "gr\u{FC}".as_bytes()),
            frame(CONTINUATION, b"\xE2\x82"),
            frame(FIN | PONG, b"between"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, b"\xAC"),
            frame(FIN | RSV1 | TEXT, &packed),
            frame(RSV1 | BINARY, &packed[..5]),
            frame(FIN | PING, b""),
            frame(CONTINUATION, &packed[5..9]),
            frame(FIN | CONTINUATION, &packed[9..]),
            frame(FIN | TEXT, b""),
            frame(FIN | BINARY, &vec![round; 126 + usize::from(round)]),
            frame(FIN | RSV1 | BINARY, &[0x00]),
        ]);
    }
    corpus.push(frame(FIN | BINARY, &[7; 65_536]));
    corpus.push(frame(FIN | CLOSE, b"\x03\xE8done"));
    corpus
}

#[test]
fn two_hundred_frames_in_one_piece_and_byte_by_byte() {
    let frames = corpus();
    let bytes = frames.concat();
    let whole = decode(true, LIMITS, [&bytes[..]]);
    assert_eq!(whole.fault, None);
    assert_eq!(whole.seen.len(), 12 * 11 + 2);
    assert_eq!(whole.seen.last(), Some(&Seen::Close(Some(1000), "done".to_owned())));
    assert_eq!(decode(true, LIMITS, bytes.chunks(1)), whole);
    assert_eq!(decode(true, LIMITS, frames.iter().map(Vec::as_slice)), whole, "frame by frame");
    for piece_len in [2, 3, 7, 13, 14, 15, 512, 4_096] {
        assert_eq!(decode(true, LIMITS, bytes.chunks(piece_len)), whole, "{piece_len}");
    }
}

#[test]
fn a_round_of_frames_cut_in_two_and_in_three_everywhere() {
    let bytes = corpus()[..16].concat();
    let whole = decode(true, LIMITS, [&bytes[..]]);
    for first in 0..=bytes.len() {
        let (head, rest) = bytes.split_at(first);
        assert_eq!(decode(true, LIMITS, [head, rest]), whole, "{first}");
        // The second cut a header's or a character's length behind the first.
        for second in 0..=rest.len().min(18) {
            let (middle, tail) = rest.split_at(second);
            assert_eq!(decode(true, LIMITS, [head, middle, tail]), whole, "{first} {second}");
        }
    }
}

#[test]
fn faults_cut_everywhere() {
    let mut unmasked = frame(FIN | TEXT, b"a");
    unmasked[1] &= 0x7F;
    let faulty = [
        (unmasked, Fault::Unmasked),
        (frame(FIN | 0x3, b"a"), Fault::ReservedOpcode),
        (frame(FIN | CONTINUATION, b"a"), Fault::UnexpectedContinuation),
        (frame(FIN | RSV1 | TEXT, b"not deflate"), Fault::InvalidDeflate),
        (frame(FIN | TEXT, b"abc\xE2\x82"), Fault::InvalidText),
        (frame(FIN | CLOSE, b"\x03\xED"), Fault::InvalidCloseCode),
        (header(FIN | BINARY, 1 << 40, [0; 4]), Fault::FrameTooLong),
        (header(FIN | BINARY, u64::MAX, [0; 4]), Fault::NegativeLength),
    ];
    for (bytes, fault) in faulty {
        let bytes = [frame(FIN | TEXT, b"before"), bytes, frame(FIN | TEXT, b"after")].concat();
        let whole = decode(true, LIMITS, [&bytes[..]]);
        assert_eq!((whole.seen.len(), whole.fault), (1, Some(fault)));
        for first in 0..=bytes.len() {
            let (head, rest) = bytes.split_at(first);
            for second in 0..=rest.len() {
                let (middle, tail) = rest.split_at(second);
                let cut = decode(true, LIMITS, [head, middle, tail]);
                assert_eq!(cut, whole, "{fault:?} {first} {second}");
            }
        }
    }
}

/// Cuts `bytes` into pieces of these lengths, over and over.
fn cut<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0xC1, 0xC2]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,20}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 120..300),
        1 => Just(deflated(&[b'z'; 100])),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

/// What random frames found once.
#[test]
fn a_character_that_never_ends_byte_by_byte() {
    let bytes = [129, 129, 90, 0, 195, 127, 90, 129, 128, 90, 0, 195, 127];
    assert_eq!(decode(true, LIMITS, bytes.chunks(1)), decode(true, LIMITS, [&bytes[..]]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_frames_in_random_pieces(
        frames in prop::collection::vec(any_frame(), 1..12),
        flip in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0..8u32)),
        lengths in prop::collection::vec(1..40usize, 1..20),
    ) {
        let mut bytes = frames.concat();
        if let Some((position, bit)) = flip {
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
        }
        let whole: Outcome = decode(true, LIMITS, [&bytes[..]]);
        prop_assert_eq!(&decode(true, LIMITS, cut(&bytes, &lengths)), &whole);
        prop_assert_eq!(&decode(true, LIMITS, bytes.chunks(1)), &whole);
    }
}
