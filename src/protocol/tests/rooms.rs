//! Good forms: what concerns rooms.

use serde_json::json;

use super::super::command::*;
use super::*;

#[test]
fn join_with_nothing_but_a_room() {
    for kind in ["join", "join_room"] {
        good(&format!(r#"{{"type":"{kind}","room":"a/b"}}"#), |envelope| {
            let Command::Join(join) = envelope.command else { panic!() };
            assert_eq!(join.room, "a/b");
            assert!(join.token.is_none() && join.password.is_none() && join.since.is_none());
            assert!(!join.presence && join.events.is_none());
            assert_eq!(join.min_priority, Priority::Low);
        });
    }
}

#[test]
fn join_with_everything() {
    let json = r#"{"type":"join","room":"r","token":"t0k","password":"pw",
        "since":{"offset":3,"epoch":"e"},"presence":true,"events":["a","b"],
        "min_priority":"normal"}"#;
    good(json, |envelope| {
        let shown = format!("{envelope:?}");
        assert!(!shown.contains("t0k") && !shown.contains("pw"), "a secret shows in Debug");
        let Command::Join(join) = envelope.command else { panic!() };
        assert_eq!(join.token.as_ref().map(Secret::expose), Some("t0k"));
        assert_eq!(join.password.as_ref().map(Secret::expose), Some("pw"));
        assert_eq!(join.since, Some(Position { epoch: "e".into(), offset: 3 }));
        assert!(join.presence);
        assert_eq!(join.events, Some(vec!["a".into(), "b".into()]));
        assert_eq!(join.min_priority, Priority::Normal);
    });
}

#[test]
fn leave_and_ack() {
    for kind in ["leave", "leave_room"] {
        good(&format!(r#"{{"type":"{kind}","room":"r"}}"#), |envelope| {
            let Command::Leave(leave) = envelope.command else { panic!() };
            assert_eq!(leave.room, "r");
        });
    }
    good(r#"{"type":"ack","room":"r","offset":12}"#, |envelope| {
        let Command::Ack(ack) = envelope.command else { panic!() };
        assert_eq!((ack.room.as_ref(), ack.offset), ("r", 12));
    });
}

#[test]
fn history() {
    let place = || Position { epoch: "e".into(), offset: 5 };
    let table = [
        ("", None, 100, false),
        (r#","limit":1"#, None, 1, false),
        (r#","since":{"epoch":"e","offset":5}"#, Some(HistoryBound::Since(place())), 100, false),
        (
            r#","before":{"epoch":"e","offset":5},"reverse":true,"limit":1000"#,
            Some(HistoryBound::Before(place())),
            1_000,
            true,
        ),
    ];
    for (rest, bound, limit, reverse) in table {
        good(&format!(r#"{{"type":"history","room":"r"{rest}}}"#), |envelope| {
            let Command::History(history) = envelope.command else { panic!() };
            assert_eq!(history.room, "r");
            assert_eq!(history.bound, bound);
            assert_eq!((history.limit, history.reverse), (limit, reverse));
        });
    }
}

#[test]
fn presence_members_and_rooms() {
    for kind in ["presence", "room.members"] {
        let json = format!(r#"{{"type":"{kind}","room":"r","limit":7,"after":"c"}}"#);
        good(&json, |envelope| {
            let page = match envelope.command {
                Command::Presence(page) if kind == "presence" => page,
                Command::RoomMembers(page) if kind == "room.members" => page,
                other => panic!("{other:?}"),
            };
            assert_eq!((page.room.as_ref(), page.limit), ("r", 7));
            assert_eq!(page.after.as_deref(), Some("c"));
        });
    }
    good(r#"{"type":"presence.set","room":"r","info":{"mood":"fine"}}"#, |envelope| {
        let Command::PresenceSet(set) = envelope.command else { panic!() };
        assert_eq!((set.room.as_ref(), value(set.info)), ("r", json!({"mood": "fine"})));
    });
    good(r#"{"type":"rooms"}"#, |envelope| {
        assert!(matches!(envelope.command, Command::Rooms));
    });
}

const CONFIG: &str = r#"{"type":"invite_only","persistent":true,"password":"pw","max_members":5,
    "mode":"guaranteed","durability":"replicas:2","history_size":10,"history_bytes":11,
    "history_ttl_ms":12,"slow_consumer":"latest","presence":false,"publish_role":"moderator",
    "message_bytes":13,"rate":{"per_second":1,"burst":2},"slow_mode_ms":14,
    "word_filter":{"words":["heck"],"patterns":["h.ck"],"action":"mask"},"compress":true,
    "metadata":{"topic":"x"},"parent_inherit":true}"#;

#[test]
fn create_and_update_with_everything() {
    for kind in ["room.create", "room.update"] {
        let json = format!(r#"{{"type":"{kind}","room":"r","config":{CONFIG}}}"#);
        good(&json, |envelope| {
            let configure = match envelope.command {
                Command::RoomCreate(configure) if kind == "room.create" => configure,
                Command::RoomUpdate(configure) if kind == "room.update" => configure,
                other => panic!("{other:?}"),
            };
            let config = *configure.config;
            assert_eq!(
                config.metadata.as_ref().map(|m| value(m.as_data())),
                Some(json!({"topic": "x"}))
            );
            let expected = RoomPatch {
                room_type: Some(RoomType::InviteOnly),
                persistent: Some(true),
                password: Some(Secret("pw".into())),
                max_members: Some(5),
                mode: Some(Mode::Guaranteed),
                durability: Some(Durability::Replicas(2)),
                history_size: Some(10),
                history_bytes: Some(11),
                history_ttl_ms: Some(12),
                slow_consumer: Some(SlowConsumer::Latest),
                presence: Some(false),
                publish_role: Some(Role::Moderator),
                message_bytes: Some(13),
                rate: Some(RoomRate { per_second: 1, burst: 2 }),
                slow_mode_ms: Some(14),
                word_filter: Some(WordFilter {
                    words: vec!["heck".to_owned()],
                    patterns: vec!["h.ck".to_owned()],
                    action: FilterAction::Mask,
                }),
                compress: Some(true),
                metadata: config.metadata.clone(),
                parent_inherit: Some(true),
            };
            assert_eq!(config, expected);
        });
    }
}

#[test]
fn create_with_nothing() {
    for json in
        [r#"{"type":"room.create","room":"r"}"#, r#"{"type":"room.create","room":"r","config":{}}"#]
    {
        good(json, |envelope| {
            let Command::RoomCreate(create) = envelope.command else { panic!() };
            assert_eq!((create.room.as_ref(), *create.config), ("r", RoomPatch::default()));
        });
    }
}

#[test]
fn delete_and_info() {
    good(r#"{"type":"room.delete","room":"r"}"#, |envelope| {
        let Command::RoomDelete(delete) = envelope.command else { panic!() };
        assert_eq!(delete.room, "r");
    });
    good(r#"{"type":"room.info","room":"r"}"#, |envelope| {
        let Command::RoomInfo(info) = envelope.command else { panic!() };
        assert_eq!(info.room, "r");
    });
}

#[test]
fn moderation() {
    for action in ModerationAction::ALL {
        let json = format!(
            r#"{{"type":"room.{action}","room":"r","user":"u","role":"admin","for_ms":9,
                "reason":"so"}}"#
        );
        good(&json, |envelope| {
            let Command::Moderate(moderate) = envelope.command else { panic!() };
            assert_eq!(moderate.action, *action);
            assert_eq!(moderate.room, "r");
            assert_eq!(moderate.target, ModerationTarget::User("u".into()));
            assert_eq!((moderate.for_ms, moderate.role), (Some(9), Some(Role::Admin)));
            assert_eq!(moderate.reason.as_deref(), Some("so"));
        });
    }
    for (action, ip) in [("ban", "10.0.0.1"), ("unban", "2001:db8::1")] {
        good(&format!(r#"{{"type":"room.{action}","room":"r","ip":"{ip}"}}"#), |envelope| {
            let Command::Moderate(moderate) = envelope.command else { panic!() };
            assert_eq!(moderate.target, ModerationTarget::Address(ip.parse().unwrap()));
        });
    }
    // An address means nothing to the others.
    good(r#"{"type":"room.kick","room":"r","user":"u","ip":4}"#, |envelope| {
        let Command::Moderate(moderate) = envelope.command else { panic!() };
        assert_eq!(moderate.target, ModerationTarget::User("u".into()));
    });
}
