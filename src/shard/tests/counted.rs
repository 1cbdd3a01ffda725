//! What only so many may have: a room's members, and a publication's `max_connections`. Over cores,
//! all at once, and by those who come back.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::config::Config;

const CORES: u16 = 3;

fn publish(cluster: &mut Cluster, at: Address, most: u64, more: &Value) -> Value {
    let mut filter = more.clone();
    filter["max_connections"] = most.into();
    let command = json!({"type": "publish", "id": 1, "room": "r", "data": 0, "filter": filter,
        "receipt": "delivered"});
    cluster.send(at, &command.to_string());
    let mut came = cluster.read(at);
    came.retain(|it| it["type"] != "message");
    came.pop().unwrap()
}

/// A publisher, who has set up the room and is not in it any more, and `count` users on each core.
fn begin(mode: &str, count: u16) -> (Cluster, Address, Vec<Address>) {
    let mut cluster = Cluster::new(CORES, Config::default());
    let a = cluster.user(0, "a");
    let config = json!({"mode": mode, "history_size": 10, "persistent": true});
    let create = json!({"type": "room.create", "id": 0, "room": "r", "config": config});
    assert_eq!(cluster.ask(a, &create.to_string())["type"], "ok");
    assert_eq!(
        cluster.ask(a, r#"{"type":"join","id":0,"room":"r","events":["none"]}"#)["type"],
        "ok"
    );
    let readers = (0..CORES * count).map(|number| {
        let at = cluster.user(number % CORES, &format!("reader {number}"));
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":0,"room":"r"}"#)["type"], "ok");
        at
    });
    let readers = readers.collect();
    (cluster, a, readers)
}

fn counts(cluster: &mut Cluster, readers: &[Address]) -> Vec<usize> {
    readers.iter().map(|at| cluster.offsets(*at).len()).collect()
}

#[test]
fn so_many_get_it_whichever_cores_they_are_on() {
    let (mut cluster, a, readers) = begin("reliable", 3);
    for most in [0, 1, 2, 4, 9, 20] {
        let answer = publish(&mut cluster, a, most, &json!({}));
        let got: usize = counts(&mut cluster, &readers).iter().sum();
        assert_eq!(got as u64, most.min(9), "of {most}");
        assert_eq!((&answer["total"], &answer["delivered"]), (&got.into(), &got.into()));
    }
}

#[test]
fn those_who_are_not_meant_take_nobodys_place() {
    let (mut cluster, a, readers) = begin("reliable", 3);
    for last in 0..9 {
        let only = json!({"users": [format!("reader {last}")]});
        publish(&mut cluster, a, 1, &only);
        let got = counts(&mut cluster, &readers);
        let expected: Vec<_> = (0..9).map(|number| usize::from(number == last)).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn subscribers_by_pattern_count_with_the_members() {
    let (mut cluster, a, readers) = begin("reliable", 1);
    let hearers: Vec<_> = (0..CORES).map(|core| cluster.user(core, "hearer")).collect();
    for at in &hearers {
        let answer = cluster.ask(*at, r#"{"type":"subscribe","id":0,"pattern":"*"}"#);
        assert_eq!(answer["type"], "ok");
    }
    for most in 0..8 {
        publish(&mut cluster, a, most, &json!({}));
        let all = [readers.clone(), hearers.clone()].concat();
        let got: usize = counts(&mut cluster, &all).iter().sum();
        assert_eq!(got as u64, most.min(6));
    }
}

#[test]
fn a_replay_and_the_history_are_for_those_who_had_it() {
    let (mut cluster, a, readers) = begin("reliable", 1);
    publish(&mut cluster, a, 1, &json!({}));
    let got = counts(&mut cluster, &readers);
    assert_eq!(got.iter().sum::<usize>(), 1);
    let epoch = cluster.ask(a, r#"{"type":"room.info","id":0,"room":"r"}"#)["epoch"].clone();
    let join =
        json!({"type": "join", "id": 0, "room": "r", "since": {"epoch": epoch, "offset": 0}});
    let history = json!({"type": "history", "id": 0, "room": "r"}).to_string();
    for (at, had) in readers.iter().zip(&got) {
        cluster.send(*at, &join.to_string());
        let came = cluster.read(*at);
        assert_eq!(came[0]["recovered"], true, "{came:?}");
        assert_eq!(came.len() - 1, *had);
        let page = cluster.ask(*at, &history);
        assert_eq!(page["messages"].as_array().unwrap().len(), *had);
    }
    let late = cluster.user(1, "late");
    cluster.send(late, &join.to_string());
    assert_eq!(cluster.read(late).len(), 1, "what was published is for as many as had it");
}

#[test]
fn places_that_nobody_took_are_there_for_those_who_come_late() {
    let (mut cluster, a, _) = begin("reliable", 0);
    publish(&mut cluster, a, 2, &json!({}));
    let epoch = cluster.ask(a, r#"{"type":"room.info","id":0,"room":"r"}"#)["epoch"].clone();
    let join =
        json!({"type": "join", "id": 0, "room": "r", "since": {"epoch": epoch, "offset": 0}});
    let late: Vec<_> = (0..CORES * 2).map(|core| cluster.user(core % CORES, "late")).collect();
    cluster.holds = true;
    late.iter().for_each(|at| cluster.send(*at, &join.to_string()));
    cluster.holds = false;
    cluster.carry();
    assert_eq!(counts(&mut cluster, &late).iter().sum::<usize>(), 2);
}

#[test]
fn a_page_of_the_history_takes_no_place_of_what_is_not_on_it() {
    for (limit, recovery_bytes) in [(1, 1_000), (9, 10)] {
        let mut config = Config::default();
        config.limits.recovery_bytes = recovery_bytes;
        let mut cluster = Cluster::new(CORES, config);
        let a = cluster.user(0, "a");
        let create = json!({"type": "room.create", "id": 0, "room": "r",
            "config": {"history_size": 10, "persistent": true}});
        assert_eq!(cluster.ask(a, &create.to_string())["type"], "ok");
        cluster.ask(a, r#"{"type":"join","id":0,"room":"r","events":["none"]}"#);
        let publish = json!({"type": "publish", "id": 1, "room": "r", "data": "eight it",
            "filter": {"max_connections": 1, "exclude_users": ["a"]}});
        for _ in 0..2 {
            assert_eq!(cluster.ask(a, &publish.to_string())["type"], "ok");
        }
        let history = json!({"type": "history", "id": 0, "room": "r", "limit": limit}).to_string();
        for offset in [1, 2] {
            let reader = cluster.user(1, &format!("reader {offset}"));
            let page = cluster.ask(reader, &history);
            let messages = page["messages"].as_array().unwrap();
            let offsets: Vec<_> = messages.iter().map(|it| it["offset"].as_u64()).collect();
            assert_eq!(offsets, [Some(offset)], "one to a page");
        }
    }
}

#[test]
fn a_session_that_comes_back_has_its_place_and_no_other() {
    let (mut cluster, a, readers) = begin("guaranteed", 0);
    assert!(readers.is_empty());
    let mut sessions = Vec::new();
    for core in 0..CORES {
        let at = cluster.open_as(core, &format!("reader {core}"), |_| {});
        sessions.push(cluster.read(at)[0]["session"].as_str().unwrap().to_owned());
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":0,"room":"r"}"#)["type"], "ok");
        if core > 0 {
            cluster.lose(at);
        }
    }
    // One is here and gets it; who comes back is one too many.
    publish(&mut cluster, a, 1, &json!({}));
    for core in 1..CORES {
        let session = Some(sessions[usize::from(core)].clone().into());
        let user = format!("reader {core}");
        let back = cluster.open_as(core, &user, |opened| opened.session = session.clone());
        assert_eq!(cluster.offsets(back), [0_i64; 0]);
        cluster.lose(back);
    }
    let session = Some(sessions[0].clone().into());
    let back = cluster.open_as(1, "reader 0", |opened| opened.session = session);
    assert_eq!(cluster.offsets(back), [1], "it was not acknowledged");
    cluster.wait(70_000);
    assert!(!cluster.offsets(back).is_empty(), "and comes again");
}

#[test]
fn a_room_lets_in_as_many_as_it_may_have_though_all_cores_ask_at_once() {
    let mut cluster = Cluster::new(CORES, Config::default());
    let a = cluster.user(0, "a");
    let create = r#"{"type":"room.create","id":0,"room":"r","config":{"max_members":4}}"#;
    assert_eq!(cluster.ask(a, create)["type"], "ok");
    let (mut users, mut sessions) = (Vec::new(), Vec::new());
    for number in 0..9 {
        let at = cluster.open_as(number % CORES, &format!("u{number}"), |_| {});
        sessions.push(cluster.read(at)[0]["session"].as_str().unwrap().to_owned());
        users.push(at);
    }
    cluster.holds = true;
    users.iter().for_each(|at| cluster.send(*at, r#"{"type":"join","id":1,"room":"r"}"#));
    cluster.holds = false;
    cluster.carry();
    let answers: Vec<_> = users.iter().map(|at| cluster.read(*at).pop().unwrap()).collect();
    let is_in: Vec<_> = answers.iter().map(|answer| answer["type"] == "ok").collect();
    assert_eq!(is_in.iter().filter(|is_in| **is_in).count(), 4);
    assert!(answers.iter().all(|it| it["type"] == "ok" || it["code"] == "room_full"));

    // One of them goes, another takes the place once its grace is over, and the session comes back.
    let gone = is_in.iter().position(|is_in| *is_in).unwrap();
    let other = is_in.iter().position(|is_in| !*is_in).unwrap();
    cluster.lose(users[gone]);
    let join = r#"{"type":"join","id":2,"room":"r"}"#;
    assert_eq!(cluster.ask(users[other], join)["code"], "room_full", "it may be back at once");
    cluster.wait(3_000);
    assert_eq!(cluster.ask(users[other], join)["type"], "ok");
    let back = cluster.open_as(2, &format!("u{gone}"), |opened| {
        opened.session = Some(sessions[gone].clone().into());
    });
    let welcome = cluster.read(back).remove(0);
    assert_eq!((&welcome["recovered"], &welcome["rooms"]), (&true.into(), &json!([])));
    let info = cluster.ask(users[other], r#"{"type":"room.info","id":3,"room":"r"}"#);
    assert_eq!(info["user_count"], 4);
}
