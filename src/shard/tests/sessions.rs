//! Who gets a session that several ask for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster, room};
use crate::config::Config;
use crate::id::CoreId;
use crate::shard::Route;
use crate::shard::identity::{Permit, Right};

/// A cluster of three cores, a connection on the first, whose session lives there, and that session.
fn begin() -> (Cluster, Address, String) {
    let mut cluster = Cluster::new(3, Config::default());
    let first = cluster.open_with(0, |_| {});
    let session = cluster.read(first)[0]["session"].as_str().unwrap().to_owned();
    cluster.send(first, r#"{"type":"join","room":"a"}"#);
    cluster.read(first);
    (cluster, first, session)
}

fn ask(cluster: &mut Cluster, core: u16, session: &str) -> Address {
    cluster.open_with(core, |opened| opened.session = Some(session.to_owned().into()))
}

/// What a connection is told first, and whether it was replaced behind that.
fn told(cluster: &mut Cluster, at: Address) -> (Value, bool) {
    let mut messages = cluster.read(at).into_iter();
    let welcome = messages.next().unwrap();
    assert_eq!(welcome["type"], "welcome");
    (welcome, messages.any(|it| it["reason"] == "replaced"))
}

#[test]
fn an_ask_that_comes_late_from_a_connection_that_is_gone_takes_nothing() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let gone = ask(&mut cluster, 2, &session);
    cluster.lose(gone);
    let back = ask(&mut cluster, 1, &session);
    for _ in 0..10 {
        cluster.carry_of(1);
        cluster.carry_of(0);
    }
    cluster.holds = false;
    cluster.carry();
    let (welcome, replaced) = told(&mut cluster, back);
    assert_eq!((&welcome["recovered"], replaced), (&true.into(), false));
    assert_eq!(welcome["rooms"][0]["room"], "a");
    assert_eq!(cluster.read(first).last().unwrap()["reason"], "replaced");
    cluster.lose(first);
    cluster.lose(back);
    cluster.wait(100_000);
    let again = ask(&mut cluster, 2, &session);
    assert_eq!(told(&mut cluster, again).0["recovered"], true);
    cluster.lose(again);
    cluster.wait(200_000);
    assert!(cluster.is_empty());
}

#[test]
fn who_had_it_keeps_it_when_the_one_that_asked_is_gone() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let gone = ask(&mut cluster, 2, &session);
    cluster.lose(gone);
    cluster.holds = false;
    cluster.carry();
    assert!(cluster.read(first).is_empty());
    assert_eq!(cluster.ask(first, r#"{"type":"state.get","id":1}"#)["type"], "ok");
    cluster.lose(first);
    let back = ask(&mut cluster, 1, &session);
    assert_eq!(told(&mut cluster, back).0["recovered"], true);
}

#[test]
fn a_room_is_kept_by_a_session_though_another_was_sent_out_as_it_went() {
    let mut cluster = Cluster::new(3, Config::default());
    let owner = cluster.user(0, "owner");
    let join = r#"{"type":"join","id":1,"room":"a"}"#;
    let epoch = cluster.ask(owner, join)["epoch"].clone();
    let sent_out = cluster.user(1, "out");
    let kept = cluster.open_as(2, "kept", |_| {});
    let session = cluster.read(kept)[0]["session"].as_str().unwrap().to_owned();
    for at in [sent_out, kept] {
        assert_eq!(cluster.ask(at, join)["type"], "ok");
    }
    // It is gone before it hears that it was sent out.
    cluster.holds = true;
    cluster.send(owner, r#"{"type":"room.kick","id":2,"room":"a","user":"out"}"#);
    let room = room("a");
    if cluster.shards[0].home_core(&room) != CoreId(0) {
        cluster.carry_of(0);
    }
    cluster.lose(sent_out);
    cluster.holds = false;
    cluster.carry();
    let ttl_ms = Config::default().session.ttl_ms;
    cluster.wait(ttl_ms / 2);
    cluster.lose(kept);
    cluster.wait(1);
    cluster.ask(owner, r#"{"type":"leave","id":3,"room":"a"}"#);
    // The session of the first is over, that of the second is not.
    cluster.wait(ttl_ms * 3 / 4);
    let back = cluster.open_as(1, "kept", |opened| opened.session = Some(session.into()));
    let (welcome, _) = told(&mut cluster, back);
    assert_eq!(
        (&welcome["rooms"][0]["room"], &welcome["rooms"][0]["epoch"]),
        (&"a".into(), &epoch)
    );
    for at in [owner, back] {
        cluster.lose(at);
    }
    cluster.wait(2 * ttl_ms);
    assert!(cluster.is_empty());
}

#[test]
fn those_who_ask_at_once_get_it_in_turn() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let asked = [1, 2, 0, 1, 2].map(|core| ask(&mut cluster, core, &session));
    cluster.lose(asked[1]);
    cluster.holds = false;
    cluster.carry();
    assert_eq!(cluster.read(first).last().unwrap()["reason"], "replaced");
    let welcomed = [0, 2, 3, 4].map(|at| told(&mut cluster, asked[at]));
    assert!(welcomed.iter().all(|(welcome, _)| welcome["recovered"] == true));
    assert_eq!(welcomed.iter().filter(|(_, replaced)| !replaced).count(), 1, "one has it");
    for at in asked.into_iter().chain([first]) {
        cluster.lose(at);
    }
    cluster.wait(200_000);
    assert!(cluster.is_empty());
}

#[test]
fn who_waits_gets_it_from_one_that_is_lost_before_it_was_told_to_let_go() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let back = [ask(&mut cluster, 1, &session), ask(&mut cluster, 2, &session)];
    cluster.carry_of(1);
    cluster.carry_of(2);
    cluster.lose(first);
    cluster.carry_of(0);
    cluster.lose(back[0]);
    cluster.holds = false;
    cluster.carry();
    let (welcome, replaced) = told(&mut cluster, back[1]);
    assert_eq!((&welcome["recovered"], replaced), (&true.into(), false));
    assert_eq!(welcome["rooms"][0]["room"], "a");
}

fn reliable() -> Config {
    let config = super::nodes::config();
    Config { redis: crate::config::Redis::default(), ..config }
}

/// Everything, but to join one room.
#[derive(Debug)]
struct NotInto(&'static str);

impl Permit for NotInto {
    fn allows(&self, right: Right, on: &str) -> bool {
        right != Right::Join || on != self.0
    }

    fn allows_from_outside(&self, _right: Right, _on: &str) -> bool {
        false
    }
}

#[test]
fn who_comes_back_is_told_which_rooms_they_are_no_longer_in_and_why() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = cluster.user(0, "owner");
        let away = cluster.open_as(cores - 1, "ann", |_| {});
        let session = cluster.read(away)[0]["session"].as_str().unwrap().to_owned();
        let rooms = ["kept", "kicked", "banned", "deleted", "withheld"];
        for room in rooms {
            for at in [owner, away] {
                let join = json!({"type": "join", "room": room, "id": 1});
                assert_eq!(cluster.ask(at, &join.to_string())["type"], "ok");
            }
        }
        cluster.lose(away);
        for command in [
            json!({"type": "room.kick", "room": "kicked", "user": "ann", "id": 2}),
            json!({"type": "room.ban", "room": "banned", "user": "ann", "id": 3}),
            json!({"type": "room.delete", "room": "deleted", "id": 4}),
        ] {
            assert_eq!(cluster.ask(owner, &command.to_string())["type"], "ok");
        }
        let back = cluster.open_granted(0, "ann", Arc::new(NotInto("withheld")), |opened| {
            opened.session = Some(session.into());
        });
        let mut events = cluster.read(back).into_iter();
        let welcome = events.next().unwrap();
        assert_eq!((&welcome["type"], &welcome["recovered"]), (&json!("welcome"), &json!(true)));
        let there: Vec<_> =
            welcome["rooms"].as_array().unwrap().iter().map(|it| &it["room"]).collect();
        assert_eq!(there, ["kept"]);
        let mut left: Vec<_> = events
            .map(|it| {
                assert_eq!((&it["type"], it.get("by")), (&json!("left"), None));
                (it["room"].as_str().unwrap().to_owned(), it["reason"].as_str().unwrap().to_owned())
            })
            .collect();
        left.sort();
        let expected = [
            ("banned", "banned"),
            ("deleted", "room_deleted"),
            ("kicked", "kicked"),
            ("withheld", "permission_revoked"),
        ];
        assert_eq!(left, expected.map(|(room, why)| (room.to_owned(), why.to_owned())));
        let info = cluster.ask(owner, r#"{"type":"room.info","room":"deleted","id":5}"#);
        assert_eq!(info["code"], "not_found", "nobody has made it anew");
    }
}

#[test]
fn who_comes_back_to_a_room_that_was_made_anew_is_told_that_they_have_missed_something() {
    let mut cluster = Cluster::new(2, reliable());
    let owner = cluster.user(0, "owner");
    let away = cluster.open_as(1, "ann", |_| {});
    let session = cluster.read(away)[0]["session"].as_str().unwrap().to_owned();
    let join = r#"{"type":"join","room":"sure:a","id":1}"#;
    for at in [owner, away] {
        assert_eq!(cluster.ask(at, join)["type"], "ok");
    }
    let first = cluster.ask(owner, r#"{"type":"publish","room":"sure:a","data":1,"id":2}"#);
    cluster.read(away);
    cluster.lose(away);
    cluster.ask(owner, r#"{"type":"publish","room":"sure:a","data":2,"id":3}"#);
    cluster.ask(owner, r#"{"type":"room.delete","room":"sure:a","id":4}"#);
    assert_eq!(cluster.ask(owner, join)["role"], "owner");
    let back = cluster.open_as(1, "ann", |opened| opened.session = Some(session.into()));
    let welcome = cluster.read(back).remove(0);
    let room = &welcome["rooms"][0];
    assert_eq!(
        (&room["offset"], &room["recovered"], &room["role"]),
        (&json!(0), &json!(false), &json!("guest"))
    );
    // So is who asks for what came after a place in a life that is over.
    let eve = cluster.user(0, "eve");
    let since = json!({"epoch": first["epoch"], "offset": 1});
    let join = json!({"type": "join", "room": "sure:a", "since": since, "id": 5});
    assert_eq!(cluster.ask(eve, &join.to_string())["recovered"], false);
}

#[test]
fn who_names_a_room_comes_in_though_their_session_is_no_longer_in_it() {
    for (command, becomes) in [
        (json!({"type": "room.kick", "room": "a", "user": "ann", "id": 2}), Some("guest")),
        (json!({"type": "room.delete", "room": "a", "id": 2}), Some("owner")),
        (json!({"type": "room.ban", "room": "a", "user": "ann", "id": 2}), None),
    ] {
        let mut cluster = Cluster::new(2, Config::default());
        let owner = cluster.user(0, "owner");
        let away = cluster.open_as(1, "ann", |_| {});
        let session = cluster.read(away)[0]["session"].as_str().unwrap().to_owned();
        for at in [owner, away] {
            assert_eq!(cluster.ask(at, r#"{"type":"join","room":"a","id":1}"#)["type"], "ok");
        }
        cluster.lose(away);
        assert_eq!(cluster.ask(owner, &command.to_string())["type"], "ok");
        let back = cluster.open_as(1, "ann", |opened| {
            opened.session = Some(session.into());
            opened.route = Route::Rooms(Some("a".into()));
        });
        let events = cluster.read(back);
        let rooms = events[0]["rooms"].as_array().unwrap().iter();
        let rooms: Vec<_> = rooms.map(|it| (&it["room"], it["role"].as_str())).collect();
        match becomes {
            Some(_) => {
                assert_eq!(rooms, [(&json!("a"), becomes)], "{events:?}");
                assert_eq!(events.len(), 1, "they are in it: {events:?}");
            }
            None => {
                assert_eq!((rooms.len(), events.len()), (0, 2), "{events:?}");
                assert_eq!(events[1]["code"], "banned");
            }
        }
    }
}
