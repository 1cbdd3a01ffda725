//! Recoveries that are larger than an outbox, by themselves or with those of other rooms: such a room is
//! not recovered, and its reader is told so and stays.

use serde_json::Value;

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::metrics::Gap;
use crate::shard::Shard;

const OUTBOX_BYTES: usize = 8_000;
const MESSAGE_BYTES: usize = 1_000;
/// Rooms, and how many messages each has: all of the first ones together do not fit, the last alone
/// does not.
const ROOMS: &[(&str, usize)] = &[("r1", 3), ("r2", 3), ("r3", 3), ("r4", 20)];

fn clusters() -> Vec<Cluster> {
    let mut config = Config::default();
    config.limits.outbox_bytes = u32::try_from(OUTBOX_BYTES).unwrap();
    config.rate.messages_per_second = 0;
    [1, 3].map(|cores| Cluster::new(cores, config.clone())).into()
}

/// The rooms, with somebody who publishes in them.
fn begin(cluster: &mut Cluster, mode: &str) -> Address {
    let a = cluster.open(0);
    for (room, _) in ROOMS {
        let create = format!(
            r#"{{"type":"room.create","id":0,"room":"{room}","config":{{"mode":"{mode}","history_ttl_ms":86400000}}}}"#
        );
        assert_eq!(cluster.ask(a, &create)["type"], "ok");
        assert_eq!(cluster.ask(a, &join(room, ""))["type"], "ok");
    }
    a
}

fn join(room: &str, more: &str) -> String {
    format!(r#"{{"type":"join","id":1,"room":"{room}"{more}}}"#)
}

/// As much in each room as the list says; the publisher reads on.
fn fill(cluster: &mut Cluster, a: Address) {
    let data = "x".repeat(MESSAGE_BYTES);
    for (room, count) in ROOMS {
        for _ in 0..*count {
            let publish = format!(r#"{{"type":"publish","room":"{room}","data":"{data}"}}"#);
            cluster.send(a, &publish);
            cluster.read(a);
        }
        cluster.send(a, &format!(r#"{{"type":"ack","room":"{room}","offset":1000}}"#));
    }
}

/// Events of a kind and a room.
fn of<'a>(seen: &'a [Value], kind: &'a str, room: &'a Value) -> impl Iterator<Item = &'a Value> {
    seen.iter().filter(move |it| it["type"] == kind && it["room"] == *room)
}

fn offsets(seen: &[Value], room: &Value) -> Vec<u64> {
    of(seen, "message", room).map(|it| it["offset"].as_u64().unwrap()).collect()
}

#[test]
fn what_a_session_published_and_did_not_want_back_does_not_come_with_it() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let other = cluster.user(0, "other");
        let create = r#"{"type":"room.create","id":0,"room":"r","config":{"mode":"reliable"}}"#;
        assert_eq!(cluster.ask(other, create)["type"], "ok");
        cluster.ask(other, r#"{"type":"join","id":0,"room":"r"}"#);
        let mut at = cluster.open_as(cores - 1, "u", |_| {});
        let session = cluster.read(at)[0]["session"].as_str().unwrap().to_owned();
        cluster.ask(at, r#"{"type":"join","id":0,"room":"r"}"#);
        // It comes back twice, on other cores, and never says what it has read.
        for life in 0..3_u16 {
            cluster.send(at, r#"{"type":"publish","room":"r","data":0,"exclude_self":true}"#);
            cluster.send(other, r#"{"type":"publish","room":"r","data":0}"#);
            let offsets = cluster.offsets(at);
            assert_eq!(offsets.last(), Some(&i64::from(2 * life + 2)));
            cluster.lose(at);
            at = cluster.open_as(life % cores, "u", |opened| {
                opened.session = Some(session.clone().into());
            });
            let expected: Vec<_> = (1..=life + 1).map(|number| i64::from(2 * number)).collect();
            assert_eq!(cluster.offsets(at), expected);
        }
        assert_eq!(cluster.offsets(other), [1, 2, 3, 4, 5, 6]);
        // What it sent before it went, and the room gets after it has come back.
        cluster.holds = true;
        cluster.send(at, r#"{"type":"publish","room":"r","data":0,"exclude_self":true}"#);
        cluster.lose(at);
        cluster.holds = false;
        cluster.carry();
        let at = cluster.open_as(0, "u", |opened| opened.session = Some(session.into()));
        assert!(!cluster.offsets(at).contains(&7));
        assert_eq!(cluster.offsets(other), [7]);
        for at in [at, other] {
            cluster.lose(at);
        }
        cluster.wait(200_000);
        assert!(cluster.is_empty());
        assert!(cluster.shards.iter().all(|shard| shard.outbound.heirs_count() == 0));
    }
}

#[test]
fn a_session_gets_back_what_fits_and_is_told_of_the_rest() {
    for mut cluster in clusters() {
        let far = u16::try_from(cluster.shards.len()).unwrap() - 1;
        let a = begin(&mut cluster, "reliable");
        let b = cluster.open_with(far, |_| {});
        let session = cluster.read(b)[0]["session"].as_str().unwrap().to_owned();
        for (room, _) in ROOMS {
            assert_eq!(cluster.ask(b, &join(room, ""))["type"], "ok");
        }
        cluster.lose(b);
        fill(&mut cluster, a);
        let mut told = 0;
        // As often as they come back.
        for _ in 0..3 {
            let back = cluster.open_with(0, |opened| opened.session = Some(session.clone().into()));
            let seen = cluster.read(back);
            assert_eq!(seen[0]["type"], "welcome", "{seen:?}");
            let rooms = seen[0]["rooms"].as_array().unwrap();
            assert_eq!(rooms.len(), ROOMS.len());
            let mut recovered = 0;
            for room in rooms {
                let (name, last) = (&room["room"], room["offset"].as_u64().unwrap());
                let gaps: Vec<_> = of(&seen, "gap", name).collect();
                if room["recovered"] == true {
                    assert_eq!(offsets(&seen, name), (1..=last).collect::<Vec<_>>());
                    assert!(gaps.is_empty(), "{seen:?}");
                    recovered += 1;
                } else {
                    assert!(offsets(&seen, name).is_empty(), "none of it: {seen:?}");
                    assert_eq!(gaps.len(), 1, "{seen:?}");
                    assert_eq!(
                        (gaps[0]["from"].as_u64(), gaps[0]["to"].as_u64()),
                        (Some(1), Some(last))
                    );
                    assert_eq!(gaps[0]["reason"], "history_truncated");
                    told += last;
                }
            }
            assert_eq!(recovered, 2, "three times three are more than there is space for");
            // They are still there, and hear what is said now.
            cluster.send(a, r#"{"type":"publish","room":"r4","data":"now","transient":true}"#);
            assert_eq!(cluster.read(back).last().unwrap()["data"], "now");
            cluster.read(a);
            cluster.lose(back);
        }
        let counted = |shard: &Shard| shard.metrics.gaps.figure(Gap::HistoryTruncated).get();
        assert_eq!(cluster.shards.iter().map(counted).sum::<u64>(), told);
    }
}

#[test]
fn whoever_asks_for_more_than_fits_gets_none_and_stays() {
    for mut cluster in clusters() {
        let a = begin(&mut cluster, "reliable");
        let b = cluster.open(0);
        fill(&mut cluster, a);
        for (room, count) in ROOMS {
            let name = Value::from(*room);
            let epoch = cluster.ask(a, &join(room, ""))["epoch"].as_str().unwrap().to_owned();
            let since = |offset: usize| {
                join(room, &format!(r#","since":{{"epoch":"{epoch}","offset":{offset}}}"#))
            };
            cluster.send(b, &since(0));
            let seen = cluster.read(b);
            assert_eq!(seen[0]["recovered"], *count < 7, "{room}: {seen:?}");
            assert_eq!(offsets(&seen, &name).len(), if *count < 7 { *count } else { 0 });
            assert_eq!(of(&seen, "gap", &name).count(), 0, "the answer says it");
            // What is near the end fits.
            cluster.send(b, &since(count - 2));
            let seen = cluster.read(b);
            assert_eq!((&seen[0]["type"], &seen[0]["recovered"]), (&"ok".into(), &true.into()));
            assert_eq!(offsets(&seen, &name), [*count as u64 - 1, *count as u64]);
        }
    }
}

/// What was not acknowledged is not lost by that: it comes piece by piece.
#[test]
fn what_is_guaranteed_and_does_not_fit_comes_later() {
    for mut cluster in clusters() {
        let a = begin(&mut cluster, "guaranteed");
        let b = cluster.user(0, "b");
        assert_eq!(cluster.ask(b, &join("r4", ""))["type"], "ok");
        cluster.lose(b);
        fill(&mut cluster, a);
        let b = cluster.user(0, "b");
        cluster.send(b, &join("r4", ""));
        let seen = cluster.read(b);
        let room = Value::from("r4");
        assert_eq!((&seen[0]["type"], &seen[0]["recovered"]), (&"ok".into(), &false.into()));
        let gap = of(&seen, "gap", &room).next().expect("what does not come now is told");
        assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(1), Some(20)));
        assert!(offsets(&seen, &room).is_empty());
        let mut next = 1;
        for _ in 0..40 {
            cluster.wait(30_000);
            let seen = cluster.read(b);
            for message in of(&seen, "message", &room) {
                assert_eq!(message["offset"].as_u64(), Some(next), "in order: {message}");
                assert_eq!(message["redelivered"], true);
                next += 1;
            }
            let ack = format!(r#"{{"type":"ack","room":"r4","offset":{}}}"#, next - 1);
            cluster.send(b, &ack);
        }
        assert_eq!(next, 21, "all of it");
    }
}
