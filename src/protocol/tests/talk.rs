//! Good forms: what is sent, and what concerns the connection.

use serde_json::json;

use super::super::command::*;
use super::*;

#[test]
fn auth() {
    good(r#"{"type":"auth","token":"ey.J","id":"a"}"#, |envelope| {
        assert_eq!(envelope.id, RequestId::text("a"));
        assert!(!format!("{envelope:?}").contains("ey.J"), "a token shows in Debug");
        let Command::Auth(auth) = envelope.command else { panic!("{envelope:?}") };
        assert_eq!(auth.token.expose(), "ey.J");
    });
}

#[test]
fn publish_with_nothing_but_data() {
    good(r#"{"type":"publish","room":"r","data":[1]}"#, |envelope| {
        assert_eq!(envelope.id, None);
        let Command::Publish(Publish { room, post }) = envelope.command else { panic!() };
        assert_eq!(room, "r");
        assert_eq!(value(post.data), json!([1]));
        assert_eq!((post.event, post.key, post.ttl_ms), (None, None, None));
        assert!(!post.exclude_self && !post.transient && !post.receipt);
        assert_eq!(post.priority, Priority::Normal);
        assert_eq!(post.filter, None);
    });
}

/// All that `publish` and `broadcast` can say.
const POST: &str = r#""data":null,"event":"chat","exclude_self":true,"transient":true,"key":"k1",
    "priority":"critical","ttl_ms":18446744073709551615,"receipt":"delivered",
    "filter":{"users":["a","b"],"exclude_users":["c"],"min_connection_age_ms":5,
    "max_connections":6,"metadata":{"plan":"pro","beta":true,"level":-3}},"id":9007199254740991"#;

fn check_post(post: Post<'_>) {
    assert_eq!(value(post.data), json!(null));
    assert_eq!(post.event.as_deref(), Some("chat"));
    assert_eq!(post.key.as_deref(), Some("k1"));
    assert!(post.exclude_self && post.transient && post.receipt);
    assert_eq!(post.priority, Priority::Critical);
    assert_eq!(post.ttl_ms, Some(u64::MAX));
    let mut filter = *post.filter.unwrap();
    // The MessagePack form has its keys sorted.
    filter.metadata.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = Filter {
        users: Some(["a".into(), "b".into()].into()),
        exclude_users: ["c".into()].into(),
        metadata: [
            ("beta".into(), Scalar::Bool(true)),
            ("level".into(), Scalar::Integer(-3)),
            ("plan".into(), Scalar::Text("pro".into())),
        ]
        .into(),
        min_connection_age_ms: Some(5),
        max_connections: Some(6),
    };
    assert_eq!(filter, expected);
}

#[test]
fn publish_and_broadcast_with_everything() {
    good(&format!(r#"{{"type":"publish","room":"r",{POST}}}"#), |envelope| {
        assert_eq!(envelope.id, RequestId::number((1 << 53) - 1));
        let Command::Publish(publish) = envelope.command else { panic!() };
        check_post(publish.post);
    });
    good(&format!(r#"{{"type":"broadcast",{POST}}}"#), |envelope| {
        let Command::Broadcast(post) = envelope.command else { panic!() };
        check_post(post);
    });
}

#[test]
fn send_message_is_publish_with_content() {
    good(r#"{"type":"send_message","room":"r","content":{"a":1},"data":2}"#, |envelope| {
        let Command::Publish(Publish { room, post }) = envelope.command else { panic!() };
        assert_eq!((room.as_ref(), value(post.data)), ("r", json!({"a": 1})));
    });
}

#[test]
fn send_to_a_user_to_users_to_a_connection() {
    let table = [
        (r#"{"user":"u"}"#, Recipient::User("u".into())),
        (r#"{"users":["u","v"]}"#, Recipient::Users(vec!["u".into(), "v".into()])),
        (r#"{"users":[]}"#, Recipient::Users(vec![])),
        (r#"{"connection":"c"}"#, Recipient::Connection("c".into())),
    ];
    for (to, recipient) in table {
        let json = format!(
            r#"{{"type":"send","to":{to},"data":1,"event":"e","transient":true,
                "priority":"low","ttl_ms":7,"id":0}}"#
        );
        good(&json, |envelope| {
            assert_eq!(envelope.id, RequestId::number(0));
            let Command::Send(send) = envelope.command else { panic!() };
            assert_eq!(send.to, recipient);
            assert_eq!(value(send.data), json!(1));
            assert_eq!(send.event.as_deref(), Some("e"));
            assert_eq!((send.transient, send.priority), (true, Priority::Low));
            assert_eq!(send.ttl_ms, Some(7));
        });
    }
}

#[test]
fn state_set_and_get() {
    good(r#"{"type":"state.set","data":{"cart":[1]}}"#, |envelope| {
        let Command::StateSet(state) = envelope.command else { panic!() };
        assert_eq!(value(state.data), json!({"cart": [1]}));
    });
    good(r#"{"type":"state.get"}"#, |envelope| {
        assert!(matches!(envelope.command, Command::StateGet));
    });
}

#[test]
fn subscribe_and_unsubscribe() {
    good(r#"{"type":"subscribe","pattern":"chat:*","events":["e"],"min_priority":"high"}"#, |e| {
        let Command::Subscribe(subscribe) = e.command else { panic!() };
        assert_eq!(subscribe.pattern, "chat:*");
        assert_eq!(subscribe.events, Some(vec!["e".into()]));
        assert_eq!(subscribe.min_priority, Priority::High);
    });
    good(r#"{"type":"subscribe","pattern":"p"}"#, |envelope| {
        let Command::Subscribe(subscribe) = envelope.command else { panic!() };
        assert_eq!((subscribe.events, subscribe.min_priority), (None, Priority::Low));
    });
    good(r#"{"type":"unsubscribe","pattern":"chat:*"}"#, |envelope| {
        let Command::Unsubscribe(unsubscribe) = envelope.command else { panic!() };
        assert_eq!(unsubscribe.pattern, "chat:*");
    });
}

#[test]
fn ping() {
    good(r#"{"type":"ping"}"#, |envelope| {
        assert!(matches!(envelope.command, Command::Ping(Ping { data: None })));
    });
    good(r#"{"type":"ping","id":1,"data":"x"}"#, |envelope| {
        assert_eq!(envelope.id, RequestId::number(1));
        let Command::Ping(Ping { data: Some(data) }) = envelope.command else { panic!() };
        assert_eq!(value(data), json!("x"));
    });
}

#[test]
fn response() {
    good(r#"{"type":"response","id":7,"data":[2]}"#, |envelope| {
        assert_eq!(envelope.id, None, "a response is never answered");
        let Command::Response(response) = envelope.command else { panic!() };
        assert_eq!(response.id, RequestId::Number(7));
        assert_eq!(value(response.outcome.unwrap()), json!([2]));
    });
    good(r#"{"type":"response","id":"s","error":{"code":"no","message":"why"}}"#, |envelope| {
        let Command::Response(response) = envelope.command else { panic!() };
        let failure = response.outcome.unwrap_err();
        assert_eq!((failure.code.as_ref(), failure.message.as_ref()), ("no", "why"));
    });
}

#[test]
fn any_other_type_is_an_event_of_the_application() {
    good(r#"{"type":"cart.add","data":{"sku":1},"room":"shop","id":3}"#, |envelope| {
        let Command::Application(application) = envelope.command else { panic!() };
        assert_eq!(application.event, "cart.add");
        assert_eq!(application.room.as_deref(), Some("shop"));
        assert_eq!(value(application.data.unwrap()), json!({"sku": 1}));
    });
    // Words of ours, but not commands.
    for kind in ["room.burn", "room.", "welcome", "Publish", "join ", "message", "ok"] {
        good(&format!(r#"{{"type":"{kind}"}}"#), |envelope| {
            let Command::Application(application) = envelope.command else { panic!() };
            assert_eq!(application.event, kind);
            assert!(application.data.is_none() && application.room.is_none());
        });
    }
}

#[test]
fn unknown_fields_are_passed_over_however_often() {
    good(r#"{"x":1,"type":"leave","x":{"type":"join"},"room":"r","y":[{"room":2}]}"#, |envelope| {
        let Command::Leave(leave) = envelope.command else { panic!() };
        assert_eq!(leave.room, "r");
    });
}

#[test]
fn names_and_words_may_be_escaped() {
    let json = r#" { "t\u0079pe" : "le\u0061ve" , "room" : "\ud83d\ude00\/\"\n" } "#;
    let envelope = read(MessageKind::Text, json.as_bytes()).unwrap();
    let Command::Leave(leave) = envelope.command else { panic!() };
    assert_eq!(leave.room, "😀/\"\n");
}
