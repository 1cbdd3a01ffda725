//! What the server says of its own accord: each form of each message, brought about once.

use std::collections::BTreeSet;

use super::{Ann, Anonymous, Bob, EVENTS, Stage, rows};
use crate::config::Config;
use crate::id::TenantId;
use crate::protocol::{CloseReason, GapReason, LeftReason, PresenceAction};
use crate::room::name::{RoomKey, RoomName};
use crate::shard::Input;
use crate::shard::application::Question;
use crate::shard::message::ToHub;
use crate::shard::session::SessionId;
use crate::ws::close::Fault;

/// What needs credentials, a server in distress, or an operator, and where that is shown.
const ELSEWHERE: &[(&str, &str, &str)] = {
    const IDENTITY: &str = include_str!("../../../../tests/e2e/identity.rs");
    const BANS: &str = include_str!("../../../../tests/e2e/bans.rs");
    const OPERATOR: &str = include_str!("../../../../tests/e2e/operator.rs");
    const FRAMES: &str = include_str!("../../../../tests/e2e/frames.rs");
    const SLOW: &str = include_str!("../slow.rs");
    &[
        ("auth_required", IDENTITY, "\"auth_required\""),
        ("expiring", IDENTITY, "\"expiring\""),
        ("left permission_revoked", IDENTITY, "\"permission_revoked\""),
        ("disconnect auth_failed", IDENTITY, "\"auth_failed\""),
        ("disconnect auth_timeout", IDENTITY, "\"auth_timeout\""),
        ("disconnect token_expired", IDENTITY, "\"token_expired\""),
        ("disconnect connection_limit", IDENTITY, "\"connection_limit\""),
        ("disconnect banned", BANS, "\"banned\""),
        ("disconnect revoked", OPERATOR, "\"revoked\""),
        ("disconnect suspended", OPERATOR, "\"suspended\""),
        ("disconnect too_large", FRAMES, "1009"),
        ("disconnect overloaded", SLOW, "Close::Overloaded"),
    ]
};

fn new(change: impl FnOnce(&mut Config)) -> Stage {
    let mut config = rows::config();
    config.rate.messages_per_second = 0;
    change(&mut config);
    Stage::new(3, config)
}

fn join(stage: &mut Stage) {
    stage.say(Ann, r#"{"type":"join","id":1,"room":"r","presence":true}"#);
    stage.say(Bob, r#"{"type":"join","id":1,"room":"r"}"#);
}

fn people_come_change_and_go() -> Stage {
    let mut stage = new(|_| {});
    join(&mut stage);
    stage.say(Bob, r#"{"type":"presence.set","id":2,"room":"r","info":{"mood":"good"}}"#);
    stage.say(Bob, r#"{"type":"leave","id":3,"room":"r"}"#);
    stage.cluster.wait(3_000);
    stage.listen(None);
    stage
}

fn rooms_change() -> Stage {
    let mut stage = new(|_| {});
    join(&mut stage);
    for text in [
        r#"{"type":"room.update","id":2,"room":"r","config":{"max_members":9}}"#,
        r#"{"type":"room.invite","id":3,"room":"r","user":"bob","role":"member"}"#,
        r#"{"type":"room.mute","id":4,"room":"r","user":"bob","for_ms":9,"reason":"noise"}"#,
        r#"{"type":"room.unmute","id":5,"room":"r","user":"bob"}"#,
        r#"{"type":"room.role","id":6,"room":"r","user":"bob","role":"moderator"}"#,
        r#"{"type":"room.kick","id":7,"room":"r","user":"bob"}"#,
    ] {
        let (_, told) = stage.say(Ann, text);
        assert!(told.iter().any(|(who, _)| *who == Bob), "nobody told bob of {text}");
    }
    join(&mut stage);
    stage.say(Ann, r#"{"type":"room.ban","id":8,"room":"r","user":"bob"}"#);
    stage.say(Anonymous, r#"{"type":"join","id":1,"room":"r"}"#);
    stage.say(Ann, r#"{"type":"room.delete","id":9,"room":"r"}"#);
    stage
}

/// Comes back to a room: what was missed has expired, was trimmed, or is of another life.
fn gaps() -> Stage {
    let mut stage = new(|config| config.limits.outbox_bytes = 2_048);
    stage.say(
        Ann,
        r#"{"type":"room.create","id":1,"room":"r","config":{"history_size":1,
            "slow_consumer":"drop_newest","persistent":true}}"#,
    );
    join(&mut stage);
    let session = |stage: &mut Stage| {
        let at = stage.at(Bob);
        let shard = &stage.cluster.shards[at.core.index()];
        shard.outbound.get(at.key).and_then(|it| it.session).map(SessionId::to_text)
    };
    let come_back = |stage: &mut Stage, before: &[&str], wait_ms| {
        let secret = session(stage);
        stage.cluster.lose(stage.at(Bob));
        for text in before {
            stage.say(Ann, text);
        }
        stage.cluster.wait(wait_ms);
        let back =
            stage.cluster.open_as(0, "bob", |opened| opened.session = secret.map(Into::into));
        stage.people[1].1 = back;
        stage.listen(None)
    };
    let brief = r#"{"type":"publish","id":2,"room":"r","data":1,"ttl_ms":5}"#;
    come_back(&mut stage, &[brief], 10);
    let plain = r#"{"type":"publish","id":3,"room":"r","data":1}"#;
    come_back(&mut stage, &[plain, plain, plain], 0);
    let (delete, again) =
        (r#"{"type":"room.delete","id":4,"room":"r"}"#, r#"{"type":"join","id":5,"room":"r"}"#);
    let keep =
        r#"{"type":"room.update","id":6,"room":"r","config":{"slow_consumer":"drop_newest"}}"#;
    come_back(&mut stage, &[delete, again, keep, plain], 0);
    // What did not fit between two cores.
    let info = stage.say(Ann, r#"{"type":"room.info","id":7,"room":"r"}"#).1;
    let (epoch, offset) = (&info[0].1["epoch"], info[0].1["offset"].as_u64().unwrap());
    let room = RoomKey::new(TenantId::DEFAULT, RoomName::parse("r").unwrap());
    let (epoch, from) = (epoch.as_str().unwrap().into(), offset + 1);
    let lost = ToHub::Overrun { room, epoch, from, to: from + 1, guard: None };
    let at = stage.at(Bob);
    stage.cluster.input(at, Input::Core { from: at.core, message: lost.into() });
    stage.listen(None);
    // Nobody reads while these come.
    let at = stage.at(Ann);
    for _ in 0..40 {
        let data = "x".repeat(100);
        let text =
            format!(r#"{{"type":"publish","room":"r","data":"{data}","exclude_self":true}}"#);
        stage.cluster.send(at, &text);
        stage.cluster.settle();
    }
    stage.listen(None);
    stage
}

fn everyone_is_asked() -> Stage {
    let mut stage = new(|_| {});
    let (connection, event) = (stage.at(Ann).key, "q".into());
    let data =
        crate::protocol::Data::new(crate::protocol::Codec::Json, b"1", 1).unwrap().to_owned();
    let question = Question { connection, number: 1, event, data, within_ms: 500 };
    stage.cluster.input(stage.at(Ann), Input::Question(Box::new(question)));
    stage.listen(None);
    stage
}

/// One connection after the other is sent away.
fn ends() -> Vec<Stage> {
    let mut stages = Vec::new();
    for fault in [Fault::ReservedOpcode, Fault::InvalidText, Fault::MessageTooLong] {
        let mut stage = new(|_| {});
        let connection = stage.at(Ann).key;
        stage.cluster.input(stage.at(Ann), Input::Fault { connection, fault });
        stages.push(stage);
    }
    let mut stage = new(|_| {});
    let connection = stage.at(Ann).key;
    stage.cluster.input(stage.at(Ann), Input::Failed { connection });
    stages.push(stage);
    let mut stage = new(|_| {});
    stage.cluster.input(stage.at(Ann), Input::Drain { window_ms: 1 });
    stage.cluster.wait(2_000);
    stages.push(stage);
    let mut stage = new(|_| {});
    stage.cluster.wait(200_000);
    stages.push(stage);
    let mut stage = new(|_| {});
    for _ in 0..10 {
        stage.cluster.send(stage.at(Ann), "{");
    }
    stages.push(stage);
    let mut stage = new(|config| {
        config.rate.messages_per_second = 1;
        config.rate.burst = 1;
        config.rate.ban_ms = 1_000;
    });
    for _ in 0..5 {
        stage.cluster.send(stage.at(Ann), r#"{"type":"ping"}"#);
    }
    stages.push(stage);
    let mut stage = new(|_| {});
    let at = stage.at(Ann);
    let session = stage.cluster.shards[0].outbound.get(at.key).and_then(|it| it.session);
    stage
        .cluster
        .open_as(0, "ann", |opened| opened.session = session.map(|it| it.to_text().into()));
    stages.push(stage);
    let mut stage = new(|config| config.limits.outbox_bytes = 1_024);
    join(&mut stage);
    for _ in 0..40 {
        let text =
            r#"{"type":"publish","room":"r","data":"0123456789012345678901234567890123456789"}"#;
        stage.cluster.send(stage.at(Bob), text);
        stage.cluster.settle();
    }
    stages.push(stage);
    for stage in &mut stages {
        stage.listen(None);
    }
    stages
}

#[test]
fn everything_that_the_server_can_say_is_said() {
    let mut stages = ends();
    stages.extend([people_come_change_and_go(), rooms_change(), gaps(), everyone_is_asked()]);
    let mut said: BTreeSet<String> = stages.into_iter().flat_map(|stage| stage.said).collect();
    let rows: &[&str] = &["ok", "error", "message", "pong"];
    said.extend(rows.iter().map(|it| (*it).to_owned()));
    let mut forms: Vec<String> = EVENTS.iter().map(|it| (*it).to_owned()).collect();
    forms.extend(GapReason::ALL.iter().map(|it| format!("gap {it}")));
    forms.extend(LeftReason::ALL.iter().map(|it| format!("left {it}")));
    forms.extend(PresenceAction::ALL.iter().map(|it| format!("presence {it}")));
    let changes = ["updated", "invited", "muted", "unmuted", "role"];
    forms.extend(changes.iter().map(|it| format!("room {it}")));
    forms.extend(CloseReason::ALL.iter().map(|it| format!("disconnect {}", it.as_str())));
    let mut missing = Vec::new();
    for form in forms {
        let elsewhere = ELSEWHERE.iter().find(|(it, _, _)| *it == form);
        let shown = elsewhere.is_some_and(|(_, source, text)| source.contains(text));
        if !said.contains(&form) && !shown {
            missing.push(form);
        }
    }
    assert!(missing.is_empty(), "nobody was ever told {missing:?}");
}
