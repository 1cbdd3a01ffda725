//! Rooms as clients see them, on one core and on several.

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::protocol::Codec;
use crate::shard::{Input, Route};

/// On one core, and on three, where the room's home is somewhere.
fn clusters() -> impl Iterator<Item = Cluster> {
    [1, 3].into_iter().map(|cores| Cluster::new(cores, Config::default()))
}

fn last(cluster: &Cluster) -> u16 {
    u16::try_from(cluster.shards.len()).unwrap() - 1
}

fn join(cluster: &mut Cluster, at: Address, room: &str) {
    let answer = cluster.ask(at, &format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#));
    assert_eq!(answer["type"], "ok", "{answer}");
}

fn publish(cluster: &mut Cluster, at: Address, room: &str, data: &str) {
    cluster.send(at, &format!(r#"{{"type":"publish","room":"{room}","data":{data}}}"#));
}

#[test]
fn what_is_published_reaches_all_who_have_joined_in_order_and_nobody_after_leave() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let (a, b, c) = (cluster.open(0), cluster.open(far), cluster.open(0));
        for at in [a, b, c] {
            join(&mut cluster, at, "chat:1");
        }
        for n in 1..=3 {
            publish(&mut cluster, a, "chat:1", &n.to_string());
        }
        assert_eq!(cluster.offsets(b), [1, 2, 3]);
        let seen = cluster.read(c);
        assert_eq!(seen[0]["data"], 1);
        assert_eq!(seen[0]["from"]["user"], serde_json::Value::Null);
        publish(&mut cluster, a, "chat:1", "4");
        cluster.send(b, r#"{"type":"leave","id":2,"room":"chat:1"}"#);
        publish(&mut cluster, a, "chat:1", "5");
        let seen = cluster.read(b);
        assert_eq!((&seen[0]["offset"], &seen[1]["type"]), (&4.into(), &"ok".into()));
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(cluster.offsets(c), [4, 5]);
        let answer = cluster.ask(b, r#"{"type":"publish","id":3,"room":"chat:1","data":0}"#);
        assert_eq!(answer["code"], "not_joined");
    }
}

#[test]
fn everything_goes_when_everyone_goes() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let all: Vec<_> = (0..6).map(|n| cluster.open(n % (far + 1))).collect();
        for at in &all {
            join(&mut cluster, *at, "a");
            join(&mut cluster, *at, "b");
            publish(&mut cluster, *at, "a", "1");
        }
        for at in &all {
            cluster.lose(*at);
            cluster.settle();
        }
        assert!(!cluster.is_empty(), "sessions keep the rooms");
        cluster.wait(120_001);
        cluster.settle();
        assert!(cluster.is_empty());
    }
}

#[test]
fn a_join_says_where_the_room_stands_and_recovers() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let (a, b) = (cluster.open(0), cluster.open(far));
        let create = r#"{"type":"room.create","id":0,"room":"r","config":{"mode":"reliable"}}"#;
        assert_eq!(cluster.ask(a, create)["config"]["mode"], "reliable");
        join(&mut cluster, a, "r");
        for n in 1..=5 {
            publish(&mut cluster, a, "r", &n.to_string());
        }
        assert_eq!(cluster.offsets(a), [1, 2, 3, 4, 5]);
        let first = cluster.ask(b, r#"{"type":"join","id":1,"room":"r"}"#);
        assert_eq!((&first["offset"], &first["recovered"]), (&5.into(), &false.into()));
        assert_eq!(first["user_count"], 2);
        let epoch = first["epoch"].as_str().unwrap().to_owned();
        cluster.ask(b, r#"{"type":"leave","id":2,"room":"r"}"#);
        publish(&mut cluster, a, "r", "6");
        let since = format!(
            r#"{{"type":"join","id":3,"room":"r","since":{{"epoch":"{epoch}","offset":3}}}}"#
        );
        cluster.send(b, &since);
        publish(&mut cluster, a, "r", "7");
        let seen = cluster.read(b);
        assert_eq!((&seen[0]["type"], &seen[0]["recovered"]), (&"ok".into(), &true.into()));
        let offsets: Vec<_> = seen[1..].iter().map(|it| it["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, [4, 5, 6, 7]);
        let other = r#"{"type":"join","id":4,"room":"r","since":{"epoch":"other","offset":3}}"#;
        let seen = cluster.ask(b, other);
        assert_eq!((&seen["type"], &seen["recovered"]), (&"ok".into(), &false.into()));
    }
}

#[test]
fn a_session_comes_back_to_its_rooms_and_misses_nothing() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let a = cluster.open(0);
        let b = cluster.open_with(far, |opened| opened.route = Route::Rooms(Some("r".into())));
        let welcome = cluster.read(b).remove(0);
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["rooms"][0]["room"], "r");
        let session = welcome["session"].as_str().unwrap().to_owned();
        let update = r#"{"type":"room.update","id":0,"room":"r","config":{"history_size":10}}"#;
        assert_eq!(cluster.ask(a, update)["type"], "ok");
        join(&mut cluster, a, "r");
        cluster.ask(b, r#"{"type":"state.set","id":1,"data":{"k":1}}"#);
        publish(&mut cluster, a, "r", "1");
        assert_eq!(cluster.offsets(b), [1]);
        cluster.ask(b, r#"{"type":"ack","id":2,"room":"r","offset":1}"#);
        cluster.lose(b);
        publish(&mut cluster, a, "r", "2");
        publish(&mut cluster, a, "r", "3");
        let back = cluster.open_with(0, |opened| opened.session = Some(session.clone().into()));
        let seen = cluster.read(back);
        assert_eq!((&seen[0]["type"], &seen[0]["recovered"]), (&"welcome".into(), &true.into()));
        assert_eq!(seen[0]["session"], *session);
        assert_eq!(seen[0]["rooms"][0]["recovered"], true);
        assert_eq!((&seen[1]["offset"], &seen[2]["offset"]), (&2.into(), &3.into()));
        assert_eq!(cluster.ask(back, r#"{"type":"state.get","id":3}"#)["data"]["k"], 1);
        // Taken from a connection that is still open.
        let again = cluster.open_with(far, |opened| opened.session = Some(session.clone().into()));
        assert_eq!(cluster.read(again)[0]["recovered"], true);
        let seen = cluster.read(back);
        assert_eq!(seen.last().unwrap()["reason"], "replaced", "{seen:?}");
        publish(&mut cluster, a, "r", "4");
        assert_eq!(cluster.offsets(again).last(), Some(&4));
        assert!(cluster.offsets(back).is_empty());
    }
}

#[test]
fn what_was_asked_for_again_and_did_not_arrive_is_still_owed_to_the_session() {
    for mut cluster in clusters() {
        let (a, b) = (cluster.open(0), cluster.open_with(last(&cluster), |_| {}));
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        let create = r#"{"type":"room.create","id":0,"room":"r","config":{"mode":"reliable"}}"#;
        assert_eq!(cluster.ask(a, create)["type"], "ok");
        join(&mut cluster, a, "r");
        let joined = cluster.ask(b, r#"{"type":"join","id":1,"room":"r"}"#);
        for n in 1..=2 {
            publish(&mut cluster, a, "r", &n.to_string());
        }
        assert_eq!(cluster.offsets(b), [1, 2]);
        cluster.wait(25_000);
        let frames = cluster.frames(b);
        let ping = &frames.iter().find(|(opcode, _)| *opcode == 9).unwrap().1;
        let epoch = joined["epoch"].as_str().unwrap();
        cluster.send(
            b,
            &format!(r#"{{"type":"join","room":"r","since":{{"epoch":"{epoch}","offset":1}}}}"#),
        );
        // The ping went before the second copy, which is never read.
        cluster.input(b, Input::Pong { connection: b.key, payload: ping });
        cluster.lose(b);
        publish(&mut cluster, a, "r", "3");
        let back = cluster.open_with(0, |opened| opened.session = Some(session.into()));
        assert_eq!(cluster.offsets(back), [2, 3]);
    }
}

#[test]
fn a_session_that_cannot_be_caught_up_is_told_of_the_gap() {
    let mut cluster = Cluster::new(2, Config::default());
    let (a, b) = (cluster.open(0), cluster.open_with(1, |_| {}));
    let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
    join(&mut cluster, a, "r");
    join(&mut cluster, b, "r");
    publish(&mut cluster, a, "r", "1");
    assert_eq!(cluster.offsets(b), [1]);
    // What was written before an answered ping is taken as read.
    cluster.wait(25_000);
    let frames = cluster.frames(b);
    let ping = &frames.iter().find(|(opcode, _)| *opcode == 9).unwrap().1;
    cluster.input(b, Input::Pong { connection: b.key, payload: ping });
    cluster.lose(b);
    for n in 2..=4 {
        publish(&mut cluster, a, "r", &n.to_string());
    }
    let back = cluster.open_with(0, |opened| opened.session = Some(session.into()));
    assert_eq!(cluster.offsets(back), [-2, -4]);
}

#[test]
fn what_a_guaranteed_room_sent_is_sent_again_until_it_is_acknowledged() {
    for mut cluster in clusters() {
        let (a, b) = (cluster.open(0), cluster.open_with(last(&cluster), |_| {}));
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        let create = r#"{"type":"room.create","id":0,"room":"g","config":{"mode":"guaranteed"}}"#;
        assert_eq!(cluster.ask(a, create)["type"], "ok");
        join(&mut cluster, a, "g");
        join(&mut cluster, b, "g");
        for n in 1..=4 {
            publish(&mut cluster, a, "g", &n.to_string());
        }
        assert_eq!(cluster.offsets(b), [1, 2, 3, 4]);
        cluster.ask(b, r#"{"type":"ack","id":1,"room":"g","offset":2}"#);
        cluster.ask(a, r#"{"type":"ack","id":1,"room":"g","offset":4}"#);
        cluster.wait(30_000);
        let again: Vec<_> =
            cluster.read(b).into_iter().filter(|it| it["type"] == "message").collect();
        assert_eq!((&again[0]["offset"], &again[1]["offset"]), (&3.into(), &4.into()));
        assert_eq!((&again[0]["redelivered"], again.len()), (&true.into(), 2));
        assert!(cluster.offsets(a).is_empty(), "it has acknowledged all");
        cluster.lose(b);
        publish(&mut cluster, a, "g", "5");
        let back = cluster.open_with(0, |opened| opened.session = Some(session.into()));
        let seen = cluster.read(back);
        let told: Vec<_> = seen[1..]
            .iter()
            .map(|it| (it["offset"].as_u64().unwrap(), it["redelivered"] == true))
            .collect();
        assert_eq!(told, [(3, true), (4, true), (5, false)]);
        cluster.ask(back, r#"{"type":"ack","id":2,"room":"g","offset":5}"#);
        cluster.wait(60_000);
        assert!(cluster.offsets(back).is_empty());
    }
}

#[test]
fn an_unknown_session_is_a_new_one() {
    for mut cluster in clusters() {
        for session in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAA"] {
            let at =
                cluster.open_with(0, |opened| opened.session = Some(session.to_owned().into()));
            let welcome = cluster.read(at).remove(0);
            assert_eq!(welcome["recovered"], false);
            assert_ne!(welcome["session"], session);
        }
    }
}

#[test]
fn the_room_of_the_path_may_be_refused() {
    let mut cluster = Cluster::new(2, Config::default());
    let at = cluster.open_with(0, |opened| opened.route = Route::Rooms(Some("@all".into())));
    let seen = cluster.read(at);
    assert_eq!(
        (&seen[0]["type"], seen[0]["rooms"].as_array().unwrap().len()),
        (&"welcome".into(), 0)
    );
    assert_eq!((&seen[1]["type"], &seen[1]["code"]), (&"error".into(), &"invalid_room".into()));
}

#[test]
fn messages_between_codecs_and_forms_reach_everyone() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let plain = cluster.open(0);
        let packed = cluster.open_with(far, |opened| opened.codec = Codec::MessagePack);
        let deflated = cluster.open_with(far, |opened| opened.deflate_up_to = u32::MAX);
        cluster.frames(packed);
        cluster.frames(deflated);
        for at in [plain, packed, deflated] {
            cluster.send(at, r#"{"type":"join","room":"r"}"#);
        }
        let long = format!("\"{}\"", "x".repeat(4_000));
        publish(&mut cluster, plain, "r", "1");
        publish(&mut cluster, plain, "r", &long);
        assert_eq!(cluster.offsets(plain), [1, 2]);
        let frames = cluster.frames(packed);
        assert_eq!(frames.iter().map(|(opcode, _)| *opcode).collect::<Vec<_>>(), [2, 2]);
        let frames = cluster.frames(deflated);
        assert_eq!(frames.len(), 2);
        assert!(frames[0].1.starts_with(b"{") && frames[1].1.len() < 400);
    }
}

#[test]
fn filters_events_priorities_and_exclude_self_choose_who_gets_it() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let (a, b, c) = (cluster.open(0), cluster.open(far), cluster.open(far));
        join(&mut cluster, a, "r");
        cluster.ask(b, r#"{"type":"join","id":1,"room":"r","events":["x"]}"#);
        cluster.ask(c, r#"{"type":"join","id":1,"room":"r","min_priority":"high"}"#);
        for (fields, expected) in [
            (r#""data":1"#, [true, false, false]),
            (r#""data":1,"event":"x""#, [true, true, false]),
            (r#""data":1,"event":"x","priority":"high""#, [true, true, true]),
            (r#""data":1,"priority":"critical","exclude_self":true"#, [false, false, true]),
            (r#""data":1,"event":"x","priority":"high","filter":{"users":["u"]}"#, [false; 3]),
        ] {
            cluster.send(a, &format!(r#"{{"type":"publish","room":"r",{fields}}}"#));
            let got = [a, b, c].map(|at| !cluster.offsets(at).is_empty());
            assert_eq!(got, expected, "{fields}");
        }
        let few = r#"{"type":"publish","room":"r","data":1,"event":"x","priority":"high","filter":{"max_connections":2}}"#;
        cluster.send(a, few);
        let got: usize = [a, b, c].iter().map(|at| cluster.offsets(*at).len()).sum();
        assert!((1..=2).contains(&got), "{got}");
    }
}

#[test]
fn keys_receipts_and_transient_messages() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let (a, b) = (cluster.open(0), cluster.open(far));
        join(&mut cluster, a, "r");
        join(&mut cluster, b, "r");
        let keyed = r#"{"type":"publish","id":1,"room":"r","data":1,"key":"k"}"#;
        cluster.send(a, keyed);
        let seen = cluster.read(a);
        assert!(seen.iter().any(|it| it["offset"] == 1 && it["type"] == "ok"), "{seen:?}");
        let again = cluster.ask(a, keyed);
        assert_eq!((&again["offset"], &again["duplicate"]), (&1.into(), &true.into()));
        assert_eq!(cluster.offsets(b), [1]);
        let receipt = r#"{"type":"publish","id":2,"room":"r","data":1,"receipt":"delivered","exclude_self":true}"#;
        let answer = cluster.ask(a, receipt);
        assert_eq!((&answer["delivered"], &answer["total"]), (&1.into(), &1.into()), "{answer}");
        assert!(answer.get("partial").is_none());
        let transient = r#"{"type":"publish","id":3,"room":"r","data":1,"transient":true}"#;
        cluster.send(a, transient);
        assert_eq!(cluster.offsets(b), [2, 0]);
    }
}

#[test]
fn history_is_paged_and_expires_with_its_epoch() {
    for mut cluster in clusters() {
        let a = cluster.open(last(&cluster));
        let create = r#"{"type":"room.create","id":0,"room":"h","config":{"history_size":5}}"#;
        cluster.ask(a, create);
        let epoch = cluster.ask(a, r#"{"type":"join","id":1,"room":"h"}"#)["epoch"].clone();
        for n in 1..=8 {
            publish(&mut cluster, a, "h", &n.to_string());
        }
        cluster.read(a);
        let page = |cluster: &mut Cluster, rest: &str| {
            let answer =
                cluster.ask(a, &format!(r#"{{"type":"history","id":2,"room":"h"{rest}}}"#));
            let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
            let offsets: Vec<_> =
                messages.iter().map(|it| it["offset"].as_u64().unwrap()).collect();
            (offsets, answer["truncated"] == true)
        };
        assert_eq!(page(&mut cluster, ""), (vec![4, 5, 6, 7, 8], true));
        assert_eq!(page(&mut cluster, r#","limit":2,"reverse":true"#).0, [8, 7]);
        let since = format!(r#","since":{{"epoch":{epoch},"offset":6}}"#);
        assert_eq!(page(&mut cluster, &since), (vec![7, 8], false));
        let before = format!(r#","limit":2,"before":{{"epoch":{epoch},"offset":7}}"#);
        assert_eq!(page(&mut cluster, &before).0, [5, 6]);
        let other = r#"{"type":"history","id":3,"room":"h","since":{"epoch":"x","offset":6}}"#;
        assert_eq!(cluster.ask(a, other)["code"], "expired");
        cluster.ask(a, r#"{"type":"history","id":4,"room":"nowhere"}"#);
    }
}

#[test]
fn patterns_receive_one_copy_and_no_more_after_unsubscribe() {
    for mut cluster in clusters() {
        let far = last(&cluster);
        let (a, b) = (cluster.open(0), cluster.open(far));
        join(&mut cluster, a, "chat:1/x");
        let answer = cluster.ask(b, r#"{"type":"subscribe","id":1,"pattern":"chat:1/*"}"#);
        assert_eq!(answer["pattern"], "chat:1/*");
        cluster.ask(b, r#"{"type":"subscribe","id":2,"pattern":"chat:**"}"#);
        publish(&mut cluster, a, "chat:1/x", "1");
        assert_eq!(cluster.offsets(b), [1]);
        join(&mut cluster, b, "chat:1/x");
        publish(&mut cluster, a, "chat:1/x", "2");
        assert_eq!(cluster.offsets(b), [2]);
        cluster.ask(b, r#"{"type":"leave","id":3,"room":"chat:1/x"}"#);
        cluster.ask(b, r#"{"type":"unsubscribe","id":4,"pattern":"chat:1/*"}"#);
        cluster.ask(b, r#"{"type":"unsubscribe","id":5,"pattern":"chat:**"}"#);
        publish(&mut cluster, a, "chat:1/x", "3");
        assert!(cluster.offsets(b).is_empty());
        cluster.lose(a);
        cluster.lose(b);
        cluster.wait(120_001);
        cluster.settle();
        assert!(cluster.is_empty());
    }
}

#[test]
fn a_connection_is_reached_by_its_name_and_everyone_by_nobody_in_open_mode() {
    for mut cluster in clusters() {
        let a = cluster.open(0);
        let b = cluster.open_with(last(&cluster), |_| {});
        let name = cluster.read(b)[0]["connection"].as_str().unwrap().to_owned();
        let send = format!(r#"{{"type":"send","id":1,"to":{{"connection":"{name}"}},"data":7}}"#);
        assert_eq!(cluster.ask(a, &send)["delivered"], 1);
        assert_eq!(cluster.read(b)[0]["data"], 7);
        cluster.lose(b);
        assert_eq!(cluster.ask(a, &send)["code"], "not_found");
        let users = r#"{"type":"send","id":2,"to":{"users":["x","y","x"]},"data":7}"#;
        assert_eq!(cluster.ask(a, users)["delivered"], 0);
        let broadcast = r#"{"type":"broadcast","id":3,"data":7}"#;
        assert_eq!(cluster.ask(a, broadcast)["code"], "forbidden");
        let kick = r#"{"type":"room.kick","id":4,"room":"r","user":"x"}"#;
        join(&mut cluster, a, "r");
        assert_eq!(cluster.ask(a, kick)["code"], "forbidden");
    }
}

#[test]
fn a_batch_is_answered_after_its_messages() {
    for mut cluster in clusters() {
        let a = cluster.open(last(&cluster));
        let batch = r#"{"type":"batch","id":"b","messages":[
            {"type":"join","id":1,"room":"r"},{"type":"publish","id":2,"room":"r","data":1},
            {"type":"ping","id":3},{"type":"nonsense","id":4},{"type":"join"}]}"#;
        cluster.send(a, batch);
        let seen = cluster.read(a);
        let ids: Vec<_> = seen.iter().map(|it| it["id"].to_string()).collect();
        assert_eq!(ids.iter().filter(|id| *id == "\"b\"").count(), 1, "{seen:?}");
        let end = ids.iter().position(|id| id == "\"b\"").unwrap();
        for id in ["1", "2", "3", "4"] {
            assert!(ids.iter().position(|it| it == id).unwrap() < end, "{seen:?}");
        }
        assert!(seen.iter().any(|it| it["code"] == "not_found"));
    }
}

#[test]
fn bad_messages_are_named_and_too_many_end_the_connection() {
    let mut cluster = Cluster::new(1, Config::default());
    let a = cluster.open(0);
    for n in 0..10 {
        cluster.send(a, "{");
        let seen = cluster.read(a);
        assert_eq!(seen[0]["code"], "bad_request");
        assert_eq!(
            seen.get(1).map(|it| it["reason"].clone()),
            (n == 9).then(|| "bad_messages".into())
        );
    }
}

#[test]
fn nothing_but_ping_is_taken_before_welcome() {
    let mut cluster = Cluster::new(3, Config::default());
    cluster.holds = true;
    let at = cluster.open_with(0, |opened| opened.route = Route::Rooms(Some("a room".into())));
    let rooms: Vec<_> = (0..3).map(|n| format!("room {n}")).collect();
    let waits = cluster.read(at).is_empty();
    cluster.send(at, r#"{"type":"join","id":1,"room":"x"}"#);
    cluster.send(at, r#"{"type":"ping","id":2}"#);
    cluster.holds = false;
    cluster.carry();
    let seen = cluster.read(at);
    assert_eq!(seen[0]["type"], "welcome");
    if waits {
        assert_eq!((&seen[1]["code"], &seen[2]["type"]), (&"unauthorized".into(), &"pong".into()));
    }
    drop(rooms);
}

#[test]
fn who_is_sent_away_before_welcome_hears_of_it() {
    let mut cluster = Cluster::new(3, Config::default());
    cluster.holds = true;
    let session = Some("AAAAAAAAAAAAAAAAAAAAAA".to_owned().into());
    let all: Vec<_> = (0..3)
        .map(|core| cluster.open_with(core, |opened| opened.session.clone_from(&session)))
        .collect();
    let waiting = *all
        .iter()
        .find(|at| cluster.shards[at.core.index()].outbox(at.key).is_some_and(|it| it.is_empty()))
        .unwrap();
    cluster.input(waiting, Input::Drain { window_ms: 0 });
    let frames = cluster.frames(waiting);
    assert_eq!(frames.iter().map(|(opcode, _)| *opcode).collect::<Vec<_>>(), [1, 8]);
    cluster.holds = false;
    cluster.carry();
    assert!(cluster.frames(waiting).is_empty());
}

#[test]
fn reading_goes_on_once_commands_without_an_id_are_answered() {
    let mut config = Config::default();
    config.limits.unanswered_commands = 4;
    let mut cluster = Cluster::new(3, config);
    let at = cluster.open(0);
    let rooms = ["a", "b", "c", "d", "e", "f"];
    for room in rooms {
        join(&mut cluster, at, room);
    }
    cluster.read(at);
    cluster.holds = true;
    let mut sent = 0;
    while cluster.shards[0].wants_reading(at.key) {
        for room in rooms {
            let leave =
                format!(r#"{{"type":"publish","room":"{room}","exclude_self":true,"data":1}}"#);
            cluster.send(at, &leave);
        }
        sent += 1;
        assert!(sent < 100, "no room has its home elsewhere");
    }
    cluster.effects[0].dirty.clear();
    cluster.holds = false;
    cluster.carry();
    assert!(cluster.shards[0].wants_reading(at.key));
    assert_eq!(cluster.effects[0].dirty, [at.key]);
}

#[test]
fn configuration_and_deletion_are_told() {
    for mut cluster in clusters() {
        let (a, b) = (cluster.open(0), cluster.open(last(&cluster)));
        join(&mut cluster, a, "r");
        join(&mut cluster, b, "r");
        let update = r#"{"type":"room.update","id":1,"room":"r","config":{"history_size":7}}"#;
        cluster.send(a, update);
        let seen = cluster.read(b);
        assert_eq!(
            (&seen[0]["change"], &seen[0]["config"]["history_size"]),
            (&"updated".into(), &7.into())
        );
        let info = cluster.ask(b, r#"{"type":"room.info","id":2,"room":"r"}"#);
        assert_eq!((&info["user_count"], &info["member_count"]), (&2.into(), &0.into()));
        assert_eq!(
            cluster.ask(a, r#"{"type":"room.create","id":3,"room":"r"}"#)["code"],
            "room_exists"
        );
        cluster.send(a, r#"{"type":"room.delete","id":4,"room":"r"}"#);
        assert_eq!(cluster.read(b)[0]["reason"], "room_deleted");
        assert_eq!(
            cluster.ask(b, r#"{"type":"publish","id":5,"room":"r","data":1}"#)["code"],
            "not_joined"
        );
        assert_eq!(
            cluster.ask(b, r#"{"type":"room.info","id":6,"room":"r"}"#)["code"],
            "not_found"
        );
    }
}
