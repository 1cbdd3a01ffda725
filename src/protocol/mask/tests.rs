use proptest::prelude::*;

use super::*;

/// Hides every `bad`, in small letters.
fn bad(text: &str) -> Vec<Range<usize>> {
    text.match_indices("bad").map(|(at, found)| at..at + found.len()).collect()
}

fn masked(codec: Codec, bytes: &[u8]) -> Option<Vec<u8>> {
    let data = Data::new(codec, bytes, 16).expect("it is well-formed");
    data.masked(&bad).map(|masked| {
        let bytes = masked.as_data().bytes();
        assert!(Data::new(codec, bytes, 16).is_some(), "{bytes:x?}");
        bytes.to_vec()
    })
}

#[test]
fn json_text_is_masked_and_nothing_else_is_touched() {
    for (before, after) in [
        (r#""bad""#, r#""***""#),
        (r#" [ 1.50 , "a bad\n\u0062ad" ] "#, r#"[ 1.50 , "a ***\n***" ]"#),
        (
            r#"{"bad":"bad","bad" :{"x":"no bad","bad": [ "bad" ]}}"#,
            r#"{"bad":"***","bad" :{"x":"no ***","bad": [ "***" ]}}"#,
        ),
        (r#""\u00e9bad\ud83d\ude00\"bad\\""#, r#""\u00e9***\ud83d\ude00\"***\\""#),
        (r#""éb\u0061d😀bad""#, r#""é***😀***""#),
    ] {
        assert_eq!(masked(Codec::Json, before.as_bytes()).as_deref(), Some(after.as_bytes()));
    }
    for same in ["1", "null", r#"{"bad":1}"#, r#""b\\u0061d""#, r#"["BAD","ba","d"]"#] {
        assert_eq!(masked(Codec::Json, same.as_bytes()), None, "{same}");
    }
}

#[test]
fn message_pack_text_is_masked_and_nothing_else_is_touched() {
    for (before, after) in [
        (&b"\xa3bad"[..], &b"\xa3***"[..]),
        (b"\xd9\x03bad", b"\xa3***"),
        (b"\x92\xc4\x03bad\xa4abad", b"\x92\xc4\x03bad\xa4a***"),
        (b"\x82\xa3bad\xa3bad\xa1x\x91\xa3bad", b"\x82\xa3bad\xa3***\xa1x\x91\xa3***"),
        (b"\x93\xd4\x01b\x80\xa3bad", b"\x93\xd4\x01b\x80\xa3***"),
    ] {
        assert_eq!(masked(Codec::MessagePack, before).as_deref(), Some(after));
    }
    for same in [&b"\xc0"[..], b"\x81\xa3bad\x01", b"\xc4\x03bad", b"\xd9\x02ba"] {
        assert_eq!(masked(Codec::MessagePack, same), None, "{same:x?}");
    }
}

#[test]
fn one_asterisk_stands_for_a_character_however_long_it_is() {
    let hide_all = |text: &str| std::iter::once(0..text.len()).collect();
    let json = Data::new(Codec::Json, r#""é\n😀\ud83d\ude00""#.as_bytes(), 8).expect("JSON");
    assert_eq!(json.masked(&hide_all).expect("text").as_data().bytes(), br#""****""#);
    let pack = Data::new(Codec::MessagePack, "\u{0}é😀".as_bytes(), 8);
    assert!(pack.is_none());
    let pack = [b"\xa6", "é😀".as_bytes()].concat();
    let pack = Data::new(Codec::MessagePack, &pack, 8).expect("MessagePack");
    assert_eq!(pack.masked(&hide_all).expect("text").as_data().bytes(), b"\xa2**");
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let text = "(bad|[a-d \"\\\\\n\u{e9}\u{1F600}]){0,6}";
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((text, inner), 0..4)
                .prop_map(|entries| { serde_json::Value::Object(entries.into_iter().collect()) }),
        ]
    })
}

/// The same by value.
fn model(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => text.replace("bad", "***").into(),
        Value::Array(items) => items.iter().map(model).collect::<Vec<_>>().into(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), model(value))).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_masked_is_what_a_parser_would_have_replaced(value in value()) {
        let expected = model(&value);
        let json = serde_json::to_vec(&value).expect("JSON");
        let pack = rmp_serde::to_vec(&value).expect("MessagePack");
        let changed = expected != value;
        let one = masked(Codec::Json, &json);
        let other = masked(Codec::MessagePack, &pack);
        prop_assert_eq!((one.is_some(), other.is_some()), (changed, changed));
        if let (Some(json), Some(pack)) = (one, other) {
            prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&json).expect("JSON"), &expected);
            prop_assert_eq!(&rmp_serde::from_slice::<serde_json::Value>(&pack).expect("pack"), &expected);
        }
    }
}
