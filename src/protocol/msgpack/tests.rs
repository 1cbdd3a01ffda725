//! The scanner against `rmp_serde`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::protocol::fault::Fault;

/// Every form a value can begin with, complete.
const FORMS: &[&[u8]] = &[
    b"\x00",
    b"\x7f",
    b"\xe0",
    b"\xff",
    b"\xc0",
    b"\xc2",
    b"\xc3",
    b"\xcc\x01",
    b"\xcd\x01\x02",
    b"\xce\x01\x02\x03\x04",
    b"\xcf\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\xd0\x01",
    b"\xd1\x01\x02",
    b"\xd2\x01\x02\x03\x04",
    b"\xd3\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\xca\x01\x02\x03\x04",
    b"\xcb\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\xa2ab",
    b"\xd9\x02ab",
    b"\xda\x00\x02ab",
    b"\xdb\x00\x00\x00\x02ab",
    b"\xc4\x02\xff\xff",
    b"\xc5\x00\x02\xff\xff",
    b"\xc6\x00\x00\x00\x02\xff\xff",
    b"\xd4\x01a",
    b"\xd5\x01ab",
    b"\xd6\x01abcd",
    b"\xd7\x01abcdefgh",
    b"\xd8\x01abcdefghabcdefgh",
    b"\xc7\x02\x01ab",
    b"\xc8\x00\x02\x01ab",
    b"\xc9\x00\x00\x00\x02\x01ab",
    b"\x91\xc0",
    b"\xdc\x00\x01\xc0",
    b"\xdd\x00\x00\x00\x01\xc0",
    b"\x81\xa1a\xc0",
    b"\xde\x00\x01\xa1a\xc0",
    b"\xdf\x00\x00\x00\x01\xa1a\xc0",
];

#[test]
fn every_form_ends_where_it_ends_and_is_refused_when_cut() {
    for form in FORMS {
        let followed = [form, &b"\xc1\xc1"[..]].concat();
        assert_eq!(skip(&followed, 0, 1), Ok(form.len()), "{form:x?}");
        for end in 0..form.len() {
            assert_eq!(skip(&form[..end], 0, 1), Err(Fault::Malformed), "{form:x?} cut at {end}");
        }
    }
}

#[test]
fn all_markers_but_the_reserved_one_are_known() {
    for marker in 0..=u8::MAX {
        // Enough of zeros for any head; lengths are then 0.
        let bytes = [&[marker][..], &[0; 64]].concat();
        let is_known = skip(&bytes, 0, 1).is_ok();
        // Maps with anything in them have numbers for keys here.
        assert_eq!(is_known, marker != 0xc1 && !(0x81..=0x8f).contains(&marker), "{marker:#x}");
    }
}

#[test]
fn text_is_utf8_and_keys_are_text() {
    assert_eq!(skip(b"\xa2\xc3\x28", 0, 1), Err(Fault::Malformed));
    assert_eq!(skip(b"\x81\xa2\xc3\x28\xc0", 0, 1), Err(Fault::Malformed));
    for key in [&b"\x01"[..], b"\xc0", b"\xc4\x01a", b"\x90", b"\x80", b"\xd4\x01a"] {
        let map = [b"\x81", key, b"\xc0"].concat();
        assert_eq!(skip(&map, 0, 8), Err(Fault::KeyNotText), "{key:x?}");
    }
}

#[test]
fn depth_counts_containers_and_empty_ones_too() {
    for (bytes, depth) in [(&b"\x01"[..], 0), (b"\x90", 1), (b"\x80", 1), (b"\x91\x81\xa1a\x90", 3)]
    {
        assert_eq!(skip(bytes, 0, depth), Ok(bytes.len()));
        if let Some(less) = depth.checked_sub(1) {
            assert_eq!(skip(bytes, 0, less), Err(Fault::TooDeep));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    /// Whatever we take, another reader takes, and to the same end.
    #[test]
    fn what_is_accepted_is_messagepack(
        forms in prop::collection::vec(prop::sample::select(FORMS), 1..8),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = forms.concat();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(end) = skip(&bytes, 0, 16) {
            let mut reader = &bytes[..];
            let value = rmp_serde::decode::from_read::<_, serde::de::IgnoredAny>(&mut reader);
            prop_assert!(value.is_ok(), "{bytes:x?}");
            prop_assert_eq!(bytes.len() - reader.len(), end);
        }
    }

    #[test]
    fn whole_numbers_read_back(value in any::<i64>(), shift in 0_u32..64) {
        let value = value >> shift;
        let mut signed = Vec::new();
        write_signed(value, &mut signed);
        prop_assert_eq!(&signed, &rmp_serde::to_vec(&value).unwrap());
        let mut unsigned = Vec::new();
        write_unsigned(value.unsigned_abs(), &mut unsigned);
        prop_assert_eq!(&unsigned, &rmp_serde::to_vec(&value.unsigned_abs()).unwrap());
        let head = Head::read(&signed, 0).unwrap().0;
        let expected = u64::try_from(value).map_or(Head::Negative(value), Head::Unsigned);
        prop_assert_eq!(head, expected);
    }
}
