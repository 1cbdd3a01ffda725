//! The scanner against `serde_json` and `simd-json`: the same texts are accepted, and the same
//! span is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::scan::{find_special, skip};
use super::*;
use crate::protocol::fault::Fault;

/// Whether the scanner takes `json` as one value.
fn accepts(json: &[u8]) -> Result<bool, Fault> {
    let start = skip_whitespace(json, 0);
    match skip(json, start, 64) {
        Ok(end) => Ok(is_end(json, end)),
        Err(Fault::Malformed) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Holds the scanner against both parsers.
fn compare(json: &str) {
    let Ok(ours) = accepts(json.as_bytes()) else {
        return;
    };
    let by_serde = match serde_json::from_str::<Value>(json) {
        Ok(_) => true,
        // It wants numbers that fit a double; we pass on what was sent.
        Err(error) => error.to_string().starts_with("number out of range"),
    };
    // An error of range is told at once, whatever follows.
    if by_serde && !ours {
        assert!(serde_json::from_str::<Value>(json).is_err(), "we refuse {json:?}");
        return;
    }
    assert_eq!(ours, by_serde, "{json:?}");
    let mut scratch = json.as_bytes().to_vec();
    match simd_json::to_owned_value(&mut scratch) {
        Ok(_) => assert!(ours || simd_json_may_be_lax(json), "simd-json takes {json:?}"),
        Err(error) => {
            // It wants whole numbers that fit 64 bits.
            let is_number = matches!(
                error.error(),
                simd_json::ErrorType::InvalidNumber
                    | simd_json::ErrorType::Overflow
                    | simd_json::ErrorType::InvalidExponent
            );
            assert!(!ours || is_number, "simd-json refuses {json:?}: {error}");
        }
    }
}

/// It does not look at what stands after 19 digits or more, and takes half a surrogate pair.
fn simd_json_may_be_lax(json: &str) -> bool {
    let mut runs = json.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    runs.any(|run| run.len() >= 19) || json.to_ascii_lowercase().contains("\\ud")
}

/// Why the scanner decides, and simd-json only bears witness.
#[test]
fn simd_json_alone_would_not_do() {
    let table = [
        // What it takes and is no JSON.
        ("[10000000000000000000x]", true, false),
        (r#"["\ud800"]"#, true, false),
        // What it refuses and is JSON, and must reach receivers as it is.
        ("[100000000000000000000]", false, true),
    ];
    for (json, by_simd_json, by_us) in table {
        let mut scratch = json.as_bytes().to_vec();
        assert_eq!(simd_json::to_owned_value(&mut scratch).is_ok(), by_simd_json, "{json}");
        assert_eq!(accepts(json.as_bytes()), Ok(by_us), "{json}");
    }
}

/// A string as JSON, with some characters escaped that need not be.
fn text_strategy() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ -~]".prop_map(|text| serde_json::to_string(&text).unwrap()),
        2 => any::<char>().prop_map(|c| serde_json::to_string(&c).unwrap()),
        1 => any::<char>().prop_map(|c| {
            let mut units = [0; 2];
            let escapes = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}"));
            format!("\"{}\"", escapes.collect::<String>())
        }),
        1 => Just("\"\\/\"".to_owned()),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| {
        let inner: String = pieces.iter().map(|piece| &piece[1..piece.len() - 1]).collect();
        format!("\"{inner}\"")
    })
}

fn space_strategy() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t\r ", "  \n  "])
}

/// A JSON text with white space, escapes, and numbers of all forms.
fn json_strategy() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        text_strategy(),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let item = (space_strategy(), inner.clone(), space_strategy())
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let pair = (space_strategy(), text_strategy(), space_strategy(), item.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(pair, 0..6).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
            space_strategy().prop_map(|space| format!("[{space}]")),
            space_strategy().prop_map(|space| format!("{{{space}}}")),
        ]
    })
}

/// Pieces that are likely to break a text.
fn splice_strategy() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\\[\\]{},:\"\\\\0-9eE.+\\- \n\ttfnu/]{0,3}",
        prop::sample::select(vec!["\\u", "\\ud800", "\\udc00", "null", "01", "\u{1}", "é", "1."])
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn what_is_json_is_accepted_by_all(json in json_strategy()) {
        prop_assert_eq!(accepts(json.as_bytes()), Ok(true));
        compare(&json);
    }

    #[test]
    fn what_was_broken_is_judged_alike(
        json in json_strategy(),
        at in any::<prop::sample::Index>(),
        cut in 0_usize..4,
        splice in splice_strategy(),
    ) {
        let mut characters: Vec<char> = json.chars().collect();
        let start = at.index(characters.len() + 1);
        let end = (start + cut).min(characters.len());
        characters.splice(start..end, splice.chars());
        compare(&characters.iter().collect::<String>());
    }

    #[test]
    fn noise_is_judged_alike(json in "[\\[\\]{},:\"\\\\0-9eE.+\\- \nntrufalse/]{0,24}") {
        compare(&json);
    }

    #[test]
    fn the_span_is_the_one_that_serde_json_finds(
        value in json_strategy(),
        after in json_strategy(),
        space in space_strategy(),
    ) {
        let message = format!("{{{space}\"data\"{space}:{space}{value}{space},\"x\":{after}}}");
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let mut entries = Entries::new(message.as_bytes()).unwrap();
        prop_assert_eq!(entries.next_key().unwrap().unwrap(), &b"data"[..]);
        let span = entries.value(64).unwrap();
        let reference: Message<'_> = serde_json::from_str(&message).unwrap();
        prop_assert_eq!(span, reference.data.get().as_bytes());
        prop_assert_eq!(entries.next_key().unwrap().unwrap(), &b"x"[..]);
        prop_assert_eq!(entries.value(64).unwrap(), after.as_bytes());
        prop_assert_eq!(entries.next_key().unwrap(), None);
        prop_assert_eq!(entries.position(), message.len());
    }

    #[test]
    fn elements_are_those_of_the_array(items in prop::collection::vec(json_strategy(), 0..5)) {
        let array = format!("[ {} ]", items.join(" , "));
        let found: Vec<_> = Items::new(array.as_bytes()).unwrap().collect();
        let expected: Vec<_> = items.iter().map(String::as_bytes).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn strings_say_what_serde_json_reads(json in text_strategy()) {
        let expected: String = serde_json::from_str(&json).unwrap();
        let read = text(json.as_bytes());
        prop_assert_eq!(read.as_deref(), Some(expected.as_str()));
    }

    #[test]
    fn strings_are_written_as_serde_json_writes_them(value in any::<String>()) {
        let mut out = Vec::new();
        write_text(&value, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn special_bytes_are_found_where_a_plain_loop_finds_them(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), b' '..=b'#', Just(0x80)], 0..40),
        start in 0_usize..8,
    ) {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let start = start.min(bytes.len());
        let plain = bytes[start..].iter().position(is_special);
        let expected = plain.map_or(bytes.len(), |at| start + at);
        prop_assert_eq!(find_special(&bytes, start), expected);
    }
}

#[test]
fn depth_counts_containers_and_empty_ones_too() {
    for (json, depth) in [("1", 0), ("[]", 1), ("{}", 1), ("[[],{}]", 2), (r#"{"a":[{}]}"#, 3)] {
        assert_eq!(skip(json.as_bytes(), 0, depth), Ok(json.len()), "{json}");
        if let Some(less) = depth.checked_sub(1) {
            assert_eq!(skip(json.as_bytes(), 0, less), Err(Fault::TooDeep), "{json}");
        }
    }
    // As deep as it goes, whatever is allowed.
    let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert_eq!(skip(&nested(128), 0, u8::MAX), Ok(256));
    assert_eq!(skip(&nested(129), 0, u8::MAX), Err(Fault::TooDeep));
}

#[test]
fn kinds_of_brackets_are_told_apart_at_every_level() {
    let json = r#"[{"a":[[{"b":{"c":[]}}]]},[{}]]"#;
    assert_eq!(accepts(json.as_bytes()), Ok(true));
    for (at, byte) in json.bytes().enumerate() {
        let other = match byte {
            b'[' => b'{',
            b'{' => b'[',
            b']' => b'}',
            b'}' => b']',
            _ => continue,
        };
        let mut wrong = json.as_bytes().to_vec();
        wrong[at] = other;
        assert_eq!(accepts(&wrong), Ok(false), "{}", String::from_utf8_lossy(&wrong));
    }
}
