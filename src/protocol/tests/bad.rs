//! Bad forms: for each command every field of a wrong kind, every required field missing, every
//! field twice, and the values that it cannot have.

use serde_json::{Map, json};

use super::*;

/// What a field takes.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Text,
    Whole,
    Bool,
    Map,
    List,
    /// Anything.
    Data,
}
use Takes::{Bool, Data as Any, List, Map as Object, Text, Whole};

type Row = (&'static str, &'static str, &'static [(&'static str, Takes)]);

/// Each command: a good form, and what its fields take.
const COMMANDS: &[Row] = &[
    ("auth", r#"{"token":"t"}"#, &[("token", Text)]),
    (
        "join",
        r#"{"room":"r"}"#,
        &[
            ("room", Text),
            ("token", Text),
            ("password", Text),
            ("since", Object),
            ("presence", Bool),
            ("events", List),
            ("min_priority", Text),
        ],
    ),
    ("join_room", r#"{"room":"r"}"#, &[("room", Text)]),
    ("leave", r#"{"room":"r"}"#, &[("room", Text)]),
    ("leave_room", r#"{"room":"r"}"#, &[("room", Text)]),
    (
        "publish",
        r#"{"room":"r","data":1}"#,
        &[
            ("room", Text),
            ("data", Any),
            ("event", Text),
            ("exclude_self", Bool),
            ("transient", Bool),
            ("key", Text),
            ("priority", Text),
            ("ttl_ms", Whole),
            ("filter", Object),
            ("receipt", Text),
        ],
    ),
    ("send_message", r#"{"room":"r","content":1}"#, &[("room", Text), ("content", Any)]),
    (
        "broadcast",
        r#"{"data":1}"#,
        &[
            ("data", Any),
            ("event", Text),
            ("exclude_self", Bool),
            ("transient", Bool),
            ("key", Text),
            ("priority", Text),
            ("ttl_ms", Whole),
            ("filter", Object),
            ("receipt", Text),
        ],
    ),
    (
        "send",
        r#"{"to":{"user":"u"},"data":1}"#,
        &[
            ("to", Object),
            ("data", Any),
            ("event", Text),
            ("transient", Bool),
            ("priority", Text),
            ("ttl_ms", Whole),
        ],
    ),
    ("ack", r#"{"room":"r","offset":1}"#, &[("room", Text), ("offset", Whole)]),
    (
        "history",
        r#"{"room":"r"}"#,
        &[
            ("room", Text),
            ("since", Object),
            ("before", Object),
            ("limit", Whole),
            ("reverse", Bool),
        ],
    ),
    ("presence", r#"{"room":"r"}"#, &[("room", Text), ("limit", Whole), ("after", Text)]),
    ("presence.set", r#"{"room":"r","info":1}"#, &[("room", Text), ("info", Any)]),
    ("state.set", r#"{"data":1}"#, &[("data", Any)]),
    ("room.create", r#"{"room":"r"}"#, &[("room", Text), ("config", Object)]),
    ("room.update", r#"{"room":"r"}"#, &[("room", Text), ("config", Object)]),
    ("room.delete", r#"{"room":"r"}"#, &[("room", Text)]),
    ("room.info", r#"{"room":"r"}"#, &[("room", Text)]),
    ("room.members", r#"{"room":"r"}"#, &[("room", Text), ("limit", Whole), ("after", Text)]),
    ("room.invite", r#"{"room":"r","user":"u"}"#, MODERATION),
    ("room.mute", r#"{"room":"r","user":"u"}"#, MODERATION),
    ("room.unmute", r#"{"room":"r","user":"u"}"#, MODERATION),
    ("room.kick", r#"{"room":"r","user":"u"}"#, MODERATION),
    ("room.ban", r#"{"room":"r","user":"u"}"#, MODERATION),
    ("room.ban", r#"{"room":"r","ip":"::1"}"#, &[("ip", Text)]),
    ("room.unban", r#"{"room":"r","ip":"::1"}"#, &[("ip", Text)]),
    ("room.role", r#"{"room":"r","user":"u","role":"guest"}"#, MODERATION),
    (
        "subscribe",
        r#"{"pattern":"p"}"#,
        &[("pattern", Text), ("events", List), ("min_priority", Text)],
    ),
    ("unsubscribe", r#"{"pattern":"p"}"#, &[("pattern", Text)]),
    ("batch", r#"{"messages":[]}"#, &[("messages", List)]),
    ("cart.add", r"{}", &[("room", Text)]),
];

const MODERATION: &[(&str, Takes)] =
    &[("room", Text), ("user", Text), ("for_ms", Whole), ("role", Text), ("reason", Text)];

fn message(kind: &str, fields: &str) -> Map<String, Value> {
    let mut message: Map<String, Value> = serde_json::from_str(fields).unwrap();
    message.insert("type".to_owned(), kind.into());
    message.insert("id".to_owned(), 5.into());
    message
}

#[test]
fn the_good_forms_are_good() {
    for (kind, fields, _) in COMMANDS {
        let json = Value::from(message(kind, fields)).to_string();
        good(&json, |envelope| assert_eq!(envelope.id, RequestId::number(5), "{json}"));
    }
}

#[test]
fn fields_of_a_wrong_kind_are_refused() {
    let values = [
        (Text, json!("low")),
        (Whole, json!(1)),
        (Bool, json!(true)),
        (Object, json!({})),
        (List, json!([])),
    ];
    let never = [json!(null), json!(-1), json!(1.5), json!(1.0e300)];
    for (kind, fields, takes) in COMMANDS {
        for (field, takes) in takes.iter().filter(|(_, takes)| *takes != Any) {
            let wrong = values.iter().filter(|(is, _)| is != takes).map(|(_, value)| value);
            for value in wrong.chain(&never) {
                let mut message = message(kind, fields);
                message.insert((*field).to_owned(), value.clone());
                let json = Value::from(message).to_string();
                let answer = format!("`{field}` has the wrong kind");
                refused(&json, Some(5), ErrorCode::BadRequest, &answer);
            }
        }
    }
}

#[test]
fn missing_fields_are_named() {
    for (kind, fields, _) in COMMANDS {
        let required: Map<String, Value> = serde_json::from_str(fields).unwrap();
        for field in required.keys() {
            let mut message = message(kind, fields);
            message.remove(field);
            let json = Value::from(message).to_string();
            let field = if field == "ip" { "user" } else { field };
            let answer = format!("`{field}` is missing");
            refused(&json, Some(5), ErrorCode::BadRequest, &answer);
        }
    }
}

/// The MessagePack of a map with this pair before all others.
fn with_pair_before(key: &str, value: &Value, rest: &Map<String, Value>) -> Vec<u8> {
    let mut packed = Vec::new();
    rmp::encode::write_map_len(&mut packed, u32::try_from(rest.len() + 1).unwrap()).unwrap();
    packed.extend(rmp_serde::to_vec(key).unwrap());
    packed.extend(rmp_serde::to_vec(value).unwrap());
    for (key, value) in rest {
        packed.extend(rmp_serde::to_vec(key).unwrap());
        packed.extend(rmp_serde::to_vec_named(value).unwrap());
    }
    packed
}

#[test]
fn fields_given_twice_are_refused() {
    for (kind, fields, takes) in COMMANDS {
        let known = takes.iter().map(|(field, _)| *field).chain(["type", "id"]);
        for field in known {
            let mut message = message(kind, fields);
            message.entry(field).or_insert(json!(1));
            let rest = Value::from(message.clone()).to_string();
            let json = format!(r#"{{"{field}":1,{}"#, &rest[1..]);
            let binary = with_pair_before(field, &json!(1), &message);
            let text = read(MessageKind::Text, json.as_bytes()).unwrap_err();
            assert_eq!(text.message, format!("`{field}` is given twice"), "{json}");
            // Of two ids neither is the one to answer.
            let id = (field != "id").then_some(RequestId::Number(5));
            assert_eq!((text.id.clone(), text.code), (id, ErrorCode::BadRequest), "{json}");
            assert_eq!(read(MessageKind::Binary, &binary).unwrap_err(), text, "{json}");
        }
    }
    // A name is the same name however it is written.
    let bad = read(MessageKind::Text, br#"{"type":"leave","room":"r","r\u006fom":"r"}"#);
    assert_eq!(bad.unwrap_err().message, "`room` is given twice");
}

#[test]
fn values_that_a_field_cannot_have_are_refused() {
    let long = "x".repeat(129);
    let table = [
        (r#""type":"join","room":"r","min_priority":"urgent""#, "min_priority"),
        (r#""type":"join","room":"r","events":[""]"#, "events"),
        (r#""type":"publish","room":"r","data":1,"priority":"Low""#, "priority"),
        (r#""type":"publish","room":"r","data":1,"receipt":"read""#, "receipt"),
        (r#""type":"publish","room":"r","data":1,"event":"""#, "event"),
        (&format!(r#""type":"publish","room":"r","data":1,"event":"{long}""#), "event"),
        (&format!(r#""type":"publish","room":"r","data":1,"key":"{}""#, &long[..65]), "key"),
        (&format!(r#""type":"send","to":{{"user":"{long}"}},"data":1"#), "user"),
        (r#""type":"send","to":{"users":[""]},"data":1"#, "users"),
        (r#""type":"history","room":"r","limit":0"#, "limit"),
        (r#""type":"history","room":"r","limit":1001"#, "limit"),
        (r#""type":"presence","room":"r","limit":4294967396"#, "limit"),
        (r#""type":"room.ban","room":"r","ip":"10.0.0""#, "ip"),
        (r#""type":"room.role","room":"r","user":"u","role":"king""#, "role"),
        (r#""type":"room.kick","room":"r","user":"""#, "user"),
        (r#""type":"room.create","room":"r","config":{"type":"secret"}"#, "type"),
        (r#""type":"room.create","room":"r","config":{"mode":"exactly_once"}"#, "mode"),
        (r#""type":"room.create","room":"r","config":{"durability":"replicas:0"}"#, "durability"),
        (r#""type":"room.create","room":"r","config":{"slow_consumer":"wait"}"#, "slow_consumer"),
        (r#""type":"room.create","room":"r","config":{"publish_role":""}"#, "publish_role"),
        (r#""type":"room.create","room":"r","config":{"history_size":4294967296}"#, "history_size"),
        (r#""type":"room.create","room":"r","config":{"word_filter":{"action":"x"}}"#, "action"),
        (r#""type":"room.create","room":"r","config":{"word_filter":{"words":[""]}}"#, "words"),
        (r#""type":"""#, "type"),
        (&format!(r#""type":"{long}""#), "type"),
    ];
    for (fields, field) in table {
        let answer = format!("`{field}` has a value it cannot have");
        refused(&format!(r#"{{"id":6,{fields}}}"#), Some(6), ErrorCode::BadRequest, &answer);
    }
}

#[test]
fn maps_within_a_message_are_held_to_the_same() {
    let table = [
        (r#""type":"join","room":"r","since":{"epoch":"e"}"#, "`offset` is missing"),
        (r#""type":"join","room":"r","since":{"offset":1}"#, "`epoch` is missing"),
        (
            r#""type":"join","room":"r","since":{"epoch":1,"offset":1}"#,
            "`epoch` has the wrong kind",
        ),
        (r#""type":"join","room":"r","events":[1]"#, "`events` has the wrong kind"),
        (
            r#""type":"history","room":"r","since":{"epoch":"e","offset":1},
                "before":{"epoch":"e","offset":1}"#,
            "exactly one of `since` and `before`",
        ),
        (r#""type":"send","to":{},"data":1"#, "`user` is missing"),
        (r#""type":"send","to":{"users":"u"},"data":1"#, "`users` has the wrong kind"),
        (
            r#""type":"send","to":{"user":"u","users":[]},"data":1"#,
            "exactly one of `user` and `users`",
        ),
        (
            r#""type":"send","to":{"user":"u","connection":"c"},"data":1"#,
            "exactly one of `user` and `connection`",
        ),
        (
            r#""type":"publish","room":"r","data":1,"filter":{"users":[2]}"#,
            "`users` has the wrong kind",
        ),
        (
            r#""type":"publish","room":"r","data":1,"filter":{"max_connections":-1}"#,
            "`max_connections` has the wrong kind",
        ),
        (
            r#""type":"publish","room":"r","data":1,"filter":{"metadata":{"a":1.5}}"#,
            "`metadata` has the wrong kind",
        ),
        (
            r#""type":"publish","room":"r","data":1,"filter":{"metadata":{"a":[1]}}"#,
            "`metadata` has the wrong kind",
        ),
        (r#""type":"room.ban","room":"r","user":"u","ip":"::1""#, "exactly one of `user` and `ip`"),
        (
            r#""type":"room.create","room":"r","config":{"rate":{"burst":1}}"#,
            "`per_second` is missing",
        ),
        (
            r#""type":"room.create","room":"r","config":{"metadata":[]}"#,
            "`metadata` has the wrong kind",
        ),
        (
            r#""type":"room.create","room":"r","config":{"word_filter":[]}"#,
            "`word_filter` has the wrong kind",
        ),
    ];
    for (fields, answer) in table {
        refused(&format!(r#"{{"id":6,{fields}}}"#), Some(6), ErrorCode::BadRequest, answer);
    }
    let twice = br#"{"type":"join","room":"r","since":{"epoch":"e","epoch":"e","offset":1}}"#;
    let bad = read(MessageKind::Text, twice).unwrap_err();
    assert_eq!(bad.message, "`epoch` is given twice");
    let twice = br#"{"type":"broadcast","data":1,"filter":{"metadata":{"a":1,"\u0061":2}}}"#;
    let bad = read(MessageKind::Text, twice).unwrap_err();
    assert_eq!(bad.message, "`metadata` is given twice");
}

#[test]
fn lists_have_an_end() {
    let texts = |count: usize| {
        let texts: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        serde_json::to_string(&texts).unwrap()
    };
    good(&format!(r#"{{"type":"join","room":"r","events":{}}}"#, texts(64)), |_| {});
    let events = format!(r#"{{"type":"join","room":"r","events":{},"id":6}}"#, texts(65));
    refused(&events, Some(6), ErrorCode::LimitExceeded, "`events` is too long a list");
    let users = format!(r#"{{"type":"send","to":{{"users":{}}},"data":1}}"#, texts(1_001));
    refused(&users, None, ErrorCode::LimitExceeded, "`users` is too long a list");
    let pairs: Vec<_> = (0..17).map(|n| format!(r#""{n}":1"#)).collect();
    let metadata = format!(
        r#"{{"type":"broadcast","data":1,"filter":{{"metadata":{{{}}}}}}}"#,
        pairs.join(",")
    );
    refused(&metadata, None, ErrorCode::LimitExceeded, "`metadata` is too long a list");
}

#[test]
fn a_bad_id_is_not_echoed() {
    let bad_value = "`id` has a value it cannot have";
    let wrong_kind = "`id` has the wrong kind";
    let long = format!("{:?}", "x".repeat(65));
    let table = [
        ("9007199254740992", bad_value),
        ("18446744073709551615", bad_value),
        (long.as_str(), bad_value),
        ("-1", wrong_kind),
        ("1.5", wrong_kind),
        ("null", wrong_kind),
        ("true", wrong_kind),
        ("[1]", wrong_kind),
        ("{}", wrong_kind),
    ];
    for (id, answer) in table {
        let json = format!(r#"{{"type":"rooms","id":{id}}}"#);
        refused(&json, None, ErrorCode::BadRequest, answer);
    }
    for id in ["1e3", "1.0", "-0", "18446744073709551616"] {
        let json = format!(r#"{{"type":"rooms","id":{id}}}"#);
        let bad = read(MessageKind::Text, json.as_bytes()).unwrap_err();
        assert_eq!((bad.id, &*bad.message), (None, wrong_kind), "{id}");
    }
}

#[test]
fn a_message_needs_a_type() {
    for (json, answer) in [
        (r#"{"id":5}"#, "`type` is missing"),
        (r#"{"id":5,"type":null}"#, "`type` has the wrong kind"),
        (r#"{"id":5,"type":4}"#, "`type` has the wrong kind"),
        (r#"{"id":5,"type":["join"]}"#, "`type` has the wrong kind"),
    ] {
        refused(json, Some(5), ErrorCode::BadRequest, answer);
    }
}

#[test]
fn a_message_is_an_object() {
    for json in ["null", "true", "4", r#""join""#, "-1.5"] {
        refused(json, None, ErrorCode::BadRequest, "a message is an object");
    }
}

#[test]
fn a_response_is_never_answered_but_with_an_error_that_has_no_id() {
    let neither = "exactly one of `data` and `error`";
    for (fields, answer) in [
        (r#""id":3"#, neither),
        (r#""id":3,"data":1,"error":{"code":"c","message":"m"}"#, neither),
        (r#""id":3,"error":{"code":"c"}"#, "`message` is missing"),
        (r#""id":3,"error":{"message":"m"}"#, "`code` is missing"),
        (r#""id":3,"error":{"code":4,"message":"m"}"#, "`code` has the wrong kind"),
        (r#""id":3,"error":"no""#, "`error` has the wrong kind"),
        (r#""data":1"#, "`id` is missing"),
        (r#""id":-3,"data":1"#, "`id` has the wrong kind"),
    ] {
        let json = format!(r#"{{"type":"response",{fields}}}"#);
        refused(&json, None, ErrorCode::BadRequest, answer);
    }
    let twice = read(MessageKind::Text, br#"{"type":"response","id":3,"data":1,"data":2}"#);
    assert_eq!(twice.unwrap_err().id, None);
}

#[test]
fn malformed_json_is_refused_and_the_id_kept_where_it_was_read() {
    let table: &[(&str, Option<u64>)] = &[
        ("", None),
        (" ", None),
        ("{", None),
        ("}", None),
        ("{]", None),
        (r#"{"type":"rooms"}}"#, None),
        (r#"{"id":1,"type":"rooms"} {}"#, Some(1)),
        (r#"{"id":1,"type":"rooms",}"#, Some(1)),
        (r#"{,"type":"rooms"}"#, None),
        (r#"{"id":1 "type":"rooms"}"#, Some(1)),
        (r#"{"id":1,,"type":"rooms"}"#, Some(1)),
        (r#"{"id":1,"type" "rooms"}"#, Some(1)),
        (r#"{"id":1,"type":'rooms'}"#, Some(1)),
        (r#"{"id":1,type:"rooms"}"#, Some(1)),
        (r#"{"id":1,"type":"rooms","data":[1,]}"#, Some(1)),
        (r#"{"id":1,"type":"rooms","data":{"a":1]}"#, Some(1)),
        (r#"{"id":1,"type":"rooms","data":"\x"}"#, Some(1)),
        (r#"{"id":1,"type":"rooms","data":"\ud800"}"#, Some(1)),
        (r#"{"id":1,"type":"rooms","data":tru}"#, Some(1)),
        (r#"{"type":"rooms","data":nul,"id":1}"#, None),
        (r#"{"id":01,"type":"rooms"}"#, None),
        ("{\"id\":1,\"type\":\"ro\noms\"}", Some(1)),
        ("[", None),
        (r#"[{"id":1,"type":"rooms"}"#, None),
        (r#"[{"id":1,"type":"rooms"},]"#, None),
        (r#"[{"id":1,"type":"rooms"}] 1"#, None),
    ];
    for (json, id) in table {
        let bad = read(MessageKind::Text, json.as_bytes()).unwrap_err();
        assert_eq!(bad.id, id.map(RequestId::Number), "{json}");
        assert_eq!((bad.code, &*bad.message), (ErrorCode::BadRequest, "malformed"), "{json}");
    }
}

#[test]
fn malformed_messagepack_is_refused_at_every_cut() {
    let whole = packed(r#"{"id":1,"type":"publish","room":"r","data":{"a":[1,"x",null]}}"#);
    for end in 0..whole.len() {
        let bad = read(MessageKind::Binary, &whole[..end]).unwrap_err();
        assert_eq!(bad.message, "malformed", "cut at {end}");
    }
    let longer = [&whole[..], &[0xc0]].concat();
    assert_eq!(read(MessageKind::Binary, &longer).unwrap_err().message, "malformed");
    for (bytes, answer) in [
        (&[0xc1][..], "malformed"),
        (b"\x81\xa4type\xc1", "malformed"),
        (b"\x81\xa4type\xa2\xc3\x28", "malformed"),
        (b"\x81\x01\xa1x", "a map has a key that is not a string"),
        (b"\x82\xa4type\xa5rooms\xa1d\x81\xc0\x01", "a map has a key that is not a string"),
        (b"\xdf\xff\xff\xff\xff", "malformed"),
        (b"\xdd\xff\xff\xff\xff\xc0", "malformed"),
        (b"\x81\xa1x\xc6\xff\xff\xff\xff", "malformed"),
    ] {
        let bad = read(MessageKind::Binary, bytes).unwrap_err();
        assert_eq!((bad.code, &*bad.message), (ErrorCode::BadRequest, answer), "{bytes:x?}");
    }
}

#[test]
fn messages_nest_no_deeper_than_allowed() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"id":5,"type":"ping","data":{open}{close}}}"#)
    };
    // The message itself is one level.
    good(&nested(31), |_| {});
    refused(&nested(32), Some(5), ErrorCode::BadRequest, "nested too deep");
    for depth in [100_000, 10_000_000] {
        for open in ["[", r#"{"a":"#] {
            let bomb = format!(r#"{{"id":5,"type":"ping","data":{}"#, open.repeat(depth));
            let bad = read(MessageKind::Text, bomb.as_bytes()).unwrap_err();
            assert_eq!(bad.message, "nested too deep");
        }
        let bomb = [&b"\x81\xa4data"[..], &vec![0x91; depth]].concat();
        let bad = read(MessageKind::Binary, &bomb).unwrap_err();
        assert_eq!(bad.message, "nested too deep");
    }
}

#[test]
fn numbers_have_an_end() {
    let number = |digits: usize| format!(r#"{{"type":"ping","data":{}}}"#, "7".repeat(digits));
    assert!(read(MessageKind::Text, number(256).as_bytes()).is_ok());
    let bad = read(MessageKind::Text, number(257).as_bytes()).unwrap_err();
    assert_eq!(bad.message, "a number has too many digits");
}
