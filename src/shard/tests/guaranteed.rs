//! Guaranteed rooms where it is easy to owe too little: coming back, coming in again, too much at once.

use std::sync::Arc;

use super::cluster::{Address, Cluster, room};
use crate::config::Config;
use crate::shard::Input;
use crate::shard::ask::{AckAsk, What};
use crate::shard::message::{Ask, Asker, Ticket, ToHome};

fn clusters() -> Vec<Cluster> {
    let mut config = Config::default();
    config.limits.recovery_messages = 3;
    [1, 3].map(|cores| Cluster::new(cores, config.clone())).into()
}

/// A room with a publisher who stays, and a reader who has got `count` messages.
fn begin(cluster: &mut Cluster, count: u32) -> (Address, Address) {
    let far = u16::try_from(cluster.shards.len() - 1).unwrap();
    let (a, b) = (cluster.user(0, "a"), cluster.user(far, "b"));
    let create = r#"{"type":"room.create","id":0,"room":"g","config":{"mode":"guaranteed"}}"#;
    assert_eq!(cluster.ask(a, create)["type"], "ok");
    for at in [a, b] {
        assert_eq!(join(cluster, at, ""), []);
    }
    publish(cluster, a, count);
    assert_eq!(cluster.offsets(b).len(), count as usize);
    (a, b)
}

fn publish(cluster: &mut Cluster, at: Address, count: u32) {
    for _ in 0..count {
        cluster.send(at, r#"{"type":"publish","room":"g","data":0}"#);
    }
    cluster.send(at, r#"{"type":"ack","room":"g","offset":1000}"#);
    cluster.read(at);
}

/// Offsets that come, those of gaps below zero, each with whether it says that it comes again.
fn join(cluster: &mut Cluster, at: Address, more: &str) -> Vec<(i64, bool)> {
    cluster.send(at, &format!(r#"{{"type":"join","id":1,"room":"g"{more}}}"#));
    let came = cluster.read(at);
    assert_eq!(came[0]["type"], "ok");
    let offsets = came[1..].iter().map(|it| match it["to"].as_i64() {
        Some(to) => (-to, false),
        None => (it["offset"].as_i64().unwrap(), it["redelivered"] == true),
    });
    offsets.collect()
}

#[test]
fn what_came_back_and_is_not_acknowledged_comes_again_though_nothing_is_published() {
    for mut cluster in clusters() {
        let (_, b) = begin(&mut cluster, 2);
        cluster.lose(b);
        // Nobody is there who waits for anything.
        cluster.wait(200_000);
        let b = cluster.user(0, "b");
        assert_eq!(join(&mut cluster, b, ""), [(1, true), (2, true)]);
        cluster.wait(30_000);
        assert_eq!(cluster.offsets(b), [1, 2]);
    }
}

#[test]
fn who_asks_again_from_within_is_told_that_it_has_come_before() {
    for mut cluster in clusters() {
        let (_, b) = begin(&mut cluster, 2);
        assert_eq!(join(&mut cluster, b, ""), [(1, true), (2, true)]);
    }
}

#[test]
fn what_is_too_much_at_once_is_told_and_comes_piece_by_piece() {
    for mut cluster in clusters() {
        let (_, b) = begin(&mut cluster, 5);
        cluster.lose(b);
        let b = cluster.user(0, "b");
        assert_eq!(join(&mut cluster, b, ""), [(-5, false)]);
        cluster.wait(60_000);
        let piece = cluster.offsets(b);
        assert!(piece.starts_with(&[1, 2, 3]) && !piece.contains(&4), "{piece:?}");
        cluster.ask(b, r#"{"type":"ack","id":2,"room":"g","offset":3}"#);
        cluster.wait(30_000);
        assert_eq!(cluster.offsets(b), [4, 5]);
    }
}

/// However much stands before it that they do not get, and so cannot acknowledge.
#[test]
fn what_stands_behind_more_than_a_piece_of_what_is_for_others_comes_again() {
    const OWN: &str = r#","exclude_self":true"#;
    for (wishes, by_b, others, theirs) in [
        ("", false, r#","filter":{"users":["x"]}"#, ""),
        (r#","events":["x"]"#, false, r#","event":"y""#, r#","event":"x""#),
        (r#","min_priority":"high""#, false, "", r#","priority":"high""#),
        ("", true, OWN, ""),
        ("", false, r#","ttl_ms":20"#, ""),
    ] {
        for mut cluster in clusters() {
            let (a, b) = begin(&mut cluster, 0);
            join(&mut cluster, b, wishes);
            let publish = |cluster: &mut Cluster, at, more: &str| {
                cluster.send(at, &format!(r#"{{"type":"publish","room":"g","data":0{more}}}"#));
                cluster.offsets(at)
            };
            for _ in 0..10 {
                publish(&mut cluster, if by_b { b } else { a }, others);
            }
            cluster.wait(100);
            cluster.offsets(b);
            for _ in 0..2 {
                publish(&mut cluster, a, theirs);
            }
            assert_eq!(cluster.offsets(b), [11, 12], "{others}");
            for wait_ms in [60_000, 30_000] {
                cluster.wait(wait_ms);
                assert_eq!(cluster.offsets(b), [11, 12], "{others}: it is not acknowledged");
            }
            // Another device of theirs may want what this one does not.
            if wishes.contains("events") {
                let other = cluster.user(0, "b");
                assert_eq!(join(&mut cluster, other, ""), [(-12, false)]);
                cluster.wait(30_000);
                assert_eq!(cluster.offsets(other), [1, 2, 3]);
            }
            cluster.ask(b, r#"{"type":"ack","id":2,"room":"g","offset":12}"#);
            cluster.offsets(b);
            cluster.wait(60_000);
            assert_eq!(cluster.offsets(b), [0_i64; 0], "{others}");
        }
    }
}

#[test]
fn what_was_for_others_while_they_were_away_keeps_nothing_from_them() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 0);
        cluster.lose(b);
        for _ in 0..10 {
            let text = r#"{"type":"publish","room":"g","data":0,"filter":{"exclude_users":["b"]}}"#;
            cluster.send(a, text);
        }
        publish(&mut cluster, a, 1);
        let b = cluster.user(0, "b");
        assert_eq!(join(&mut cluster, b, ""), [(-11, false)], "it is too much at once");
        cluster.wait(60_000);
        assert_eq!(cluster.offsets(b).first(), Some(&11));
    }
}

#[test]
fn a_newcomer_that_names_an_old_place_is_owed_all_from_there() {
    for mut cluster in clusters() {
        let (a, _) = begin(&mut cluster, 5);
        let info = cluster.ask(a, r#"{"type":"room.info","id":3,"room":"g"}"#);
        let c = cluster.user(0, "c");
        let since = format!(r#","since":{{"epoch":{},"offset":1}}"#, info["epoch"]);
        assert_eq!(join(&mut cluster, c, &since), [(-5, false)], "more than comes at once");
        cluster.wait(60_000);
        assert!(cluster.offsets(c).starts_with(&[2, 3, 4]));
    }
}

#[test]
fn a_session_that_was_there_before_its_user_began_anew_misses_nothing() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 1);
        let other = cluster.open_as(0, "b", |_| {});
        let session = cluster.read(other)[0]["session"].as_str().unwrap().to_owned();
        join(&mut cluster, other, "");
        cluster.ask(other, r#"{"type":"ack","id":2,"room":"g","offset":1}"#);
        cluster.lose(other);
        cluster.ask(b, r#"{"type":"leave","id":3,"room":"g"}"#);
        publish(&mut cluster, a, 2);
        assert_eq!(join(&mut cluster, b, ""), [], "it left, and begins here");
        let back = cluster.open_as(0, "b", |opened| opened.session = Some(session.into()));
        assert_eq!(cluster.offsets(back), [2, 3]);
    }
}

#[test]
fn a_session_that_comes_back_to_another_life_of_a_room_gets_what_its_user_is_owed_there() {
    for (before, after, told) in [(0, 2, &[1, 2][..]), (1, 2, &[-1, 2, 3]), (1, 4, &[-5])] {
        for mut cluster in clusters() {
            let (a, _) = begin(&mut cluster, 3);
            let b = cluster.open_as(0, "b", |_| {});
            let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
            join(&mut cluster, b, "");
            cluster.lose(b);
            cluster.ask(a, r#"{"type":"room.delete","id":1,"room":"g"}"#);
            let create =
                r#"{"type":"room.create","id":0,"room":"g","config":{"mode":"guaranteed"}}"#;
            assert_eq!(cluster.ask(a, create)["type"], "ok");
            join(&mut cluster, a, "");
            publish(&mut cluster, a, before);
            make_member(&mut cluster, a, "b");
            publish(&mut cluster, a, after);
            let b = cluster.open_as(0, "b", |opened| opened.session = Some(session.into()));
            let seen = cluster.read(b);
            assert_eq!(seen[0]["rooms"][0]["recovered"], false);
            let came = seen[1..].iter().map(|it| match it["to"].as_i64() {
                Some(to) => {
                    let expected = (&1.into(), &"epoch_changed".into());
                    assert_eq!((&it["from"], &it["reason"]), expected);
                    -to
                }
                None => it["offset"].as_i64().unwrap(),
            });
            assert_eq!(came.collect::<Vec<_>>(), told);
            cluster.wait(60_000);
            let last = i64::from(before + after);
            let owed: Vec<_> = (i64::from(before) + 1..=last).take(3).collect();
            assert!(cluster.offsets(b).starts_with(&owed), "what is not acknowledged comes again");
        }
    }
}

#[test]
fn an_acknowledgement_takes_effect_where_it_was_sent() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 0);
        let kinds = |cluster: &mut Cluster, at, text: &str| {
            cluster.send(at, text);
            let told = cluster.read(at).into_iter().filter(|it| it["type"] != "message");
            told.map(|it| (it["id"].as_u64().unwrap(), it["type"] == "ok")).collect::<Vec<_>>()
        };
        let text =
            r#"[{"type":"leave","id":1,"room":"g"},{"type":"ack","id":2,"room":"g","offset":9}]"#;
        assert_eq!(kinds(&mut cluster, b, text), [(1, true), (2, false)], "it has left by then");
        let text = r#"[{"type":"join","id":1,"room":"g"},{"type":"publish","id":2,"room":"g","data":0},
            {"type":"ack","id":3,"room":"g","offset":1}]"#;
        let all = [(1, true), (2, true), (3, true)];
        assert_eq!(kinds(&mut cluster, b, text), all);
        // What was acknowledged by that does not come again.
        cluster.lose(b);
        cluster.wait(1_000);
        publish(&mut cluster, a, 1);
        let b = cluster.user(0, "b");
        assert_eq!(join(&mut cluster, b, ""), [(2, false)]);
    }
}

#[test]
fn what_is_acknowledged_in_another_life_of_a_room_says_nothing_of_this_one() {
    for mut cluster in clusters() {
        let (_, b) = begin(&mut cluster, 2);
        let room = room("g");
        let home = cluster.shards[0].home_core(&room).index();
        let epoch = Arc::clone(&cluster.shards[home].homes.get_mut(&room).unwrap().epoch);
        for (epoch, comes_again) in [("of another".into(), 2), (epoch, 0)] {
            let connection = cluster.shards[b.core.index()].outbound.get_mut(b.key).unwrap();
            connection.unanswered += 1;
            let asker = Asker {
                address: b,
                name: Arc::clone(&connection.name),
                identity: Arc::clone(&connection.identity),
                form: connection.form,
                ip: None,
                session: connection.session,
            };
            let what = What::Ack(AckAsk { offset: 2, epoch: Some(epoch) });
            let ask = Ask { room: room.clone(), asker, ticket: Ticket::default(), what };
            let message = ToHome::Ask(Box::new(ask)).into();
            let (now, effects) = (cluster.now, &mut cluster.effects[home]);
            cluster.shards[home].handle(now, Input::Core { from: b.core, message }, effects);
            cluster.carry();
            assert_eq!(join(&mut cluster, b, "").len(), comes_again);
        }
    }
}

fn make_member(cluster: &mut Cluster, by: Address, user: &str) {
    let role = r#"{"type":"room.role","id":9,"room":"g","role":"member","user":"#;
    assert_eq!(cluster.ask(by, &format!(r#"{role}"{user}"}}"#))["type"], "ok");
}

#[test]
fn a_member_who_has_not_come_yet_is_owed_what_is_published_since() {
    for mut cluster in clusters() {
        let (a, _) = begin(&mut cluster, 1);
        make_member(&mut cluster, a, "c");
        publish(&mut cluster, a, 2);
        let (c, d) = (cluster.user(0, "c"), cluster.user(0, "d"));
        assert_eq!(join(&mut cluster, d, ""), [], "who is none begins where they come");
        assert_eq!(join(&mut cluster, c, ""), [(2, false), (3, false)], "it was never sent");
        cluster.wait(30_000);
        assert_eq!(cluster.offsets(c), [2, 3], "and is not acknowledged");
        cluster.ask(c, r#"{"type":"ack","id":2,"room":"g","offset":3}"#);
        cluster.lose(c);
        let c = cluster.user(0, "c");
        assert_eq!(join(&mut cluster, c, ""), []);
    }
}

#[test]
fn a_member_who_leaves_is_owed_what_is_published_until_they_come_again() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 1);
        make_member(&mut cluster, a, "b");
        assert_eq!(cluster.ask(b, r#"{"type":"leave","id":3,"room":"g"}"#)["type"], "ok");
        publish(&mut cluster, a, 1);
        cluster.wait(60_000);
        assert!(cluster.offsets(b).is_empty(), "not before they come");
        assert_eq!(join(&mut cluster, b, ""), [(1, true), (2, false)]);
        cluster.ask(b, r#"{"type":"ack","id":2,"room":"g","offset":2}"#);
        cluster.ask(b, r#"{"type":"leave","id":3,"room":"g"}"#);
        assert_eq!(join(&mut cluster, b, ""), []);
        // With the role goes what they would be owed without being there.
        let role = r#"{"type":"room.role","id":9,"room":"g","role":"guest","user":"b"}"#;
        assert_eq!(cluster.ask(a, role)["type"], "ok");
        cluster.ask(b, r#"{"type":"leave","id":3,"room":"g"}"#);
        publish(&mut cluster, a, 1);
        assert_eq!(join(&mut cluster, b, ""), []);
    }
}

#[test]
fn whoever_has_a_role_when_a_room_begins_to_guarantee_is_owed_what_follows() {
    for mut cluster in clusters() {
        let a = cluster.user(0, "a");
        let create = r#"{"type":"room.create","id":0,"room":"g","config":{"history_size":9}}"#;
        assert_eq!(cluster.ask(a, create)["type"], "ok");
        join(&mut cluster, a, "");
        make_member(&mut cluster, a, "c");
        publish(&mut cluster, a, 1);
        let update = r#"{"type":"room.update","id":1,"room":"g","config":{"mode":"guaranteed"}}"#;
        assert_eq!(cluster.ask(a, update)["type"], "ok");
        publish(&mut cluster, a, 1);
        let c = cluster.user(0, "c");
        assert_eq!(join(&mut cluster, c, ""), [(2, false)]);
    }
}

#[test]
fn a_member_of_the_room_above_is_one_here() {
    for mut cluster in clusters() {
        let a = cluster.user(0, "a");
        let create = r#"{"type":"room.create","id":0,"room":"g","config":{"persistent":true}}"#;
        assert_eq!(cluster.ask(a, create)["type"], "ok");
        make_member(&mut cluster, a, "c");
        let below = r#"{"type":"room.create","id":0,"room":"g/h",
            "config":{"mode":"guaranteed","parent_inherit":true}}"#;
        assert_eq!(cluster.ask(a, below)["type"], "ok");
        make_member(&mut cluster, a, "d");
        let publish = r#"{"type":"publish","id":1,"room":"g/h","data":0}"#;
        cluster.ask(a, r#"{"type":"join","id":1,"room":"g/h"}"#);
        cluster.send(a, publish);
        cluster.read(a);
        for user in ["c", "d"] {
            let at = cluster.user(0, user);
            cluster.send(at, r#"{"type":"join","id":1,"room":"g/h"}"#);
            assert_eq!(cluster.read(at).last().unwrap()["offset"], 1, "{user}");
            assert_eq!(
                cluster.ask(at, r#"{"type":"ack","id":2,"room":"g/h","offset":1}"#)["type"],
                "ok"
            );
        }
        let e = cluster.user(0, "e");
        cluster.send(e, r#"{"type":"join","id":1,"room":"g/h"}"#);
        assert_eq!(cluster.read(e).len(), 1);
    }
}

/// What a user is owed who comes to a room, of what was published meanwhile.
fn owed(cluster: &mut Cluster, user: &str, room: &str) -> Vec<i64> {
    let at = cluster.user(0, user);
    cluster.send(at, &format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#));
    let came = cluster.read(at);
    assert_eq!(came[0]["type"], "ok");
    came[1..].iter().map(|it| it["offset"].as_i64().unwrap()).collect()
}

#[test]
fn with_the_role_goes_what_is_owed_to_somebody_who_is_not_there() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 0);
        for user in ["b", "c"] {
            make_member(&mut cluster, a, user);
        }
        assert_eq!(cluster.ask(b, r#"{"type":"leave","id":3,"room":"g"}"#)["type"], "ok");
        let d = cluster.user(0, "d");
        join(&mut cluster, d, "");
        cluster.lose(d);
        make_member(&mut cluster, a, "d");
        publish(&mut cluster, a, 1);
        for user in ["b", "c", "d"] {
            let role = r#"{"type":"room.role","id":9,"room":"g","role":"guest","user":"#;
            assert_eq!(cluster.ask(a, &format!(r#"{role}"{user}"}}"#))["type"], "ok");
        }
        publish(&mut cluster, a, 1);
        assert_eq!(owed(&mut cluster, "b", "g"), [0_i64; 0], "who had left");
        assert_eq!(owed(&mut cluster, "c", "g"), [0_i64; 0], "who had never come");
        assert_eq!(owed(&mut cluster, "d", "g"), [1, 2], "who joined and did not leave");
    }
}

#[test]
fn who_is_banned_is_owed_nothing_of_what_is_published_until_they_come_again() {
    for mut cluster in clusters() {
        let (a, b) = begin(&mut cluster, 1);
        cluster.lose(b);
        make_member(&mut cluster, a, "c");
        for user in ["b", "c"] {
            let target = format!(r#""id":9,"room":"g","user":"{user}"}}"#);
            assert_eq!(cluster.ask(a, &format!(r#"{{"type":"room.ban",{target}"#))["type"], "ok");
            publish(&mut cluster, a, 1);
            assert_eq!(cluster.ask(a, &format!(r#"{{"type":"room.unban",{target}"#))["type"], "ok");
            assert_eq!(owed(&mut cluster, user, "g"), [0_i64; 0]);
        }
    }
}

#[test]
fn what_is_owed_by_a_role_in_the_room_above_goes_with_it_and_with_a_ban_here() {
    for mut cluster in clusters() {
        let a = cluster.user(0, "a");
        for create in [
            r#"{"type":"room.create","id":0,"room":"g","config":{"persistent":true}}"#,
            r#"{"type":"room.create","id":0,"room":"g/h",
                "config":{"mode":"guaranteed","parent_inherit":true}}"#,
        ] {
            assert_eq!(cluster.ask(a, create)["type"], "ok");
        }
        for user in ["b", "c", "d"] {
            make_member(&mut cluster, a, user);
        }
        cluster.ask(a, r#"{"type":"join","id":1,"room":"g/h"}"#);
        for command in [
            r#"{"type":"publish","id":1,"room":"g/h","data":0}"#,
            r#"{"type":"room.role","id":1,"room":"g","role":"guest","user":"b"}"#,
            r#"{"type":"room.ban","id":1,"room":"g/h","user":"c"}"#,
            r#"{"type":"publish","id":1,"room":"g/h","data":0}"#,
            r#"{"type":"room.unban","id":1,"room":"g/h","user":"c"}"#,
            r#"{"type":"publish","id":1,"room":"g/h","data":0}"#,
        ] {
            cluster.send(a, command);
            assert!(cluster.read(a).iter().any(|it| it["type"] == "ok"), "{command}");
        }
        assert_eq!(owed(&mut cluster, "b", "g/h"), [0_i64; 0], "no member above any more");
        assert_eq!(owed(&mut cluster, "c", "g/h"), [3], "a member above again");
        assert_eq!(owed(&mut cluster, "d", "g/h"), [1, 2, 3]);
    }
}
