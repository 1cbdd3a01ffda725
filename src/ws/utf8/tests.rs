//! F10.

use super::{Invalid, is_valid, valid_prefix_len};

/// What the standard library says about a prefix of a text.
fn reference(bytes: &[u8]) -> Result<usize, Invalid> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Invalid),
    }
}

/// Validates `bytes` cut at `split`, as the decoder does: it keeps what is not yet a character.
fn in_two(bytes: &[u8], split: usize) -> bool {
    let Ok(first) = valid_prefix_len(&bytes[..split]) else { return false };
    let Ok(second) = valid_prefix_len(&bytes[first..]) else { return false };
    first + second == bytes.len()
}

fn check(bytes: &[u8]) {
    let expected = std::str::from_utf8(bytes).is_ok();
    assert_eq!(is_valid(bytes), expected, "{bytes:02X?}");
    assert_eq!(valid_prefix_len(bytes), reference(bytes), "{bytes:02X?}");
    for split in 0..=bytes.len() {
        assert_eq!(in_two(bytes, split), expected, "{bytes:02X?} at {split}");
    }
}

#[test]
fn every_sequence_of_one_two_and_three_bytes_in_every_split() {
    for first in 0..=u8::MAX {
        check(&[first]);
        for second in 0..=u8::MAX {
            check(&[first, second]);
        }
    }
    // What begins with any other byte fails there, or is ASCII before a shorter sequence.
    for first in 0xC0..=u8::MAX {
        for second in 0..=u8::MAX {
            for third in 0..=u8::MAX {
                check(&[first, second, third]);
            }
        }
    }
}

#[test]
fn every_sequence_of_four_bytes_that_begins_like_one_in_every_split() {
    for first in 0xF0..=0xF7 {
        for second in 0x70..=0xCF {
            for third in 0x70..=0xCF {
                // Edges of the only classes a fourth byte can be of.
                for fourth in [0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF] {
                    check(&[first, second, third, fourth]);
                }
            }
        }
    }
}

#[test]
#[ignore = "minutes in a debug build: all four billion, run by hand in release"]
fn every_sequence_of_four_bytes() {
    for word in 0..=u32::MAX {
        let bytes = word.to_be_bytes();
        assert_eq!(is_valid(&bytes), std::str::from_utf8(&bytes).is_ok(), "{bytes:02X?}");
        assert_eq!(valid_prefix_len(&bytes), reference(&bytes), "{bytes:02X?}");
    }
}

#[test]
fn every_character_in_every_split() {
    let mut buffer = [0; 4];
    for character in '\0'..=char::MAX {
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        assert!(is_valid(bytes), "{bytes:02X?}");
        for split in 1..bytes.len() {
            assert_eq!(valid_prefix_len(&bytes[..split]), Ok(0), "{bytes:02X?} at {split}");
        }
    }
}

#[test]
fn what_no_byte_could_mend_is_refused_at_its_first_bad_byte() {
    let refused: [(&str, &[u8]); 8] = [
        ("a continuation with no start", b"a\x80"),
        ("an overlong slash", b"\xC0"),
        ("an overlong character of three bytes", b"\xE0\x9F"),
        ("a surrogate", b"\xED\xA0"),
        ("an overlong character of four bytes", b"\xF0\x8F"),
        ("over U+10FFFF", b"\xF4\x90"),
        ("a start that no character has", b"\xF5"),
        ("an interrupted character", b"\xE2\x82a"),
    ];
    for (what, bytes) in refused {
        assert_eq!(valid_prefix_len(bytes), Err(Invalid), "{what}");
        assert!(valid_prefix_len(&bytes[..bytes.len() - 1]).is_ok(), "{what}, but its last byte");
    }
}

#[test]
fn a_byte_order_mark_and_nul_are_characters() {
    for text in ["\u{FEFF}a", "a\0b"] {
        assert_eq!(valid_prefix_len(text.as_bytes()), Ok(text.len()));
    }
}
