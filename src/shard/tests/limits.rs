//! What is too much, and what its sender is told.

use serde_json::Value;

use super::cluster::{Address, Cluster};
use crate::config::{Config, TenantRows};
use crate::shard::Input;
use crate::ws::MessageKind;

#[test]
fn each_message_of_a_batch_that_comes_too_soon_is_answered_and_the_batch_after_them() {
    let mut config = Config::default();
    config.rate.messages_per_second = 1;
    config.rate.burst = 1;
    let mut cluster = Cluster::new(1, config);
    let at = cluster.open(0);
    assert_eq!(cluster.ask(at, r#"{"type":"ping","id":0}"#)["type"], "pong");
    cluster.send(
        at,
        r#"{"type":"batch","id":"all","messages":[
            {"type":"ping","id":1},
            {"type":"rooms"},
            {"type":"join","id":2},
            {"type":"batch","id":3,"messages":[]}]}"#,
    );
    let answers = cluster.read(at);
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].to_string()).collect();
    assert_eq!(ids, ["1", "2", "3", "\"all\""]);
    for answer in answers {
        assert_eq!(answer["code"], "rate_limited", "{answer}");
        assert!(answer["retry_after_ms"].as_u64().unwrap() > 0, "{answer}");
    }
}

#[test]
fn a_page_of_history_holds_a_message_that_is_longer_than_a_page() {
    let mut config = Config::default();
    config.limits.recovery_bytes = 16;
    let mut cluster = Cluster::new(1, config);
    let at = cluster.open(0);
    let create = r#"{"type":"room.create","id":0,"room":"r","config":{"mode":"reliable"}}"#;
    assert_eq!(cluster.ask(at, create)["type"], "ok");
    assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
    for data in [r#""longer than a whole page""#, "2", r#""also longer than a page""#] {
        cluster.send(at, &format!(r#"{{"type":"publish","room":"r","data":{data}}}"#));
    }
    cluster.read(at);
    let page = |cluster: &mut Cluster, reverse: bool| -> Vec<u64> {
        let ask = format!(r#"{{"type":"history","id":2,"room":"r","reverse":{reverse}}}"#);
        let page = cluster.ask(at, &ask);
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!(page(&mut cluster, false), [1]);
    assert_eq!(page(&mut cluster, true), [3]);
}

/// How many of `count` pings of each are answered, in turn.
fn answered(cluster: &mut Cluster, all: &[Address], count: u32) -> usize {
    let mut answered = 0;
    for id in 0..count {
        for at in all {
            let answer = cluster.ask(*at, &format!(r#"{{"type":"ping","id":{id}}}"#));
            match answer["type"].as_str() {
                Some("pong") => answered += 1,
                _ => assert_eq!(answer["code"], "rate_limited", "{answer}"),
            }
        }
    }
    answered
}

#[test]
fn all_connections_of_a_user_send_together_what_the_user_may_whichever_core_they_are_on() {
    let mut config = Config::default();
    config.users.messages_per_second = 10;
    config.users.burst = 20;
    let mut cluster = Cluster::new(3, config);
    let all: Vec<_> = (0..3).map(|core| cluster.user(core, "u")).collect();
    let other = cluster.user(0, "v");
    let nobody = cluster.open(1);
    assert_eq!(answered(&mut cluster, &all, 20), 20, "of 60");
    assert_eq!(answered(&mut cluster, &[other], 20), 20, "another user is another");
    assert_eq!(answered(&mut cluster, &[nobody], 100), 100, "nobody is no user");
    // Coming back makes nobody new.
    for at in all {
        cluster.lose(at);
    }
    let again: Vec<_> = (0..3).map(|core| cluster.user(core, "u")).collect();
    assert_eq!(answered(&mut cluster, &again, 5), 0);
    cluster.wait(1_000);
    assert_eq!(answered(&mut cluster, &again, 20), 10, "what a second brings");
}

#[test]
fn an_address_sends_what_it_may_whoever_comes_from_it_and_a_64_bit_network_is_one() {
    let mut config = Config::default();
    config.addresses.messages_per_second = 1;
    config.addresses.burst = 6;
    let mut cluster = Cluster::new(2, config);
    let from = |cluster: &mut Cluster, core: u16, user: &str, address: &str| {
        cluster.open_as(core, user, |it| it.address = Some(address.parse().unwrap()))
    };
    let one = from(&mut cluster, 0, "a", "10.0.0.1");
    let two = from(&mut cluster, 1, "b", "::ffff:10.0.0.1");
    let (near, far) = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9");
    let three = from(&mut cluster, 0, "c", near);
    let four = from(&mut cluster, 1, "d", far);
    for at in [one, two, three, four] {
        cluster.read(at);
    }
    assert_eq!(answered(&mut cluster, &[one, two], 10), 6);
    assert_eq!(answered(&mut cluster, &[three, four], 10), 6);
}

#[test]
fn whoever_comes_back_without_a_name_is_held_by_what_their_address_may() {
    let mut config = Config::default();
    config.rate.messages_per_second = 1;
    config.rate.burst = 3;
    config.addresses.messages_per_second = 1;
    config.addresses.burst = 6;
    let mut cluster = Cluster::new(2, config);
    let come = |cluster: &mut Cluster, core: u16, address: &str| {
        let at = cluster.open_with(core, |it| it.address = Some(address.parse().unwrap()));
        assert_eq!(cluster.read(at)[0]["type"], "welcome");
        at
    };
    // Each connection has a pace of its own, and all of them together that of their address.
    for (core, address, expected) in [
        (0, "10.0.0.1", 3),
        (1, "10.0.0.1", 3),
        (0, "10.0.0.1", 0),
        (1, "::ffff:10.0.0.1", 0),
        (1, "10.0.0.2", 3),
    ] {
        let at = come(&mut cluster, core, address);
        assert_eq!(answered(&mut cluster, &[at], 5), expected, "{core} {address}");
        cluster.lose(at);
    }
    cluster.wait(2_000);
    let at = come(&mut cluster, 0, "10.0.0.1");
    assert_eq!(answered(&mut cluster, &[at], 5), 2, "what two seconds bring");
}

#[test]
fn what_one_limit_refuses_counts_for_no_other() {
    let mut config = Config::default();
    config.rate.messages_per_second = 10;
    config.rate.burst = 20;
    config.users.messages_per_second = 1;
    config.users.burst = 5;
    let mut cluster = Cluster::new(1, config);
    let at = cluster.user(0, "u");
    assert_eq!(answered(&mut cluster, &[at], 50), 5);
    // Had the refused ones counted for the connection, it could send nothing now.
    cluster.wait(1_000);
    assert_eq!(answered(&mut cluster, &[at], 5), 1);
    cluster.wait(4_000);
    assert_eq!(answered(&mut cluster, &[at], 5), 4);
}

#[test]
fn a_user_that_keeps_on_is_sent_away_for_a_time_from_every_core() {
    let mut config = Config::default();
    config.users.messages_per_second = 1;
    config.users.burst = 2;
    config.users.ban_ms = 5_000;
    let mut cluster = Cluster::new(2, config);
    let (one, two) = (cluster.user(0, "u"), cluster.user(1, "u"));
    let ping = r#"{"type":"ping","id":1}"#;
    for _ in 0..5 {
        cluster.send(one, ping);
    }
    for at in [one, two] {
        cluster.send(at, ping);
        let told = cluster.read(at);
        let last = &told[told.len() - 1];
        assert_eq!(last["type"], "disconnect", "{told:?}");
        assert_eq!((&last["reason"], &last["reconnect"]), (&"rate_limited".into(), &false.into()));
    }
    let again = cluster.user(0, "u");
    cluster.wait(5_000);
    assert_eq!(cluster.ask(again, ping)["type"], "pong");
}

#[test]
fn the_bytes_of_a_frame_count_once_however_many_messages_it_holds() {
    let mut config = Config::default();
    config.rate.bytes_per_second = 70_000;
    let mut cluster = Cluster::new(1, config);
    let at = cluster.open(0);
    let pad = "p".repeat(900);
    let pings: Vec<_> =
        (0..50).map(|id| format!(r#"{{"type":"ping","id":{id},"data":"{pad}"}}"#)).collect();
    cluster.send(at, &format!("[{}]", pings.join(",")));
    let answers = cluster.read(at);
    assert!(answers.iter().all(|answer| answer["type"] == "pong"), "{:?}", answers[0]);
    cluster.send(at, &format!("[{}]", pings.join(",")));
    let answers = cluster.read(at);
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| answer["code"] == "rate_limited"));
}

#[test]
fn no_key_is_forgotten_before_its_time_for_another() {
    for cores in [1, 3] {
        let mut config = Config::default();
        config.rooms.idempotency_keys = 2;
        config.rooms.idempotency_window_ms = 5_000;
        let mut cluster = Cluster::new(cores, config);
        let at = cluster.user(cores - 1, "u");
        cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#);
        let publish = |cluster: &mut Cluster, key: &str| {
            let text = format!(r#"{{"type":"publish","id":2,"room":"r","data":1,"key":"{key}"}}"#);
            cluster.ask(at, &text)
        };
        assert_eq!(publish(&mut cluster, "a")["offset"], 1);
        cluster.wait(1_000);
        assert_eq!(publish(&mut cluster, "b")["offset"], 2);
        cluster.wait(3_999);
        assert_eq!(publish(&mut cluster, "c")["code"], "limit_exceeded");
        let again = publish(&mut cluster, "a");
        assert_eq!((&again["offset"], &again["duplicate"]), (&1.into(), &true.into()));
        let refused: u64 = cluster.shards.iter().map(|it| it.metrics.keys_refused.get()).sum();
        assert_eq!(refused, 1);
        cluster.wait(1);
        assert_eq!(publish(&mut cluster, "c")["offset"], 3, "the first has run out");
        assert_eq!(publish(&mut cluster, "d")["code"], "limit_exceeded");
    }
}

#[test]
fn every_frame_counts_sixty_four_bytes_though_it_is_empty() {
    let mut config = Config::default();
    config.rate.bytes_per_second = 65_536;
    let mut cluster = Cluster::new(1, config);
    let at = cluster.open(0);
    let mut ping = |id: u32, frames: u32| {
        let mut payload = format!(r#"{{"type":"ping","id":{id}}}"#).into_bytes();
        let (connection, kind) = (at.key, MessageKind::Text);
        cluster.input(at, Input::Message { connection, kind, payload: &mut payload, frames });
        cluster.read(at).pop().unwrap()
    };
    assert_eq!(ping(1, 500)["type"], "pong");
    assert_eq!(ping(2, 500)["type"], "pong");
    let refused = ping(3, 500);
    assert_eq!((&refused["code"], &refused["id"]), (&"rate_limited".into(), &3.into()));
    assert_eq!(ping(4, 10)["type"], "pong", "what is refused costs nothing");
}

fn signal(cluster: &mut Cluster, at: Address, payload: &[u8]) {
    cluster.input(at, Input::Ping { connection: at.key, payload });
}

/// A shard that measures bytes, and how many empty pings come to a burst.
fn measured(ban_ms: u64) -> (Cluster, u32) {
    let mut config = Config::default();
    config.rate.bytes_per_second = 65_536;
    config.rate.ban_ms = ban_ms;
    (Cluster::new(1, config), 1_024)
}

#[test]
fn a_flood_of_pings_is_refused_within_bounds_and_then_sent_away() {
    let (mut cluster, burst) = measured(5_000);
    let (at, other) = (cluster.open(0), cluster.open(0));
    let mut pongs = 0;
    for _ in 0..burst {
        signal(&mut cluster, at, b"");
        pongs += cluster.frames(at).iter().filter(|(opcode, _)| *opcode == 10).count();
    }
    assert_eq!(pongs, burst as usize);
    signal(&mut cluster, at, b"");
    let told = cluster.read(at);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["type"], &told[0]["code"]), (&"error".into(), &"rate_limited".into()));
    assert_eq!(told[0]["retry_after_ms"], 1);
    // Messages are measured for themselves, and so is everybody else.
    assert_eq!(cluster.ask(at, r#"{"type":"ping","id":1}"#)["type"], "pong");
    signal(&mut cluster, other, b"o");
    assert!(cluster.frames(other).contains(&(10, b"o".to_vec())));
    // Whoever reads nothing of it is told no more than fits beside a few answers, and is let go.
    for _ in 0..100_000 {
        signal(&mut cluster, at, b"");
    }
    let told = cluster.read(at);
    assert!(told.len() < 64, "{} answers", told.len());
    let last = told.last().unwrap();
    assert_eq!((&last["type"], &last["reason"]), (&"disconnect".into(), &"rate_limited".into()));
}

#[test]
fn pongs_that_nobody_asked_for_count_and_honest_heartbeats_never_do() {
    let (mut cluster, burst) = measured(0);
    let interval_ms = Config::default().heartbeat.interval_ms;
    let at = cluster.open(0);
    for _ in 0..burst {
        cluster.input(at, Input::Pong { connection: at.key, payload: b"" });
    }
    assert!(cluster.read(at).iter().all(|told| told["type"] != "error"), "they are a burst");
    cluster.input(at, Input::Pong { connection: at.key, payload: b"" });
    assert_eq!(cluster.read(at).pop().unwrap()["code"], "rate_limited");
    // It is asked, and answers within the millisecond, though it has nothing left.
    cluster.wait(interval_ms);
    for _ in 0..burst {
        cluster.input(at, Input::Pong { connection: at.key, payload: b"" });
    }
    for (opcode, payload) in cluster.frames(at) {
        if opcode == 9 {
            cluster.input(at, Input::Pong { connection: at.key, payload: &payload });
        }
    }
    assert_eq!(cluster.frames(at), [], "an answer is no flood");
    // One that pings by itself as clients do, and talks as much as it may and more.
    let long = format!(r#"{{"type":"ping","id":1,"data":"{}"}}"#, "x".repeat(30_000));
    for _ in 0..100 {
        cluster.wait(100);
        for _ in 0..3 {
            cluster.send(at, &long);
        }
        signal(&mut cluster, at, b"alive?");
        let frames = cluster.frames(at);
        assert!(frames.contains(&(10, b"alive?".to_vec())), "{}", frames.len());
        for (_, payload) in frames.iter().filter(|(opcode, _)| *opcode == 9) {
            cluster.input(at, Input::Pong { connection: at.key, payload });
        }
    }
}

#[test]
fn joins_of_rooms_that_are_there_take_nothing_from_one_that_makes_a_room() {
    for cores in [1, 3] {
        let mut config = Config::default();
        config.limits.room_creations_per_minute = 5;
        let mut cluster = Cluster::new(cores, config);
        let join = |room: &str| format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#);
        let owners = [cluster.user(0, "a"), cluster.user(0, "b"), cluster.user(0, "c")];
        for number in 0..12 {
            let answer = cluster.ask(owners[number / 4], &join(&format!("old{number}")));
            assert_eq!(answer["type"], "ok");
        }
        let at = cluster.user(cores - 1, "u");
        cluster.holds = true;
        for number in 0..12 {
            cluster.send(at, &join(&format!("old{number}")));
        }
        for number in 0..5 {
            cluster.send(at, &join(&format!("new{number}")));
        }
        cluster.holds = false;
        cluster.carry();
        let refused: Vec<_> =
            cluster.read(at).into_iter().filter(|it| it["type"] != "ok").collect();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(cluster.ask(at, &join("one more"))["code"], "rate_limited");
    }
}

#[test]
fn rooms_that_are_made_count_for_who_makes_them_however_they_ask() {
    for cores in [1, 3] {
        let mut config = Config::default();
        config.limits.room_creations_per_minute = 5;
        let mut cluster = Cluster::new(cores, config);
        let join = |id: u32, room: &str| format!(r#"{{"type":"join","id":{id},"room":"{room}"}}"#);
        let made = |cluster: &mut Cluster, at| {
            let answers = cluster.read(at);
            let limited = answers.iter().filter(|it| it["code"] == "rate_limited").count();
            let made = answers.iter().filter(|it| it["type"] == "ok").count();
            assert_eq!(made + limited, answers.len(), "{answers:?}");
            made
        };
        // All at once, before the first is answered.
        let one = cluster.user(0, "u");
        cluster.holds = true;
        for id in 0..20 {
            cluster.send(one, &join(id, &format!("a{id}")));
        }
        cluster.holds = false;
        cluster.carry();
        assert_eq!(made(&mut cluster, one), 5, "of 20");
        // Neither a second connection nor coming back makes anybody new.
        let two = cluster.user(cores - 1, "u");
        cluster.lose(one);
        let again = cluster.user(0, "u");
        for at in [two, again] {
            let create = r#"{"type":"room.create","id":1,"room":"b"}"#;
            assert_eq!(cluster.ask(at, create)["code"], "rate_limited");
            assert_eq!(cluster.ask(at, &join(2, "b"))["code"], "rate_limited");
        }
        // Others may, and into what is there all get.
        let other = cluster.user(0, "v");
        assert_eq!(cluster.ask(other, &join(1, "b"))["type"], "ok");
        assert_eq!(cluster.ask(two, &join(3, "b"))["type"], "ok");
        // A minute brings five; what makes no room costs nothing.
        cluster.wait(60_000);
        for id in 0..20 {
            assert_eq!(cluster.ask(two, &join(id, "b"))["type"], "ok");
            let create = format!(r#"{{"type":"room.create","id":{id},"room":"b"}}"#);
            assert_eq!(cluster.ask(two, &create)["code"], "room_exists");
        }
        for id in 0..6 {
            cluster.send(two, &format!(r#"{{"type":"room.create","id":{id},"room":"c{id}"}}"#));
        }
        assert_eq!(made(&mut cluster, two), 5);
        let from = |cluster: &mut Cluster, core, address: &str| {
            let at = cluster.open_with(core, |it| it.address = Some(address.parse().unwrap()));
            cluster.read(at);
            for id in 0..4 {
                cluster.send(at, &join(id, &format!("{address}/{id}/{core}").replace(':', "_")));
            }
            made(cluster, at)
        };
        assert_eq!(from(&mut cluster, 0, "2001:db8::1"), 4);
        assert_eq!(from(&mut cluster, cores - 1, "2001:db8::2"), 1, "one host");
    }
}

/// A cluster on which the one tenant there is may send so much.
fn with_tenant(change: impl FnOnce(&mut Config, &mut TenantRows)) -> Cluster {
    let (mut config, mut tenant) = (Config::default(), crate::config::Tenant::default());
    change(&mut config, &mut tenant.rows);
    config.tenants.insert("default".to_owned(), tenant);
    Cluster::new(3, config)
}

fn set_state(cluster: &mut Cluster, at: Address) -> Value {
    cluster.ask(at, r#"{"type":"state.set","id":1,"data":0}"#)
}

#[test]
fn a_tenant_has_a_second_a_burst_and_a_minute_over_all_cores() {
    let mut cluster = with_tenant(|_, rows| {
        (rows.messages_per_second, rows.burst, rows.messages_per_minute) = (10, 20, 30);
    });
    let all: Vec<_> =
        (0..9).map(|number| cluster.user(number % 3, &format!("u{number}"))).collect();
    let passed = |cluster: &mut Cluster| {
        let answers = (0..45).map(|at| set_state(cluster, all[at % 9]));
        let answers: Vec<_> = answers.collect();
        assert!(answers.iter().all(|it| it["type"] == "ok" || it["retry_after_ms"].is_number()));
        answers.iter().filter(|it| it["type"] == "ok").count()
    };
    assert_eq!(passed(&mut cluster), 20);
    cluster.wait(500);
    assert_eq!(passed(&mut cluster), 5);
    cluster.wait(1_500);
    assert_eq!(passed(&mut cluster), 6, "the minute is used up but for what two seconds bring");
    cluster.wait(60_000);
    assert_eq!(passed(&mut cluster), 20);
}

#[test]
fn a_tenant_that_keeps_on_is_banned_and_whoever_of_it_sends_is_sent_away() {
    let mut cluster = with_tenant(|_, rows| (rows.messages_per_second, rows.ban_ms) = (5, 4_000));
    let (one, two, quiet) = (cluster.user(0, "a"), cluster.user(1, "b"), cluster.user(2, "c"));
    for _ in 0..5 {
        assert_eq!(set_state(&mut cluster, one)["type"], "ok");
    }
    for _ in 0..5 {
        assert_eq!(set_state(&mut cluster, one)["code"], "rate_limited");
    }
    let told = |cluster: &mut Cluster, at: Address| {
        cluster.send(at, r#"{"type":"state.set","id":1,"data":0}"#);
        let told = cluster.read(at);
        (told[0]["retry_after_ms"].clone(), told[1]["reason"].clone())
    };
    assert_eq!(told(&mut cluster, one), (4_000.into(), "rate_limited".into()));
    cluster.wait(1_000);
    assert_eq!(told(&mut cluster, two), (3_000.into(), "rate_limited".into()), "on any core");
    cluster.wait(3_000);
    assert_eq!(set_state(&mut cluster, quiet)["type"], "ok", "who was quiet stayed");
}

#[test]
fn what_a_connection_is_refused_costs_its_tenant_nothing() {
    let mut cluster = with_tenant(|config, rows| {
        (config.rate.messages_per_second, config.rate.burst) = (1, 1);
        (rows.messages_per_second, rows.burst) = (1, 3);
    });
    let (one, two) = (cluster.user(0, "a"), cluster.user(1, "b"));
    assert_eq!(set_state(&mut cluster, one)["type"], "ok");
    for _ in 0..20 {
        assert_eq!(set_state(&mut cluster, one)["message"], "too many messages");
    }
    assert_eq!(set_state(&mut cluster, two)["type"], "ok");
    let three = cluster.user(2, "c");
    assert_eq!(set_state(&mut cluster, three)["type"], "ok");
    let four = cluster.user(2, "d");
    assert_eq!(set_state(&mut cluster, four)["message"], "too many messages of the tenant");
}

#[test]
fn who_floods_alone_brings_no_ban_upon_the_tenant() {
    let mut cluster = with_tenant(|config, rows| {
        (config.rate.messages_per_second, config.rate.burst) = (3, 3);
        (rows.messages_per_second, rows.ban_ms) = (3, 60_000);
    });
    let (flooder, other) = (cluster.user(0, "a"), cluster.user(1, "b"));
    for _ in 0..3 {
        assert_eq!(set_state(&mut cluster, flooder)["type"], "ok");
    }
    // The tenant has nothing left either, and so many refusals would be its ban.
    for _ in 0..200 {
        assert_eq!(set_state(&mut cluster, flooder)["message"], "too many messages");
    }
    assert_eq!(set_state(&mut cluster, other)["message"], "too many messages of the tenant");
    cluster.wait(1_000);
    assert_eq!(set_state(&mut cluster, other)["type"], "ok");
}
