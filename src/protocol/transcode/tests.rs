//! Conversion by value, against `serde_json` and `rmp_serde`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use serde_json::Value;

use super::super::{Codec, Data};

fn to_msgpack(json: &str) -> Vec<u8> {
    let data = Data::new(Codec::Json, json.as_bytes(), 128).unwrap();
    data.to_codec(Codec::MessagePack).into_owned()
}

fn to_json(packed: &[u8]) -> String {
    let data = Data::new(Codec::MessagePack, packed, 128).unwrap();
    String::from_utf8(data.to_codec(Codec::Json).into_owned()).unwrap()
}

#[test]
fn json_becomes_the_shortest_messagepack_of_its_value() {
    let table: &[(&str, &[u8])] = &[
        ("null", b"\xc0"),
        ("true", b"\xc3"),
        ("false", b"\xc2"),
        ("0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\x00\x01\x00\x00"),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("-1", b"\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        // Out of range, or not whole: doubles.
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("-9223372036854775809", b"\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"),
        ("-0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("1.0", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        ("1e0", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        ("1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        (r#""\u0041\n""#, b"\xa2A\n"),
        (" [ ] ", b"\x90"),
        ("[1 , {\n}]", b"\x92\x01\x80"),
        (r#"{ "a" : [ null ] }"#, b"\x81\xa1a\x91\xc0"),
        // Order and repetition are kept.
        (r#"{"b":1,"a":2,"b":3}"#, b"\x83\xa1b\x01\xa1a\x02\xa1b\x03"),
    ];
    for (json, packed) in table {
        assert_eq!(to_msgpack(json), *packed, "{json}");
    }
}

#[test]
fn messagepack_becomes_json_of_its_value() {
    let table: &[(&[u8], &str)] = &[
        (b"\xc0", "null"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xd0\x05", "5"),
        (b"\xe0", "-32"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        // The value of the single-precision number nearest to 0.1.
        (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
        (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "-0.0"),
        (b"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e308"),
        (b"\xcb\x00\x00\x00\x00\x00\x00\x00\x01", "5e-324"),
        // What JSON has no number for.
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xca\xff\x80\x00\x00", "null"),
        (b"\xa3\"\\\x01", r#""\"\\\u0001""#),
        // Binary and extensions.
        (b"\xc4\x04\xff\xfe\x00\x01", r#""//4AAQ==""#),
        (b"\xd4\x05\x61", r#""YQ==""#),
        (b"\xc7\x00\x05", r#""""#),
        (b"\x82\xa1b\x01\xa1b\x92\xc2\xc3", r#"{"b":1,"b":[false,true]}"#),
        (b"\xdc\x00\x00", "[]"),
    ];
    for (packed, json) in table {
        assert_eq!(to_json(packed), *json, "{packed:x?}");
    }
}

#[test]
fn counts_and_lengths_of_every_form_survive() {
    for count in [0, 1, 15, 16, 17, 255, 256, 65_535, 65_536] {
        let array = Value::from(vec![7; count]);
        let map: serde_json::Map<String, Value> =
            (0..count).map(|n| (format!("{n:06}"), n.into())).collect();
        for value in [array, Value::from(map), Value::from("x".repeat(count))] {
            let packed = to_msgpack(&value.to_string());
            assert_eq!(packed, rmp_serde::to_vec_named(&value).unwrap(), "{count}");
            assert_eq!(to_json(&packed), value.to_string(), "{count}");
        }
    }
}

#[test]
fn what_breaks_off_gives_null_and_leaves_what_was_there() {
    for bytes in [&b""[..], b"{\"a\"", b"[1", b"[1,[2", b"\xff", b"\"\\", b"\"\xff\""] {
        let mut out = b"x".to_vec();
        super::to_msgpack(bytes, &mut out);
        assert_eq!(out, b"x\xc0", "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x92\x01", b"\xa2a", b"\xa1\xff", b"\xc1", b"\xc4\x01"] {
        let mut out = b"x".to_vec();
        super::to_json(bytes, &mut out);
        assert_eq!(out, b"xnull", "{bytes:x?}");
    }
}

/// Values that both codecs hold.
fn value_strategy() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has it", |float| float.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 80, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_converts_as_serde_converts_it(value in value_strategy(), pretty in any::<bool>()) {
        let json = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let packed = to_msgpack(&json);
        prop_assert_eq!(&packed, &rmp_serde::to_vec_named(&value).unwrap());
        // Not through `serde_json`, whose reading of doubles is off by a bit at times.
        prop_assert_eq!(to_msgpack(&to_json(&packed)), packed);
    }
}
