//! F11, and the codes of faults.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may")]

use super::{Fault, REASON_MAX_BYTES, parse_payload, valid_code, write_frame, write_payload};

#[test]
fn exactly_the_codes_that_may_be_sent_are_valid() {
    for code in 0..=u16::MAX {
        let expected = match code {
            1004..=1006 | 1015 => false,
            1000..=1014 | 3000..=4999 => true,
            _ => false,
        };
        assert_eq!(valid_code(code), expected, "{code}");
        let parsed = parse_payload(&code.to_be_bytes()).map(|(code, _)| code);
        let wanted = if expected { Ok(Some(code)) } else { Err(Fault::InvalidCloseCode) };
        assert_eq!(parsed, wanted, "{code}");
    }
}

#[test]
fn payloads_of_close_frames() {
    type Parsed<'a> = Result<(Option<u16>, &'a str), Fault>;
    let cases: [(&[u8], Parsed<'_>); 6] = [
        (b"", Ok((None, ""))),
        (b"\x03", Err(Fault::TruncatedCloseCode)),
        (b"\x03\xE8", Ok((Some(1000), ""))),
        (b"\x03\xE8gr\xC3\xBC\xC3\x9Fe", Ok((Some(1000), "grüße"))),
        (b"\x03\xE8\xC3", Err(Fault::InvalidCloseReason)),
        (b"\x03\xEC\xC3", Err(Fault::InvalidCloseCode)),
    ];
    for (payload, expected) in cases {
        assert_eq!(parse_payload(payload), expected, "{payload:02X?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for code in [1000, 1012, 3000, 4999] {
        let mut payload = Vec::new();
        write_payload(&mut payload, code, "drain");
        assert_eq!(parse_payload(&payload), Ok((Some(code), "drain")));
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    for length in 0..200 {
        let reason = "ü".repeat(length);
        let mut frame = Vec::new();
        write_frame(&mut frame, Some(1008), &reason);
        let kept = reason.len().min(REASON_MAX_BYTES - REASON_MAX_BYTES % 2);
        assert_eq!(frame[..2], [0x88, u8::try_from(2 + kept).unwrap()]);
        assert_eq!(parse_payload(&frame[2..]), Ok((Some(1008), &reason[..kept])));
    }
}

#[test]
fn a_close_without_a_code_is_empty() {
    let mut frame = Vec::new();
    write_frame(&mut frame, None, "not sent");
    assert_eq!(frame, [0x88, 0x00]);
}

#[test]
fn every_fault_has_a_code_that_may_be_sent_and_a_reason_that_fits() {
    let faults = [
        (Fault::Unmasked, 1002),
        (Fault::ReservedBit, 1002),
        (Fault::UnexpectedCompression, 1002),
        (Fault::ReservedOpcode, 1002),
        (Fault::FragmentedControl, 1002),
        (Fault::LongControl, 1002),
        (Fault::NegativeLength, 1002),
        (Fault::PaddedLength, 1002),
        (Fault::UnexpectedContinuation, 1002),
        (Fault::InterruptedMessage, 1002),
        (Fault::TruncatedCloseCode, 1002),
        (Fault::InvalidCloseCode, 1002),
        (Fault::InvalidText, 1007),
        (Fault::InvalidDeflate, 1007),
        (Fault::InvalidCloseReason, 1007),
        (Fault::FrameTooLong, 1009),
        (Fault::MessageTooLong, 1009),
        (Fault::TooManyFragments, 1009),
        (Fault::TooManyBlocks, 1009),
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for (fault, code) in faults {
        assert_eq!(fault.code(), code, "{fault:?}");
        assert!(valid_code(fault.code()), "{fault:?}");
        assert!(fault.reason().len() <= REASON_MAX_BYTES, "{fault:?}");
        assert!(reasons.insert(fault.reason()), "{fault:?} has the reason of another");
    }
}
