//! What rooms have from their names: namespaces, parents, and the reserved ones.

use serde_json::Value;

use super::cluster::{Address, Cluster};
use crate::config::{Config, RoomDefaults, RoomMode};

fn clusters(config: &Config) -> impl Iterator<Item = Cluster> {
    [1, 3].into_iter().map(|cores| Cluster::new(cores, config.clone()))
}

fn last(cluster: &Cluster) -> u16 {
    u16::try_from(cluster.shards.len()).unwrap() - 1
}

fn with_namespace(name: &str, rooms: RoomDefaults) -> Config {
    let mut config = Config::default();
    config.namespace_rooms.insert(name.to_owned(), rooms);
    config
}

/// A command about a room, and its answer.
fn ask(cluster: &mut Cluster, at: Address, kind: &str, room: &str, more: &str) -> Value {
    cluster.ask(at, &format!(r#"{{"type":"{kind}","id":1,"room":"{room}"{more}}}"#))
}

fn code(cluster: &mut Cluster, at: Address, kind: &str, room: &str, more: &str) -> Value {
    ask(cluster, at, kind, room, more)["code"].clone()
}

#[test]
fn a_room_has_what_is_set_for_its_namespace() {
    let reliable = RoomDefaults {
        mode: Some(RoomMode::Reliable),
        history_size: Some(9),
        ..RoomDefaults::default()
    };
    let mut config = with_namespace("chat", reliable);
    config.namespaces.strict = true;
    for mut cluster in clusters(&config) {
        let at = cluster.open(last(&cluster));
        ask(&mut cluster, at, "join", "chat:1", "");
        let info = ask(&mut cluster, at, "room.info", "chat:1", "");
        let config = &info["config"];
        assert_eq!((&config["mode"], &config["history_size"]), (&"reliable".into(), &9.into()));
        ask(&mut cluster, at, "join", "plain", "");
        let info = ask(&mut cluster, at, "room.info", "plain", "");
        assert_eq!(info["config"]["mode"], "best_effort");
        assert_eq!(code(&mut cluster, at, "join", "other:1", ""), "invalid_room");
        let route = crate::shard::Route::Rooms(Some("other:1".into()));
        let at = cluster.open_with(0, |opened| opened.route = route);
        assert_eq!(cluster.read(at)[1]["code"], "invalid_room");
    }
}

#[test]
fn a_child_has_settings_roles_and_bans_from_the_nearest_parent_that_exists() {
    let inherits = r#","config":{"parent_inherit":true,"persistent":true}"#;
    for mut cluster in clusters(&Config::default()) {
        let far = last(&cluster);
        let (owner, guest) = (cluster.user(0, "owner"), cluster.user(far, "guest"));
        let top = r#","config":{"slow_mode_ms":7,"history_size":3}"#;
        ask(&mut cluster, owner, "room.create", "a", top);
        let made = ask(&mut cluster, guest, "room.create", "a/b/c", inherits);
        assert_eq!(made["config"]["slow_mode_ms"], 7, "{made}");
        // The owner above is one here, too.
        let update = r#","config":{"history_size":4}"#;
        let updated = ask(&mut cluster, owner, "room.update", "a/b/c", update);
        assert_eq!(updated["config"]["history_size"], 4, "{updated}");
        // A nearer parent takes over while it is there, once that is said, and lets go.
        ask(&mut cluster, guest, "join", "a/b/c", "");
        let nearer = r#","config":{"slow_mode_ms":8}"#;
        ask(&mut cluster, owner, "room.create", "a/b", nearer);
        assert!(cluster.read(guest).is_empty(), "it was made later");
        for (inherits, slow_mode_ms) in [(false, 0), (true, 8)] {
            let update = format!(r#","config":{{"parent_inherit":{inherits}}}"#);
            let updated = ask(&mut cluster, guest, "room.update", "a/b/c", &update);
            assert_eq!(updated["config"]["slow_mode_ms"], slow_mode_ms, "{updated}");
        }
        ask(&mut cluster, owner, "room.delete", "a/b", "");
        assert_eq!(cluster.read(guest)[0]["config"]["slow_mode_ms"], 7);
        cluster.wait(1);
        ask(&mut cluster, owner, "room.create", "a/b", nearer);
        assert!(cluster.read(guest).is_empty(), "it is another one");
        ask(&mut cluster, owner, "room.delete", "a/b", "");
        // A ban above sends out, and keeps out.
        ask(&mut cluster, owner, "room.ban", "a", r#","user":"guest""#);
        let told = cluster.read(guest);
        assert_eq!((&told[0]["type"], &told[0]["reason"]), (&"left".into(), &"banned".into()));
        assert_eq!(code(&mut cluster, guest, "join", "a/b/c", ""), "banned");
        ask(&mut cluster, owner, "room.unban", "a", r#","user":"guest""#);
        assert_eq!(ask(&mut cluster, guest, "join", "a/b/c", "")["type"], "ok");
        // Who inherits no more follows nobody.
        let update = r#","config":{"parent_inherit":false}"#;
        assert_eq!(ask(&mut cluster, guest, "room.update", "a/b/c", update)["type"], "ok");
        assert_eq!(code(&mut cluster, owner, "room.update", "a/b/c", update), "forbidden");
        assert!(cluster.shards.iter().all(|shard| shard.inheritance.is_empty()));
    }
}

#[test]
fn who_comes_first_into_a_child_waits_for_the_word_of_the_parents() {
    let inherits = RoomDefaults { parent_inherit: Some(true), ..RoomDefaults::default() };
    for mut cluster in clusters(&with_namespace("c", inherits)) {
        let far = last(&cluster);
        let (owner, guest) = (cluster.user(far, "owner"), cluster.user(0, "guest"));
        ask(&mut cluster, owner, "room.create", "c:a", "");
        ask(&mut cluster, owner, "room.ban", "c:a", r#","user":"guest""#);
        cluster.send(guest, r#"{"type":"join","id":1,"room":"c:a/b"}"#);
        cluster.send(guest, r#"{"type":"publish","id":2,"room":"c:a/b","data":1}"#);
        let codes: Vec<_> = cluster.read(guest).iter().map(|it| it["code"].clone()).collect();
        assert_eq!(codes, ["banned", "not_joined"]);
        assert_eq!(ask(&mut cluster, owner, "join", "c:a/b", "")["role"], "owner");
        for at in [owner, guest] {
            cluster.lose(at);
        }
        cluster.wait(200_000);
        cluster.settle();
        assert!(cluster.is_empty(), "nobody follows anybody any more");
    }
}

#[test]
fn a_deeper_chain_goes_on_as_long_as_each_inherits() {
    let inherits = |more: &str| format!(r#","config":{{"parent_inherit":true{more}}}"#);
    for mut cluster in clusters(&Config::default()) {
        let at = cluster.user(0, "u");
        ask(&mut cluster, at, "room.create", "x", r#","config":{"slow_mode_ms":1}"#);
        ask(&mut cluster, at, "room.create", "x/y", &inherits(r#","history_size":2"#));
        let made = ask(&mut cluster, at, "room.create", "x/y/z", &inherits(""));
        let config = &made["config"];
        assert_eq!((&config["slow_mode_ms"], &config["history_size"]), (&1.into(), &2.into()));
        let alone = r#","config":{"parent_inherit":false}"#;
        ask(&mut cluster, at, "room.update", "x/y", alone);
        let info = ask(&mut cluster, at, "room.info", "x/y/z", "");
        let config = &info["config"];
        assert_eq!((&config["slow_mode_ms"], &config["history_size"]), (&0.into(), &2.into()));
    }
}

#[test]
fn what_everyone_and_a_user_missed_comes_when_the_session_does() {
    let reliable = || RoomDefaults { mode: Some(RoomMode::Reliable), ..RoomDefaults::default() };
    let mut config = with_namespace("@all", reliable());
    config.namespace_rooms.insert("@user".to_owned(), reliable());
    for mut cluster in clusters(&config) {
        let far = last(&cluster);
        let a = cluster.user(0, "a");
        let b = cluster.open_as(far, "b", |_| {});
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        let say = |cluster: &mut Cluster, n: u32| {
            let sent = format!(r#"{{"type":"send","id":1,"to":{{"user":"b"}},"data":"s{n}"}}"#);
            cluster.send(a, &format!(r#"{{"type":"broadcast","data":"b{n}"}}"#));
            cluster.send(a, &sent);
        };
        let data = |seen: &[Value]| -> Vec<String> {
            let messages = seen.iter().filter(|it| it["type"] == "message");
            messages.map(|it| it["data"].as_str().unwrap().to_owned()).collect()
        };
        say(&mut cluster, 1);
        let mut seen = data(&cluster.read(b));
        seen.sort();
        assert_eq!(seen, ["b1", "s1"]);
        for room in ["@all", "@user/b"] {
            let ack = format!(r#"{{"type":"ack","id":2,"room":"{room}","offset":1}}"#);
            assert_eq!(cluster.ask(b, &ack)["type"], "ok", "{room}");
        }
        let foreign = r#"{"type":"ack","id":2,"room":"@user/a","offset":1}"#;
        assert_eq!(cluster.ask(b, foreign)["code"], "not_joined");
        cluster.lose(b);
        say(&mut cluster, 2);
        let b = cluster.open_as(0, "b", |opened| opened.session = Some(session.clone().into()));
        let seen = cluster.read(b);
        assert_eq!((&seen[0]["recovered"], &seen[0]["rooms"]), (&true.into(), &[(); 0].into()));
        let mut missed = data(&seen);
        missed.sort();
        assert_eq!(missed, ["b2", "s2"], "{seen:?}");
        say(&mut cluster, 3);
        assert_eq!(data(&cluster.read(b)).len(), 2, "once each");
        for at in [a, b] {
            cluster.lose(at);
        }
        cluster.wait(500_000);
        cluster.settle();
        assert!(cluster.is_empty());
    }
}

#[test]
fn reserved_rooms_keep_nothing_unless_they_are_told_to() {
    for mut cluster in clusters(&Config::default()) {
        let a = cluster.user(0, "a");
        let b = cluster.open_as(last(&cluster), "b", |_| {});
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        cluster.lose(b);
        cluster.send(a, r#"{"type":"broadcast","data":1}"#);
        let b = cluster.open_as(0, "b", |opened| opened.session = Some(session.clone().into()));
        assert_eq!(cluster.read(b).len(), 1, "only the welcome");
    }
}

#[test]
fn a_change_of_policy_holds_at_once_for_all_who_are_there() {
    let mut config = Config::default();
    config.limits.outbox_bytes = 2_000;
    for mut cluster in clusters(&config) {
        let (a, b) = (cluster.open(0), cluster.open(last(&cluster)));
        for at in [a, b] {
            ask(&mut cluster, at, "join", "r", "");
        }
        let policy = r#","config":{"slow_consumer":"drop_newest","mode":"reliable"}"#;
        ask(&mut cluster, a, "room.update", "r", policy);
        assert_eq!(cluster.read(b)[0]["change"], "updated");
        let say = format!(
            r#"{{"type":"publish","room":"r","exclude_self":true,"data":"{}"}}"#,
            "x".repeat(300)
        );
        for _ in 0..20 {
            cluster.send(a, &say);
            cluster.settle();
        }
        let offsets = cluster.offsets(b);
        assert_eq!(offsets.first(), Some(&1));
        assert_eq!(offsets.last(), Some(&-20), "dropped and told, not closed: {offsets:?}");
    }
}

#[test]
fn who_is_in_a_room_that_becomes_guaranteed_is_sent_again_what_comes_from_then_on() {
    for mut cluster in clusters(&Config::default()) {
        let (a, b) = (cluster.user(0, "a"), cluster.user(last(&cluster), "b"));
        for at in [a, b] {
            ask(&mut cluster, at, "join", "r", "");
        }
        ask(&mut cluster, a, "publish", "r", r#","data":1"#);
        ask(&mut cluster, a, "room.update", "r", r#","config":{"mode":"guaranteed"}"#);
        ask(&mut cluster, a, "publish", "r", r#","data":2"#);
        cluster.read(b);
        cluster.wait(61_000);
        let again = cluster.offsets(b);
        assert!(!again.is_empty() && again.iter().all(|offset| *offset == 2), "{again:?}");
    }
}

#[test]
fn what_a_guaranteed_room_has_no_more_is_told_before_the_rest() {
    let create = r#","config":{"mode":"guaranteed","history_size":2,"persistent":true}"#;
    for mut cluster in clusters(&Config::default()) {
        let (a, b) = (cluster.user(0, "a"), cluster.user(last(&cluster), "b"));
        ask(&mut cluster, a, "room.create", "r", create);
        let only = r#","events":["e"]"#;
        ask(&mut cluster, a, "join", "r", "");
        ask(&mut cluster, b, "join", "r", "");
        for n in 1..=5 {
            ask(&mut cluster, a, "publish", "r", &format!(r#","event":"e","data":{n}"#));
        }
        assert_eq!(cluster.offsets(b), [1, 2, 3, 4, 5]);
        // Of what is not acknowledged, the room has only the last two.
        cluster.wait(30_500);
        assert_eq!(cluster.offsets(b), [-1, -3, 4, 5]);
        cluster.wait(30_000);
        assert_eq!(cluster.offsets(b), [4, 5], "told once");
        cluster.lose(b);
        let b = cluster.user(0, "b");
        ask(&mut cluster, a, "publish", "r", r#","event":"x","data":6"#);
        cluster.send(b, &format!(r#"{{"type":"join","id":1,"room":"r"{only}}}"#));
        assert_eq!(cluster.offsets(b), [-1, -4, 5], "told again where it was not acknowledged");
        cluster.wait(61_000);
        let again = cluster.offsets(b);
        assert!(!again.is_empty() && again.iter().all(|offset| *offset == 5), "{again:?}");
        ask(&mut cluster, b, "ack", "r", r#","offset":6"#);
        cluster.wait(61_000);
        assert!(cluster.offsets(b).is_empty());
    }
}

#[test]
fn one_that_always_talks_is_asked_how_far_it_has_come() {
    for mut cluster in clusters(&Config::default()) {
        let (a, b) = (cluster.open(0), cluster.open_with(last(&cluster), |_| {}));
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        let keep = r#"{"type":"room.update","id":1,"room":"r","config":{"history_size":500}}"#;
        for at in [a, b] {
            ask(&mut cluster, at, "join", "r", "");
        }
        cluster.ask(a, keep);
        let say = format!(
            r#"{{"type":"publish","room":"r","exclude_self":true,"data":"{}"}}"#,
            "x".repeat(1_000)
        );
        let mut pings = 0;
        for _ in 0..200 {
            cluster.send(a, &say);
            cluster.send(b, r#"{"type":"ping"}"#);
            for (opcode, payload) in cluster.frames(b) {
                if opcode == 9 {
                    pings += 1;
                    let input = crate::shard::Input::Pong { connection: b.key, payload: &payload };
                    cluster.input(b, input);
                }
            }
        }
        assert!((3..=7).contains(&pings), "one for each 32 to 64 KiB: {pings}");
        cluster.lose(b);
        let b = cluster.open_with(0, |opened| opened.session = Some(session.into()));
        let again = cluster.offsets(b);
        assert!(again.len() < 80 && again.last() == Some(&200), "{} come twice", again.len());
    }
}

#[test]
fn a_pattern_holds_when_it_is_answered_and_comes_back_with_its_session() {
    for mut cluster in clusters(&Config::default()) {
        let far = last(&cluster);
        let (a, b) = (cluster.open(0), cluster.open_with(far, |_| {}));
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        let rooms: Vec<_> = (0..8).map(|n| format!("chat:{n}")).collect();
        for room in &rooms {
            ask(&mut cluster, a, "join", room, "");
        }
        let say = |cluster: &mut Cluster| {
            for room in &rooms {
                let text = format!(
                    r#"{{"type":"publish","room":"{room}","event":"e","exclude_self":true,"data":0}}"#
                );
                cluster.send(a, &text);
            }
        };
        // Nothing is answered while a core has not confirmed.
        cluster.holds = true;
        cluster.send(b, r#"{"type":"subscribe","id":"s","pattern":"chat:*","events":["e"]}"#);
        assert_eq!(cluster.read(b).len(), usize::from(far == 0));
        cluster.holds = false;
        cluster.carry();
        let answer = cluster.read(b);
        assert!(far == 0 || answer[0]["pattern"] == "chat:*", "{answer:?}");
        say(&mut cluster);
        assert_eq!(cluster.offsets(b), [1; 8]);
        cluster.lose(b);
        say(&mut cluster);
        let b = cluster.open_with(0, |opened| opened.session = Some(session.into()));
        assert_eq!(cluster.read(b)[0]["recovered"], true);
        say(&mut cluster);
        assert_eq!(cluster.offsets(b), [3; 8], "live ones only, and all of them");
        cluster.holds = true;
        cluster.send(b, r#"{"type":"subscribe","id":1,"pattern":"x:*"}"#);
        cluster.send(b, r#"{"type":"unsubscribe","id":2,"pattern":"x:*"}"#);
        cluster.holds = false;
        cluster.carry();
        let ids: Vec<_> = cluster.read(b).iter().map(|it| it["id"].clone()).collect();
        assert_eq!(ids, [1, 2], "each once, in order");
    }
}

#[test]
fn a_send_that_all_homes_refuse_is_answered_once_and_one_that_some_take_is_not_refused() {
    let user = RoomDefaults {
        message_bytes: Some(10),
        slow_mode_ms: Some(60_000),
        ..RoomDefaults::default()
    };
    for mut cluster in clusters(&with_namespace("@user", user)) {
        let far = last(&cluster);
        let (ann, bob) = (cluster.user(0, "ann"), cluster.user(far, "bob"));
        let carl = cluster.user(0, "carl");
        let send = |users: &str, data: &str| {
            format!(r#"{{"type":"send","id":1,"to":{{"users":[{users}]}},"data":{data}}}"#)
        };
        let long = send(r#""bob","carl""#, r#""more than ten""#);
        let told = cluster.ask(ann, &long);
        assert_eq!((&told["type"], &told["code"]), (&"error".into(), &"too_large".into()));
        // Without an id the error is told all the same, and a batch does not wait for ever.
        let batch = format!(
            r#"{{"type":"batch","id":"b","messages":[{},{}]}}"#,
            long.replace(r#""id":1,"#, ""),
            send(r#""bob""#, "1"),
        );
        cluster.send(ann, &batch);
        let told = cluster.read(ann);
        let kinds: Vec<_> = told.iter().map(|it| (&it["type"], &it["id"])).collect();
        let (error, ok) = (Value::from("error"), Value::from("ok"));
        assert_eq!(kinds.len(), 3, "{told:?}");
        assert!(kinds.contains(&(&error, &Value::Null)), "{told:?}");
        assert_eq!(kinds[2], (&ok, &"b".into()), "{told:?}");
        // Bob's room is slow; carl's has heard nothing yet.
        let told = cluster.ask(ann, &send(r#""bob","carl""#, "2"));
        assert_eq!((&told["type"], &told["delivered"]), (&ok, &1.into()), "{told}");
        let told = cluster.ask(ann, &send(r#""bob","carl""#, "3"));
        assert_eq!(told["code"], "rate_limited", "{told}");
        assert!(told["retry_after_ms"].as_u64().is_some_and(|ms| ms > 1_000), "{told}");
        assert_eq!((cluster.read(bob).len(), cluster.read(carl).len()), (1, 1));
        let connection = cluster.shards[0].outbound.get_mut(ann.key).unwrap();
        assert!(connection.rare().sendings.is_empty(), "nothing is left of what was answered");
    }
}
