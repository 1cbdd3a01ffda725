//! F1 to F6: headers, against a table, against tungstenite, and cut everywhere.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use super::{HEADER_MAX_BYTES, Header, Opcode, header_len, write, write_header};
use crate::ws::close::Fault;

const MASK: [u8; 4] = [0xA1, 0xB2, 0xC3, 0xD4];

/// The lengths around which encodings change.
const LENGTHS: [u64; 14] = [
    0,
    1,
    124,
    125,
    126,
    127,
    128,
    65_534,
    65_535,
    65_536,
    65_537,
    u32::MAX as u64,
    (1 << 63) - 1,
    1 << 62,
];

/// A client's header with a minimal length.
fn client_header(first: u8, payload_len: u64) -> Vec<u8> {
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
    bytes.extend_from_slice(&MASK);
    bytes
}

/// What the first byte alone says, straight from RFC 6455 §5.2, and RFC 7692 §6.
fn first_byte_verdict(first: u8) -> Option<Fault> {
    let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
    let opcode = first & 0x0F;
    if first & 0x30 != 0 {
        Some(Fault::ReservedBit)
    } else if matches!(opcode, 3..=7 | 11..=15) {
        Some(Fault::ReservedOpcode)
    } else if rsv1 && !matches!(opcode, 1 | 2) {
        Some(Fault::UnexpectedCompression)
    } else if opcode >= 8 && !fin {
        Some(Fault::FragmentedControl)
    } else {
        None
    }
}

#[test]
fn every_first_byte_with_every_length_as_the_rfc_says() {
    for first in 0..=u8::MAX {
        for payload_len in LENGTHS {
            let bytes = client_header(first, payload_len);
            let long_control = first & 0x08 != 0 && payload_len > 125;
            let expected = match first_byte_verdict(first) {
                Some(fault) => Err(fault),
                None if long_control => Err(Fault::LongControl),
                None => Ok((payload_len, first & 0x80 != 0, first & 0x40 != 0, first & 0x0F)),
            };
            let actual = Header::parse(&bytes).map(|parsed| {
                let (header, len) = parsed.expect("it is whole");
                assert_eq!((len, header.mask), (bytes.len(), MASK));
                (header.payload_len, header.fin, header.compressed, header.opcode as u8)
            });
            assert_eq!(actual, expected, "{bytes:02X?}");
        }
    }
}

#[test]
fn a_frame_without_a_mask_is_refused_at_its_second_byte() {
    for first in [0x81, 0x82, 0x00, 0x88, 0x89, 0x8A, 0xC1] {
        for second in 0..=0x7F {
            assert_eq!(Header::parse(&[first, second]), Err(Fault::Unmasked), "{second}");
        }
    }
}

#[test]
fn a_length_with_its_top_bit_set_is_refused() {
    for length in [1 << 63, u64::MAX, (1 << 63) | 5] {
        let mut bytes = vec![0x82, 0xFF];
        bytes.extend_from_slice(&u64::to_be_bytes(length));
        assert_eq!(Header::parse(&bytes), Err(Fault::NegativeLength), "{length}");
    }
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_refused() {
    for length in 0..=u16::MAX {
        let [high, low] = length.to_be_bytes();
        let as_u16 = Header::parse(&[0x82, 0xFE, high, low]);
        let as_u64 = Header::parse(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, high, low]);
        let expected = if length < 126 { Err(Fault::PaddedLength) } else { Ok(None) };
        assert_eq!(as_u16, expected, "{length}");
        assert_eq!(as_u64, Err(Fault::PaddedLength), "{length}");
    }
}

/// Headers of every shape, good and bad.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for first in 0..=u8::MAX {
        for second in [0x00, 0x05, 0x80, 0x85, 0xFD, 0x7E, 0xFE, 0x7F, 0xFF] {
            for lengths in
                [[0; 8], [0, 0, 0, 0, 0, 1, 0, 0], [0x80; 8], [0x7F; 8], [0, 126, 0, 0, 0, 0, 1, 2]]
            {
                let mut bytes = vec![first, second];
                bytes.extend_from_slice(&lengths);
                bytes.extend_from_slice(&MASK);
                assert_eq!(bytes.len(), HEADER_MAX_BYTES);
                corpus.push(bytes);
            }
        }
    }
    corpus
}

#[test]
fn the_verdict_on_a_prefix_is_none_yet_or_the_verdict_on_the_whole() {
    for bytes in corpus() {
        let whole = Header::parse(&bytes);
        assert_ne!(whole, Ok(None), "{bytes:02X?}");
        let mut decided = false;
        for end in 0..bytes.len() {
            let prefix = Header::parse(&bytes[..end]);
            decided |= prefix != Ok(None);
            let expected = if decided { whole } else { Ok(None) };
            assert_eq!(prefix, expected, "{bytes:02X?} up to {end}");
        }
    }
}

#[test]
fn tungstenite_reads_the_same_from_every_header_that_is_accepted() {
    for bytes in corpus() {
        let mut cursor = Cursor::new(&bytes);
        let theirs = FrameHeader::parse(&mut cursor);
        let consumed = usize::try_from(cursor.position()).unwrap();
        match Header::parse(&bytes) {
            Ok(ours) => {
                let (ours, len) = ours.expect("it is whole");
                let (theirs, payload_len) = theirs.unwrap().unwrap();
                assert_eq!((ours.payload_len, len), (payload_len, consumed), "{bytes:02X?}");
                assert_eq!((ours.fin, ours.compressed), (theirs.is_final, theirs.rsv1));
                assert_eq!(OpCode::from(ours.opcode as u8), theirs.opcode);
                assert_eq!(Some(ours.mask), theirs.mask);
            }
            // It refuses nothing else in a header; the rest is for its caller to see.
            Err(Fault::ReservedOpcode) => assert!(theirs.is_err(), "{bytes:02X?}"),
            Err(_) => {}
        }
    }
}

#[test]
fn tungstenite_reads_back_what_is_written_and_it_is_minimal() {
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        for deflated in [false, true] {
            for payload_len in LENGTHS {
                let payload_len = usize::try_from(payload_len).unwrap();
                let mut out = Vec::new();
                write_header(&mut out, opcode, deflated, payload_len);
                assert_eq!(out.len(), header_len(payload_len));
                let (theirs, length) = FrameHeader::parse(&mut Cursor::new(&out)).unwrap().unwrap();
                assert_eq!(length, payload_len as u64);
                assert_eq!(theirs.opcode, OpCode::from(opcode as u8));
                assert_eq!((theirs.is_final, theirs.rsv1, theirs.mask), (true, deflated, None));
                assert!(!theirs.rsv2 && !theirs.rsv3);
                assert_eq!(theirs.len(length), out.len(), "minimal");
            }
        }
    }
}

#[test]
fn a_frame_is_its_header_and_its_payload() {
    let mut out = b"before".to_vec();
    write(&mut out, Opcode::Ping, false, b"hi");
    assert_eq!(out, b"before\x89\x02hi");
}
