//! F1 to F14 and F16, D10: a row each.

use super::peer::{
    BINARY, CLOSE, CONTINUATION, Connection, FIN, LIMITS, Outcome, PING, PONG, RSV1, Seen, TEXT,
    binary, decode, frame, header, text,
};
use crate::ws::close::{Fault, valid_code};
use crate::ws::decoder::Limits;

struct Row {
    rule: &'static str,
    frames: Vec<Vec<u8>>,
    seen: Vec<Seen>,
    fault: Option<Fault>,
}

/// One byte is one frame's first byte: its payload is `a`.
fn faulty(rule: &'static str, first_bytes: &[u8], fault: Fault) -> Row {
    let frames = first_bytes.iter().map(|&first| frame(first, b"a")).collect();
    Row { rule, frames, seen: Vec::new(), fault: Some(fault) }
}

fn fine(rule: &'static str, frames: Vec<Vec<u8>>, seen: Vec<Seen>) -> Row {
    Row { rule, frames, seen, fault: None }
}

fn check(deflate: bool, rows: &[Row]) {
    for Row { rule, frames, seen, fault } in rows {
        let bytes = frames.concat();
        let expected = Outcome { seen: seen.clone(), fault: *fault };
        assert_eq!(decode(deflate, LIMITS, [&bytes[..]]), expected, "{rule}");
        assert_eq!(decode(deflate, LIMITS, bytes.chunks(1)), expected, "{rule}, byte by byte");
    }
}

#[test]
fn faults_of_a_single_header() {
    let unmasked = Row {
        rule: "F1 not masked",
        frames: vec![vec![0x81, 0x01, b'a']],
        seen: Vec::new(),
        fault: Some(Fault::Unmasked),
    };
    let mut rows = vec![
        unmasked,
        faulty("F2 RSV1 not negotiated", &[FIN | RSV1 | TEXT], Fault::UnexpectedCompression),
        faulty("F2 RSV2", &[FIN | 0x20 | TEXT], Fault::ReservedBit),
        faulty("F2 RSV3", &[FIN | 0x10 | BINARY], Fault::ReservedBit),
        faulty("F4 ping in fragments", &[PING], Fault::FragmentedControl),
        faulty("F4 close in fragments", &[CLOSE], Fault::FragmentedControl),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push(faulty("F3 reserved opcode", &[FIN | opcode], Fault::ReservedOpcode));
    }
    for opcode in [CLOSE, PING, PONG] {
        rows.push(Row {
            rule: "F4 long control frame",
            frames: vec![frame(FIN | opcode, &[b'a'; 126])],
            seen: Vec::new(),
            fault: Some(Fault::LongControl),
        });
    }
    check(false, &rows);
}

#[test]
fn compression_only_where_it_may_be() {
    let rows = [
        faulty("F2 RSV1 on a ping", &[FIN | RSV1 | PING], Fault::UnexpectedCompression),
        faulty("F2 RSV1 on a close", &[FIN | RSV1 | CLOSE], Fault::UnexpectedCompression),
        faulty(
            "D10 RSV1 on a second fragment",
            &[RSV1 | TEXT, FIN | RSV1 | CONTINUATION],
            Fault::UnexpectedCompression,
        ),
        faulty(
            "D10 RSV1 first on a second fragment",
            &[TEXT, FIN | RSV1 | CONTINUATION],
            Fault::UnexpectedCompression,
        ),
        faulty("F2 RSV2", &[FIN | RSV1 | 0x20 | TEXT], Fault::ReservedBit),
        fine("D10 plain", vec![frame(FIN | TEXT, b"plain")], vec![text("plain")]),
    ];
    check(true, &rows);
}

#[test]
fn lengths_are_judged_before_anything_is_allocated() {
    let claims = [
        ("F5 2^63", u64::MAX, Fault::NegativeLength),
        ("F5 2^63-1", (1 << 63) - 1, Fault::FrameTooLong),
        ("F5 2^32", 1 << 32, Fault::FrameTooLong),
        ("F5 limit + 1", 65_537, Fault::FrameTooLong),
    ];
    for (rule, claim, fault) in claims {
        for first in [FIN | TEXT, BINARY, FIN | RSV1 | TEXT] {
            // Compressed, a little more than the limit may be sent.
            let may_be_longer = first & RSV1 != 0 && claim == 65_537;
            let fault = (!may_be_longer).then_some(fault);
            let mut connection = Connection::new(true, LIMITS);
            connection.read(&header(first, claim, [1, 2, 3, 4]));
            assert_eq!(connection.fault, fault, "{rule} {first:02X}");
            assert!(connection.decoder.held_bytes() < 512, "{rule} {first:02X}");
        }
    }
}

#[test]
fn lengths_that_are_not_minimal() {
    for bytes in [&[0x82, 0xFE, 0x00, 0x7D][..], &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]] {
        let outcome = decode(false, LIMITS, [bytes]);
        assert_eq!(outcome.fault, Some(Fault::PaddedLength), "F6 {bytes:02X?}");
    }
}

#[test]
fn fragments_and_what_may_stand_between_them() {
    let parts =
        |middle: Vec<u8>| vec![frame(TEXT, b"one "), middle, frame(FIN | CONTINUATION, b"two")];
    let rows = [
        faulty("F7 continuation of nothing", &[FIN | CONTINUATION], Fault::UnexpectedContinuation),
        faulty("F7 the same, unfinished", &[CONTINUATION], Fault::UnexpectedContinuation),
        faulty("F7 text in text", &[TEXT, FIN | TEXT], Fault::InterruptedMessage),
        faulty("F7 text in binary", &[BINARY, TEXT], Fault::InterruptedMessage),
        Row {
            rule: "F7 continuation of a message that ended",
            frames: vec![frame(FIN | TEXT, b"x"), frame(FIN | CONTINUATION, b"y")],
            seen: vec![text("x")],
            fault: Some(Fault::UnexpectedContinuation),
        },
        fine(
            "F8 ping between fragments, answered at once",
            parts(frame(FIN | PING, b"life?")),
            vec![Seen::Ping(b"life?".to_vec()), text("one two")],
        ),
        fine(
            "F8 pongs between fragments",
            parts([frame(FIN | PONG, b""), frame(FIN | PONG, b"2")].concat()),
            vec![Seen::Pong(Vec::new()), Seen::Pong(b"2".to_vec()), text("one two")],
        ),
        fine(
            "F8 close between fragments ends all",
            parts(frame(FIN | CLOSE, b"\x03\xE8")),
            vec![Seen::Close(Some(1000), String::new())],
        ),
        fine("F9 an empty fragment", parts(frame(CONTINUATION, b"")), vec![text("one two")]),
        fine(
            "F16 an empty message of empty fragments",
            vec![frame(BINARY, b""), frame(CONTINUATION, b""), frame(FIN | CONTINUATION, b"")],
            vec![binary(b"")],
        ),
    ];
    check(false, &rows);
}

#[test]
fn fragments_are_counted_and_measured() {
    let limits = Limits { message_bytes: 10, frame_bytes: 6, fragments: 4 };
    let decode = |frames: &[Vec<u8>]| decode(false, limits, [&frames.concat()[..]]);
    let flood = |count| {
        let mut frames = vec![frame(TEXT, b"")];
        frames.extend(std::iter::repeat_n(frame(CONTINUATION, b""), count));
        frames
    };
    assert_eq!(decode(&flood(3)).fault, None, "F9 as many as may be");
    assert_eq!(decode(&flood(4)).fault, Some(Fault::TooManyFragments), "F9 one more");
    assert_eq!(decode(&flood(1_000_000)).fault, Some(Fault::TooManyFragments), "F9 a flood");

    let six = [frame(BINARY, b"123456"), frame(FIN | CONTINUATION, b"7890")];
    assert_eq!(decode(&six).seen, [binary(b"1234567890")], "as long as may be");
    let seven = [frame(BINARY, b"123456"), frame(FIN | CONTINUATION, b"78901")];
    assert_eq!(decode(&seven).fault, Some(Fault::MessageTooLong), "one more");
    assert_eq!(decode(&[frame(FIN | BINARY, b"1234567")]).fault, Some(Fault::FrameTooLong));
}

#[test]
fn text_is_utf8() {
    let invalid: [&[u8]; 8] = [
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xC0\xAF",
        b"\xE0\x80\xAF",
        b"\xFF",
        b"\x80",
        b"abc\xE2\x82",
        b"\xE2\x28\xA1",
    ];
    for bytes in invalid {
        let rows = [
            Row {
                rule: "F10 in a frame",
                frames: vec![frame(FIN | TEXT, bytes)],
                seen: Vec::new(),
                fault: Some(Fault::InvalidText),
            },
            Row {
                rule: "F10 over two fragments",
                frames: vec![frame(TEXT, &bytes[..1]), frame(FIN | CONTINUATION, &bytes[1..])],
                seen: Vec::new(),
                fault: Some(Fault::InvalidText),
            },
            fine("F10 binary may", vec![frame(FIN | BINARY, bytes)], vec![binary(bytes)]),
        ];
        check(false, &rows);
    }
    let characters = "\u{FEFF}κόσμε\0\u{10FFFF}";
    let mut frames = vec![frame(TEXT, b"")];
    frames.extend(characters.as_bytes().chunks(1).map(|byte| frame(CONTINUATION, byte)));
    frames.push(frame(FIN | CONTINUATION, b""));
    check(false, &[fine("F10 a character over fragments", frames, vec![text(characters)])]);
}

#[test]
fn text_fails_at_its_first_bad_byte() {
    // Autobahn 6.4: the third character is over U+10FFFF, and much is still to come.
    let payload = b"\xCE\xBA\xF4\x90\x80\x80edited";
    let bytes = [header(FIN | TEXT, 1_000, [0; 4]), payload.to_vec()].concat();
    let bad = bytes.len() - payload.len() + 3;
    for pieces in [&bytes[..bad], &bytes[..=bad]] {
        for chunk_len in [1, 2, 3, 100] {
            let outcome = decode(false, LIMITS, pieces.chunks(chunk_len));
            let expected = (pieces.len() > bad).then_some(Fault::InvalidText);
            assert_eq!(outcome.fault, expected, "{chunk_len}");
        }
    }
    let first_fragment = frame(TEXT, payload);
    let outcome = decode(false, LIMITS, [&first_fragment[..]]);
    assert_eq!(outcome.fault, Some(Fault::InvalidText), "in a first fragment");
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| decode(false, LIMITS, [&frame(FIN | CLOSE, payload)[..]]);
    assert_eq!(close(b"").seen, [Seen::Close(None, String::new())]);
    assert_eq!(close(b"\x03").fault, Some(Fault::TruncatedCloseCode), "F11 one byte");
    assert_eq!(close(b"\x03\xE8\xCE").fault, Some(Fault::InvalidCloseReason), "F11 reason");
    let longest = [&b"\x0F\xA0"[..], &[b'r'; 123]].concat();
    assert_eq!(close(&longest).seen, [Seen::Close(Some(4000), "r".repeat(123))]);
    assert_eq!(close(&[&longest[..], b"r"].concat()).fault, Some(Fault::LongControl), "F11");
    for code in 0..=u16::MAX {
        let outcome = close(&code.to_be_bytes());
        if valid_code(code) {
            assert_eq!(outcome.seen, [Seen::Close(Some(code), String::new())]);
        } else {
            assert_eq!(outcome.fault, Some(Fault::InvalidCloseCode), "F11 {code}");
        }
    }
}

#[test]
fn nothing_is_decoded_after_a_close_or_a_fault() {
    let message = frame(FIN | TEXT, b"late");
    let after_close = [frame(FIN | CLOSE, b"\x03\xE9bye"), message.clone(), vec![0xFF; 9]];
    let rows = [
        fine("F12", after_close.into(), vec![Seen::Close(Some(1001), "bye".to_owned())]),
        Row {
            rule: "F12 after a fault",
            frames: vec![vec![0xFF], message.clone(), message],
            seen: Vec::new(),
            fault: Some(Fault::ReservedBit),
        },
    ];
    check(false, &rows);
}

#[test]
fn pings_and_pongs_as_they_come() {
    let longest = [b'p'; 125];
    let frames = vec![
        frame(FIN | PONG, b"nobody asked"),
        frame(FIN | PING, b""),
        frame(FIN | PING, &longest),
        frame(FIN | PING, b"\xFF\xFE"),
    ];
    let seen = vec![
        Seen::Pong(b"nobody asked".to_vec()),
        Seen::Ping(Vec::new()),
        Seen::Ping(longest.to_vec()),
        Seen::Ping(b"\xFF\xFE".to_vec()),
    ];
    check(false, &[fine("F13", frames, seen)]);
}

#[test]
fn kinds_are_kept_and_empty_messages_delivered() {
    let frames = vec![
        frame(FIN | TEXT, b""),
        frame(FIN | BINARY, b""),
        frame(BINARY, b"b"),
        frame(FIN | CONTINUATION, b"c"),
        frame(FIN | TEXT, b"t"),
    ];
    check(false, &[fine("F16", frames, vec![text(""), binary(b""), binary(b"bc"), text("t")])]);
}

#[test]
fn a_payload_may_be_scribbled_on() {
    use crate::ws::decoder::{Chunk, Decoder, Event, Scratch};
    let mut bytes = [frame(FIN | TEXT, b"first"), frame(FIN | TEXT, b"second")].concat();
    let (mut decoder, mut scratch) = (Decoder::new(false), Scratch::new());
    let mut input = Chunk::new(&mut bytes);
    let mut lengths = Vec::new();
    while let Some(event) = decoder.next(&mut input, &LIMITS, &mut scratch).unwrap() {
        let Event::Message { payload, .. } = event else { panic!("{event:?}") };
        payload.fill(0xFF);
        lengths.push(payload.len());
    }
    assert_eq!(lengths, [5, 6]);
}

#[test]
fn a_message_knows_in_how_many_frames_it_came_however_the_bytes_were_cut() {
    use crate::ws::decoder::{Chunk, Decoder, Event, Scratch};
    let bytes = [
        frame(FIN | TEXT, b"one"),
        frame(TEXT, b""),
        frame(CONTINUATION, b"t"),
        frame(FIN | PING, b"not one of them"),
        frame(FIN | CONTINUATION, b"hree"),
        frame(FIN | BINARY, b""),
    ]
    .concat();
    for size in 1..=bytes.len() {
        let (mut decoder, mut scratch) = (Decoder::new(false), Scratch::new());
        let mut frames_of = Vec::new();
        for piece in bytes.clone().chunks_mut(size) {
            let mut input = Chunk::new(piece);
            while let Some(event) = decoder.next(&mut input, &LIMITS, &mut scratch).unwrap() {
                if let Event::Message { frames, .. } = event {
                    frames_of.push(frames);
                }
            }
        }
        assert_eq!(frames_of, [1, 3, 1], "{size} bytes at a time");
    }
}
