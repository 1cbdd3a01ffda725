//! What backends say by `PUBLISH` alone, on its way from the bridge to connections.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::config::{Config, Limits, RoomDefaults, RoomMode};
use crate::id::{CoreId, TenantId};
use crate::protocol::Codec;
use crate::shard::{CoreMessage, Foreign, Input};

/// Tells every core, as the bridge does, and ends the tick.
fn say(cluster: &mut Cluster, name: &str, data: &str) {
    say_to(cluster, TenantId::DEFAULT, name, data);
    cluster.settle();
}

fn say_to(cluster: &mut Cluster, tenant: TenantId, name: &str, data: &str) {
    let limits = Limits::default();
    let foreign = Foreign::read(tenant, name.as_bytes(), data.as_bytes(), &limits);
    let foreign = Arc::new(foreign.expect("it can be read"));
    let (now, cores) = (cluster.now, cluster.shards.len());
    for (shard, effects) in cluster.shards.iter_mut().zip(&mut cluster.effects) {
        let from = CoreId(u16::try_from(cores + 1).unwrap());
        let message = CoreMessage::Foreign(Arc::clone(&foreign));
        shard.handle(now, Input::Core { from, message }, effects);
    }
    cluster.carry();
}

/// Two cores, whose announcements are kept and recovered.
fn cluster() -> Cluster {
    let mut config = Config::default();
    for name in ["@all", "sure"] {
        let rooms = RoomDefaults {
            mode: Some(RoomMode::Reliable),
            history_size: Some(100),
            ..RoomDefaults::default()
        };
        config.namespace_rooms.insert(name.to_owned(), rooms);
    }
    Cluster::new(2, config)
}

fn datas(cluster: &mut Cluster, at: Address) -> Vec<Value> {
    let events = cluster.read(at);
    events.into_iter().map(|event| event["data"].clone()).collect()
}

#[test]
fn each_kind_reaches_those_whom_it_is_for_as_a_message_without_a_place() {
    let mut cluster = Cluster::new(2, Config::default());
    let (ann, bob, eve) = (cluster.user(0, "ann"), cluster.user(1, "bob"), cluster.user(1, "eve"));
    let all = [ann, bob, eve];
    for at in [ann, bob] {
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"a"}"#)["type"], "ok");
    }
    let zoe = cluster.open_as(1, "zoe", |_| {});
    let name = cluster.read(zoe)[0]["connection"].as_str().unwrap().to_owned();
    cluster.settle();
    for at in all {
        cluster.read(at);
    }
    for (channel, room, heard) in [
        ("broadcast", "@all", [true, true, true]),
        ("user:bob", "@user/bob", [false, true, false]),
        ("room:a", "a", [true, true, false]),
        ("room:b", "b", [false, false, false]),
        ("user:nobody", "", [false, false, false]),
        (&format!("connection:{name}"), "", [false, false, false]),
    ] {
        say(&mut cluster, channel, r#"{"n":1}"#);
        for (at, heard) in all.into_iter().zip(heard) {
            let at_ms = cluster.now.unix_ms;
            let message = json!({"type": "message", "room": room, "data": {"n": 1}, "at": at_ms});
            let wanted = if heard { vec![message] } else { Vec::new() };
            assert_eq!(cluster.read(at), wanted, "{channel}");
        }
    }
}

#[test]
fn a_connection_is_reached_by_its_whole_name_and_by_no_other_tenant() {
    let mut cluster = Cluster::new(2, Config::default());
    let at = cluster.open_as(1, "ann", |_| {});
    let name = cluster.read(at)[0]["connection"].as_str().unwrap().to_owned();
    let channel = format!("connection:{name}");
    say(&mut cluster, &channel, "1");
    let message = cluster.read(at).remove(0);
    assert_eq!((&message["room"], &message["data"]), (&json!("@user/ann"), &json!(1)));
    assert_eq!((message.get("offset"), message.get("from")), (None, None));
    let first = if name.starts_with('A') { "B" } else { "A" };
    say(&mut cluster, &format!("connection:{first}{}", &name[1..]), "2");
    for tenant in [TenantId(1), TenantId(9)] {
        say_to(&mut cluster, tenant, &channel, "3");
        say_to(&mut cluster, tenant, "user:ann", "3");
        say_to(&mut cluster, tenant, "broadcast", "3");
    }
    cluster.settle();
    assert_eq!(cluster.read(at), [] as [Value; 0]);
}

#[test]
fn it_stands_in_its_turn_and_changes_no_place() {
    let mut cluster = cluster();
    let (ann, bob) = (cluster.user(0, "ann"), cluster.user(1, "bob"));
    for at in [ann, bob] {
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"sure:a"}"#)["type"], "ok");
    }
    let publish = r#"{"type":"publish","room":"sure:a","data":"placed"}"#;
    cluster.send(ann, publish);
    say_to(&mut cluster, TenantId::DEFAULT, "room:sure:a", "\"foreign\"");
    say_to(&mut cluster, TenantId::DEFAULT, "broadcast", "\"to all\"");
    cluster.send(ann, publish);
    for at in [ann, bob] {
        let events = cluster.read(at);
        let of_room = events.iter().filter(|event| event["room"] == "sure:a");
        let of_room: Vec<_> = of_room.map(|event| (&event["data"], &event["offset"])).collect();
        let none = &Value::Null;
        let (placed, foreign) = (&json!("placed"), &json!("foreign"));
        assert_eq!(of_room, [(placed, &json!(1)), (foreign, none), (placed, &json!(2))]);
        let to_all: Vec<_> = events.iter().filter(|event| event["room"] == "@all").collect();
        assert!(matches!(&*to_all, [one] if one["data"] == "to all"), "{events:?}");
    }
    // Nothing of it is kept.
    let history = cluster.ask(bob, r#"{"type":"history","id":3,"room":"sure:a"}"#);
    let kept = history["messages"].as_array().expect("a list");
    assert_eq!(kept.iter().map(|it| &it["data"]).collect::<Vec<_>>(), ["placed", "placed"]);
}

#[test]
fn a_room_by_itself_that_its_home_said_nothing_of_is_as_unknown_after_it() {
    let mut cluster = Cluster::new(2, Config::default());
    let at = cluster.user(0, "ann");
    say(&mut cluster, "user:ann", "1");
    say(&mut cluster, "broadcast", "2");
    assert_eq!(datas(&mut cluster, at), [json!(1), json!(2)]);
    let tags = cluster.shards[0].hub.iter().map(|(_, room)| room.tag.is_some());
    assert_eq!(tags.collect::<Vec<_>>(), [false, false]);
}

#[test]
fn it_is_written_as_each_connection_wants_it() {
    let mut cluster = Cluster::new(1, Config::default());
    let plain = cluster.user(0, "ann");
    let packed = cluster.open_as(0, "bob", |opened| opened.codec = Codec::MessagePack);
    cluster.frames(packed);
    say(&mut cluster, "broadcast", r#"{"text":"hello"}"#);
    assert_eq!(datas(&mut cluster, plain), [json!({"text": "hello"})]);
    let frames = cluster.frames(packed);
    // A map of one, a key of four bytes, a text of five.
    let data = b"\x81\xa4text\xa5hello";
    let has = |payload: &[u8]| payload.windows(data.len()).any(|bytes| bytes == data);
    assert!(matches!(&*frames, [(2, payload)] if has(payload)), "{frames:?}");
}
