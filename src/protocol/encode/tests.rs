//! Every event, in both codecs, read back by code that is not ours.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::event::{
    Member, PresentUser, Published, Receipt, Reply, RoomInfo, WelcomeRoom,
};
use crate::protocol::{
    Data, Durability, ErrorCode, FilterAction, GapReason, LeftReason, Mode, PresenceAction, Role,
    RoomPatch, RoomRate, RoomType, Secret, SlowConsumer, WordFilter,
};

/// The event in both codecs must say `expected`, and in JSON in this order.
fn says(event: &Event<'_>, expected: &Value) {
    let mut out = b"kept".to_vec();
    encode(event, Codec::Json, &mut out);
    let text = std::str::from_utf8(&out).unwrap().strip_prefix("kept").unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *expected, "{text}");
    assert!(text.starts_with(r#"{"type":""#), "the type comes first: {text}");

    let mut packed = Vec::new();
    encode(event, Codec::MessagePack, &mut packed);
    let mut reader = &packed[..];
    let value: Value = rmp_serde::decode::from_read(&mut reader).unwrap();
    assert_eq!(value, *expected);
    assert!(reader.is_empty());
}

const PLACE: Place<'_> = Place { epoch: "e1", offset: u64::MAX };
const JOINED: JoinedRoom<'_> = JoinedRoom { room: "r", role: Role::Member, at: PLACE };

fn json(text: &str) -> Data<'_> {
    Data::new(Codec::Json, text.as_bytes(), 32).unwrap()
}

/// With a room's place and role, as `rooms` lists it.
fn joined_json() -> Value {
    json!({"room": "r", "role": "member", "epoch": "e1", "offset": u64::MAX})
}

#[test]
fn welcome() {
    let room = WelcomeRoom { joined: JOINED, recovered: true, local: false };
    let rooms = [room, WelcomeRoom { local: true, ..room }];
    let mut room = joined_json();
    room["recovered"] = true.into();
    let mut local = room.clone();
    local["local"] = true.into();
    let mut event = Welcome {
        connection: "c",
        session: Some("s".to_owned().into()),
        user: Some("u"),
        tenant: "t",
        heartbeat_ms: 25_000,
        expires_at_ms: Some(9),
        recovered: true,
        rooms: &rooms,
    };
    let expected = json!({"type": "welcome", "protocol": 1, "connection": "c", "session": "s",
        "user": "u", "tenant": "t", "heartbeat_ms": 25_000, "expires_at": 9, "recovered": true,
        "rooms": [room, local]});
    says(&Event::Welcome(event.clone()), &expected);
    (event.session, event.user, event.expires_at_ms, event.rooms) = (None, None, None, &[]);
    let expected = json!({"type": "welcome", "protocol": 1, "connection": "c", "user": null,
        "tenant": "t", "heartbeat_ms": 25_000, "recovered": true, "rooms": []});
    says(&Event::Welcome(event), &expected);
}

#[test]
fn message() {
    let mut event = Message {
        room: "r",
        at: Some(PLACE),
        data: json(r#"{"a":[1,"x"]}"#),
        event: Some("chat"),
        from: Some(Sender { user: Some("u"), connection: "c" }),
        at_ms: 5,
        priority: Priority::High,
        redelivered: true,
    };
    let expected = json!({"type": "message", "room": "r", "epoch": "e1", "offset": u64::MAX,
        "event": "chat", "from": {"user": "u", "connection": "c"}, "at": 5, "priority": "high",
        "redelivered": true, "data": {"a": [1, "x"]}});
    says(&Event::Message(event), &expected);
    event.data = Data::new(Codec::MessagePack, b"\xc4\x01\xff", 1).unwrap();
    event.from = Some(Sender { user: None, connection: "c" });
    (event.at, event.event, event.redelivered) = (None, None, false);
    event.priority = Priority::Normal;
    let mut out = Vec::new();
    encode(&Event::Message(event), Codec::Json, &mut out);
    let expected = r#"{"type":"message","room":"r","from":{"user":null,"connection":"c"},"at":5,"data":"/w=="}"#;
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn errors_of_every_code() {
    let id = RequestId::Text("a\"b".into());
    for code in ErrorCode::ALL {
        let event = Error { id: Some(&id), code: *code, message: "why\n", retry_after_ms: Some(7) };
        let expected = json!({"type": "error", "id": "a\"b", "code": code.as_str(),
            "message": "why\n", "retry_after_ms": 7});
        says(&Event::Error(event), &expected);
        let event = Error { id: None, retry_after_ms: None, ..event };
        let expected = json!({"type": "error", "code": code.as_str(), "message": "why\n"});
        says(&Event::Error(event), &expected);
    }
}

#[test]
fn notices() {
    says(
        &Event::AuthRequired { within_ms: 10_000 },
        &json!({"type": "auth_required", "within_ms": 10_000}),
    );
    says(&Event::Expiring { at_ms: 8 }, &json!({"type": "expiring", "at": 8}));
    for action in PresenceAction::ALL {
        for info in [None, Some(json("[1]"))] {
            let mut expected =
                json!({"type": "presence", "room": "r", "action": action.as_str(), "user": "u"});
            if info.is_some() {
                expected["info"] = json!([1]);
            }
            says(
                &Event::Presence(Presence { room: "r", action: *action, user: "u", info }),
                &expected,
            );
        }
    }
    for reason in GapReason::ALL {
        let gap = Gap { room: "r", epoch: "e", from: 1, to: 1 << 63, reason: *reason };
        let expected = json!({"type": "gap", "room": "r", "epoch": "e", "from": 1,
            "to": 1_u64 << 63, "reason": reason.as_str()});
        says(&Event::Gap(gap), &expected);
    }
    for reason in LeftReason::ALL {
        let left = Event::Left { room: "r", reason: *reason, by: Some("m") };
        let expected = json!({"type": "left", "room": "r", "reason": reason.as_str(), "by": "m"});
        says(&left, &expected);
        let left = Event::Left { room: "r", reason: *reason, by: None };
        says(&left, &json!({"type": "left", "room": "r", "reason": reason.as_str()}));
    }
    for reason in CloseReason::ALL {
        let event = Event::Disconnect { reason: *reason, retry_after_ms: Some(3) };
        let expected = json!({"type": "disconnect", "reason": reason.as_str(),
            "reconnect": reason.reconnect(), "retry_after_ms": 3});
        says(&event, &expected);
        let event = Event::Disconnect { reason: *reason, retry_after_ms: None };
        let expected = json!({"type": "disconnect", "reason": reason.as_str(),
            "reconnect": reason.reconnect()});
        says(&event, &expected);
    }
}

#[test]
fn pong_and_request() {
    let id = RequestId::Number(RequestId::NUMBER_MAX);
    let event = Event::Pong { id: Some(&id), data: Some(json("null")), at_ms: 1 };
    let expected = json!({"type": "pong", "id": RequestId::NUMBER_MAX, "data": null, "at": 1});
    says(&event, &expected);
    says(&Event::Pong { id: None, data: None, at_ms: 1 }, &json!({"type": "pong", "at": 1}));
    let event = Event::Request { id: &id, event: "q", data: json("{}"), within_ms: 2 };
    let expected = json!({"type": "request", "id": RequestId::NUMBER_MAX, "event": "q",
        "data": {}, "within_ms": 2});
    says(&event, &expected);
}

fn whole_config() -> RoomPatch {
    RoomPatch {
        room_type: Some(RoomType::Private),
        persistent: Some(true),
        password: Some(Secret("never written".into())),
        max_members: Some(u32::MAX),
        mode: Some(Mode::Reliable),
        durability: Some(Durability::Replicas(3)),
        history_size: Some(1),
        history_bytes: Some(u64::MAX),
        history_ttl_ms: Some(2),
        slow_consumer: Some(SlowConsumer::DropOldest),
        presence: Some(false),
        publish_role: Some(Role::Admin),
        message_bytes: Some(3),
        rate: Some(RoomRate { per_second: 4, burst: 5 }),
        slow_mode_ms: Some(6),
        word_filter: Some(WordFilter {
            words: vec!["w".to_owned()],
            patterns: vec!["p".to_owned(), "q".to_owned()],
            action: FilterAction::Mask,
        }),
        compress: Some(true),
        metadata: Some(json(r#"{"m":1}"#).to_owned()),
        parent_inherit: Some(true),
    }
}

fn whole_config_json() -> Value {
    json!({"type": "private", "persistent": true, "max_members": u32::MAX, "mode": "reliable",
        "durability": "replicas:3", "history_size": 1, "history_bytes": u64::MAX,
        "history_ttl_ms": 2, "slow_consumer": "drop_oldest", "presence": false,
        "publish_role": "admin", "message_bytes": 3, "rate": {"per_second": 4, "burst": 5},
        "slow_mode_ms": 6, "word_filter": {"words": ["w"], "patterns": ["p", "q"],
        "action": "mask"}, "compress": true, "metadata": {"m": 1}, "parent_inherit": true})
}

#[test]
fn room_changes() {
    let config = whole_config();
    let table = [
        (
            RoomChange::Updated { config: &config },
            json!({"change": "updated", "config": whole_config_json()}),
        ),
        (
            RoomChange::Invited { by: Some("m"), role: Some(Role::Guest) },
            json!({"change": "invited", "role": "guest", "by": "m"}),
        ),
        (RoomChange::Invited { by: None, role: None }, json!({"change": "invited"})),
        (
            RoomChange::Muted { until_ms: Some(4), by: Some("m"), reason: Some("so") },
            json!({"change": "muted", "until": 4, "by": "m", "reason": "so"}),
        ),
        (RoomChange::Muted { until_ms: None, by: None, reason: None }, json!({"change": "muted"})),
        (RoomChange::Unmuted { by: Some("m") }, json!({"change": "unmuted", "by": "m"})),
        (
            RoomChange::Role { role: Role::Owner, by: None },
            json!({"change": "role", "role": "owner"}),
        ),
    ];
    for (change, mut expected) in table {
        expected["type"] = "room".into();
        expected["room"] = "r".into();
        says(&Event::Room { room: "r", change }, &expected);
    }
}

#[test]
fn replies_about_messages_and_the_connection() {
    let receipt = Receipt { delivered: 3, total: 4, partial: true };
    let published =
        Published { room: "r", at: Some(PLACE), duplicate: true, receipt: Some(receipt) };
    let bare = Published { room: "@all", at: None, duplicate: false, receipt: None };
    let whole = Receipt { partial: false, ..receipt };
    answers(&[
        (Reply::Done, json!({})),
        (
            Reply::Publish(published),
            json!({"room": "r", "epoch": "e1", "offset": u64::MAX, "duplicate": true,
                "delivered": 3, "total": 4, "partial": true}),
        ),
        (Reply::Publish(bare), json!({"room": "@all"})),
        (
            Reply::Publish(Published { receipt: Some(whole), ..bare }),
            json!({"room": "@all", "delivered": 3, "total": 4}),
        ),
        (Reply::Send { delivered: 2 }, json!({"delivered": 2})),
        (
            Reply::Auth { user: Some("u"), expires_at_ms: Some(1) },
            json!({"user": "u", "expires_at": 1}),
        ),
        (Reply::Auth { user: None, expires_at_ms: None }, json!({"user": null})),
        (Reply::Data(Some(json("[2]"))), json!({"data": [2]})),
        (Reply::Data(None), json!({"data": null})),
        (Reply::Pattern("a/*"), json!({"pattern": "a/*"})),
        (Reply::Rooms(&[JOINED]), json!({"rooms": [joined_json()]})),
    ]);
}

#[test]
fn replies_about_rooms() {
    let mut join = joined_json();
    join["recovered"] = false.into();
    join["user_count"] = 9.into();
    let mut local = join.clone();
    local["local"] = true.into();
    let message = Message {
        room: "r",
        at: Some(PLACE),
        data: json("1"),
        event: None,
        from: None,
        at_ms: 5,
        priority: Priority::Low,
        redelivered: false,
    };
    let message_json = json!({"type": "message", "room": "r", "epoch": "e1", "offset": u64::MAX,
        "at": 5, "priority": "low", "data": 1});
    let config = whole_config();
    let empty = RoomPatch::default();
    let info = RoomInfo {
        room: "r",
        config: &empty,
        user_count: 1,
        member_count: 2,
        at: PLACE,
        created_at_ms: 3,
    };
    let users = [
        PresentUser { user: "a", info: Some(json("true")), connections: 2 },
        PresentUser { user: "b", info: None, connections: 1 },
    ];
    let members = [Member { user: "a", role: Role::Owner, muted: false, joined_at_ms: 4 }];
    answers(&[
        (Reply::Join { joined: JOINED, recovered: false, user_count: 9, local: false }, join),
        (Reply::Join { joined: JOINED, recovered: false, user_count: 9, local: true }, local),
        (Reply::Leave { room: "r" }, json!({"room": "r"})),
        (
            Reply::History { room: "r", at: PLACE, messages: &[message, message], truncated: true },
            json!({"room": "r", "epoch": "e1", "offset": u64::MAX, "truncated": true,
                "messages": [message_json, message_json]}),
        ),
        (
            Reply::Presence { room: "r", count: 2, users: &users, next: Some("b") },
            json!({"room": "r", "count": 2, "next": "b", "users": [
                {"user": "a", "info": true, "connections": 2},
                {"user": "b", "info": null, "connections": 1}]}),
        ),
        (
            Reply::Room { room: "r", config: &config, role: Role::Owner },
            json!({"room": "r", "config": whole_config_json(), "role": "owner"}),
        ),
        (
            Reply::RoomInfo(info),
            json!({"room": "r", "config": {}, "user_count": 1, "member_count": 2,
                "epoch": "e1", "offset": u64::MAX, "created_at": 3}),
        ),
        (
            Reply::Members { members: &members, next: None },
            json!({"members": [{"user": "a", "role": "owner", "muted": false, "joined_at": 4}]}),
        ),
    ]);
}

/// Each reply as an `ok` must say this.
fn answers(table: &[(Reply<'_>, Value)]) {
    let id = RequestId::Number(5);
    for (reply, expected) in table {
        let mut expected = expected.clone();
        expected["type"] = "ok".into();
        expected["id"] = 5.into();
        says(&Event::Ok { id: &id, reply: reply.clone() }, &expected);
    }
}

#[test]
fn what_config_is_written_reads_back() {
    let mut config = whole_config();
    for codec in [Codec::Json, Codec::MessagePack] {
        let mut out = Vec::new();
        encode(
            &Event::Room { room: "r", change: RoomChange::Updated { config: &config } },
            codec,
            &mut out,
        );
        let event: Value = match codec {
            Codec::Json => serde_json::from_slice(&out).unwrap(),
            Codec::MessagePack => rmp_serde::from_slice(&out).unwrap(),
        };
        let command = json!({"type": "room.update", "room": "r", "config": event["config"]});
        let text = command.to_string();
        let limits = crate::protocol::ParseLimits { depth: 32, batch_messages: 1 };
        let mut messages =
            crate::protocol::parse(crate::ws::MessageKind::Text, text.as_bytes(), &limits);
        let envelope = messages.next().unwrap().unwrap();
        let crate::protocol::Command::RoomUpdate(update) = envelope.command else {
            panic!("{text} is no update")
        };
        config.password = None;
        assert_eq!(*update.config, config);
    }
}

proptest! {
    #[test]
    fn any_text_survives(room in any::<String>(), user in any::<String>(), offset in any::<u64>()) {
        let event = Event::Message(Message {
            room: &room,
            at: Some(Place { epoch: &user, offset }),
            data: Data::null(Codec::Json),
            event: Some(&room),
            from: Some(Sender { user: Some(&user), connection: &room }),
            at_ms: offset,
            priority: Priority::Normal,
            redelivered: false,
        });
        let expected = json!({"type": "message", "room": room, "epoch": user, "offset": offset,
            "event": room, "from": {"user": user, "connection": room}, "at": offset,
            "data": null});
        says(&event, &expected);
    }
}
