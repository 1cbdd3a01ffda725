//! Data travels byte for byte.

use super::*;

/// Values that a tree would change.
const VALUES: &[&str] = &[
    "123456789012345678901234567890",
    "-0",
    "1.0",
    "1e999",
    "1E+2",
    "0.1000000000000000055511151231257827",
    r#""\u0041\/\u00e9\ud83d\ude00""#,
    "{ \"b\" : 1 ,\n\t\"a\":2, \"a\" : 3 }",
    "[ ]",
    "{\r\n}",
    "\"\u{7f}\u{2028}\"",
];

#[test]
fn json_data_is_the_bytes_that_were_sent() {
    for value in VALUES {
        let json = format!("\t{{ \"data\" :\n {value} , \"type\":\"publish\",\"room\":\"r\"}}\n");
        let envelope = read(MessageKind::Text, json.as_bytes()).unwrap();
        let Command::Publish(publish) = envelope.command else { panic!() };
        assert_eq!(publish.post.data.bytes(), value.as_bytes());
        let kept = publish.post.data.to_owned();
        assert_eq!(kept.as_data().to_codec(Codec::Json), value.as_bytes());
        let mut out = Vec::new();
        let event = event::Message {
            room: "r",
            at: None,
            data: kept.as_data(),
            event: None,
            from: None,
            at_ms: 1,
            priority: Priority::Normal,
            redelivered: false,
        };
        encode(&Event::Message(event), Codec::Json, &mut out);
        let expected = format!(r#"{{"type":"message","room":"r","at":1,"data":{value}}}"#);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn messagepack_data_is_the_bytes_that_were_sent() {
    // Numbers longer than they need to be, an extension, binary, a NaN with a payload.
    let values: [&[u8]; 5] = [
        b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\xd4\x05\x01",
        b"\xc4\x02\xff\x00",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x07",
        b"\xdf\x00\x00\x00\x02\xa1b\xcc\x01\xd9\x01b\xd9\x01c",
    ];
    for value in values {
        let message = [&b"\x82\xa4data"[..], value, b"\xa4type\xa9state.set"].concat();
        let envelope = read(MessageKind::Binary, &message).unwrap();
        let Command::StateSet(state) = envelope.command else { panic!() };
        assert_eq!(state.data.bytes(), value);
        assert_eq!(state.data.to_codec(Codec::MessagePack), value);
    }
}

#[test]
fn a_value_alone_is_checked() {
    for value in VALUES {
        let padded = format!(" {value}\n");
        let data = Data::new(Codec::Json, padded.as_bytes(), 32).expect(value);
        assert_eq!(data.bytes(), value.as_bytes());
    }
    for bad in ["", "1 2", "{", "nulls", "\"a", "[1,]"] {
        assert_eq!(Data::new(Codec::Json, bad.as_bytes(), 32), None, "{bad}");
    }
    assert_eq!(Data::new(Codec::Json, b"\"\xff\"", 32), None);
    assert_eq!(Data::new(Codec::MessagePack, b"\xc0\xc0", 32), None);
    assert_eq!(Data::new(Codec::Json, b"[[1]]", 1), None);
    assert_eq!(value(Data::null(Codec::MessagePack)), Value::Null);
}
