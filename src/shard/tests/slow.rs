//! Connections that do not read as fast as messages come.

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::metrics::Close;
use crate::shard::Input;

fn config(outbox_bytes: u32) -> Config {
    let mut config = Config::default();
    config.limits.outbox_bytes = outbox_bytes;
    config
}

/// A room with a policy, one that publishes and does not listen, and one that does not read.
fn room(cluster: &mut Cluster, policy: &str) -> (Address, Address) {
    let (a, b) = (cluster.open(0), cluster.open(1));
    let create = format!(
        r#"{{"type":"room.create","id":0,"room":"r","config":{{"slow_consumer":"{policy}"}}}}"#
    );
    assert_eq!(cluster.ask(a, &create)["type"], "ok");
    for at in [a, b] {
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
    }
    (a, b)
}

fn publish(cluster: &mut Cluster, at: Address, fields: &str) {
    cluster.send(
        at,
        &format!(
            r#"{{"type":"publish","room":"r","exclude_self":true,"data":"{}"{fields}}}"#,
            "x".repeat(300)
        ),
    );
    cluster.settle();
}

/// What the slow one sees covers everything once, in order.
fn covered(seen: &[i64], last: i64) {
    let mut next = 1;
    let mut at = seen.iter();
    while let Some(offset) = at.next() {
        if *offset < 0 {
            assert_eq!(-offset, next, "{seen:?}");
            next = -at.next().expect("a gap has two ends") + 1;
        } else {
            assert_eq!(*offset, next, "{seen:?}");
            next += 1;
        }
    }
    assert_eq!(next, last + 1, "{seen:?}");
}

#[test]
fn the_oldest_is_dropped_and_told() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = room(&mut cluster, "drop_oldest");
    for _ in 0..20 {
        publish(&mut cluster, a, "");
    }
    let seen = cluster.offsets(b);
    covered(&seen, 20);
    assert_eq!(seen.last(), Some(&20));
    assert!(seen[0] < 0);
}

#[test]
fn the_newest_is_dropped_and_told() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = room(&mut cluster, "drop_newest");
    for _ in 0..20 {
        publish(&mut cluster, a, "");
    }
    let seen = cluster.offsets(b);
    covered(&seen, 20);
    assert_eq!(seen[0], 1);
    assert!(seen[seen.len() - 1] < 0);
}

#[test]
fn a_notice_of_a_room_closes_nobody_who_is_behind_in_it() {
    for policy in ["drop_oldest", "drop_newest", "latest"] {
        let mut cluster = Cluster::new(2, config(2_000));
        let (a, b) = room(&mut cluster, policy);
        for event in 0..20 {
            publish(&mut cluster, a, &format!(r#","event":"{event}""#));
        }
        let metadata = format!(r#"{{"of":"{}"}}"#, "m".repeat(1_000));
        let update = format!(
            r#"{{"type":"room.update","id":2,"room":"r","config":{{"metadata":{metadata}}}}}"#
        );
        assert_eq!(cluster.ask(a, &update)["type"], "ok");
        let seen = cluster.read(b);
        assert!(seen.iter().any(|it| it["change"] == "updated"), "{policy}: {seen:?}");
        assert!(!seen.iter().any(|it| it["type"] == "disconnect"), "{policy}: {seen:?}");
    }
}

#[test]
fn only_the_newest_of_each_event_is_kept_where_that_is_the_policy() {
    let mut cluster = Cluster::new(2, config(20_000));
    let (a, b) = room(&mut cluster, "latest");
    for n in 0..10 {
        publish(
            &mut cluster,
            a,
            if n % 2 == 0 { r#","event":"even""# } else { r#","event":"odd""# },
        );
    }
    let seen = cluster.offsets(b);
    covered(&seen, 10);
    assert_eq!(seen, [-1, -8, 9, 10]);
}

#[test]
fn the_newest_of_an_event_stays_though_it_came_together_with_another() {
    let mut cluster = Cluster::new(2, config(20_000));
    let (a, b) = room(&mut cluster, "latest");
    let text = |event: &str| {
        format!(r#"{{"type":"publish","room":"r","exclude_self":true,"data":1{event}}}"#)
    };
    let (x, y, none) = (text(r#","event":"x""#), text(r#","event":"y""#), text(""));
    // In one tick; the newest of y, and of what has no name, came between others.
    cluster.send(a, &format!("[{x},{none},{y},{x}]"));
    cluster.settle();
    cluster.send(a, &x);
    cluster.settle();
    let seen = cluster.offsets(b);
    covered(&seen, 5);
    assert_eq!(seen, [-1, -1, 2, 3, -4, -4, 5]);
}

#[test]
fn a_slow_one_is_sent_away_by_default() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = room(&mut cluster, "disconnect");
    for _ in 0..20 {
        publish(&mut cluster, a, "");
    }
    let seen = cluster.read(b);
    assert_eq!(seen.last().expect("a reason")["reason"], "slow_consumer");
    assert!(seen.last().expect("a reason")["retry_after_ms"].is_u64());
}

#[test]
fn drops_begin_with_what_is_least_urgent_and_never_reach_what_is_critical() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = room(&mut cluster, "drop_oldest");
    for n in 0..12 {
        publish(&mut cluster, a, if n == 2 { r#","priority":"critical""# } else { "" });
    }
    let seen = cluster.offsets(b);
    covered(&seen, 12);
    assert!(seen.contains(&3), "{seen:?}");
}

#[test]
fn what_has_expired_is_not_written_and_told() {
    let mut cluster = Cluster::new(2, config(100_000));
    let (a, b) = room(&mut cluster, "disconnect");
    publish(&mut cluster, a, "");
    publish(&mut cluster, a, r#","ttl_ms":50"#);
    publish(&mut cluster, a, r#","ttl_ms":5000"#);
    cluster.wait(100);
    assert_eq!(cluster.offsets(b), [1, -2, -2, 3]);
}

#[test]
fn transient_messages_go_first_and_silently() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = room(&mut cluster, "disconnect");
    for n in 0..6 {
        publish(&mut cluster, a, if n < 4 { r#","transient":true"# } else { "" });
    }
    assert_eq!(cluster.offsets(b).iter().filter(|offset| **offset > 0).count(), 2);
}

/// What is never dropped is not dropped because nothing is kept of it either.
#[test]
fn what_is_critical_is_not_dropped_though_it_is_transient() {
    const CRITICAL: &str = r#","transient":true,"priority":"critical""#;
    let publications = |messages: &[serde_json::Value]| {
        messages.iter().filter(|it| it["type"] == "message").count()
    };
    for policy in ["disconnect", "drop_oldest", "drop_newest", "latest"] {
        let mut cluster = Cluster::new(2, config(2_000));
        let (a, b) = room(&mut cluster, policy);
        for _ in 0..6 {
            publish(&mut cluster, a, CRITICAL);
        }
        let seen = cluster.read(b);
        assert_eq!(seen.last().expect("a reason")["reason"], "slow_consumer", "{policy}");
        assert_eq!(publications(&seen), 0, "{policy}: what waited goes with the connection");

        // One that waits stays where others have to go.
        let mut cluster = Cluster::new(2, config(2_000));
        let (a, b) = room(&mut cluster, policy);
        publish(&mut cluster, a, CRITICAL);
        for _ in 0..6 {
            publish(&mut cluster, a, r#","transient":true"#);
        }
        let seen = cluster.read(b);
        let critical = seen.iter().filter(|it| it["priority"] == "critical");
        assert_eq!(critical.count(), 1, "{policy}: {seen:?}");
    }
}

#[test]
fn what_is_critical_and_for_one_connection_is_not_dropped_either() {
    let mut cluster = Cluster::new(2, config(2_000));
    let (a, b) = (cluster.open(0), cluster.open_with(1, |_| {}));
    let name = cluster.read(b)[0]["connection"].clone();
    let text = format!(
        r#"{{"type":"send","id":1,"to":{{"connection":{name}}},"data":"{}","priority":"critical"}}"#,
        "x".repeat(300)
    );
    let taken: Vec<_> = (0..8).map(|_| cluster.ask(a, &text)["delivered"] == 1).collect();
    assert!(taken[0] && !taken[7], "{taken:?}");
    assert_eq!(cluster.read(b).last().expect("a reason")["reason"], "slow_consumer");
}

#[test]
fn the_urgent_leaves_first_but_a_room_stays_in_order() {
    let mut cluster = Cluster::new(2, config(100_000));
    let (a, b) = room(&mut cluster, "disconnect");
    for at in [a, b] {
        cluster.ask(at, r#"{"type":"join","id":1,"room":"urgent"}"#);
    }
    publish(&mut cluster, a, "");
    cluster.send(a, r#"{"type":"publish","room":"urgent","data":1,"priority":"high"}"#);
    publish(&mut cluster, a, r#","priority":"high""#);
    let seen = cluster.read(b);
    let order: Vec<_> = seen
        .iter()
        .map(|it| (it["room"].as_str().unwrap_or_default(), it["offset"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(order, [("urgent", 1), ("r", 1), ("r", 2)]);
}

#[test]
fn whoever_lags_when_all_together_hold_too_much_is_sent_away_as_the_server_is_overloaded() {
    let mut config = config(1 << 20);
    config.limits.outbox_total_bytes = 40_000;
    let mut cluster = Cluster::new(2, config);
    let (a, b) = room(&mut cluster, "disconnect");
    for _ in 0..100 {
        publish(&mut cluster, a, "");
    }
    let seen = cluster.read(b);
    let last = seen.last().expect("a reason");
    assert_eq!(last["reason"], "overloaded", "it is far below its own limit");
    assert!(last["reconnect"] == true && last["retry_after_ms"].is_u64(), "{last}");
    let metrics = &cluster.shards[1].metrics;
    assert_eq!(metrics.closes.figure(Close::Overloaded).get(), 1);
    assert_eq!(metrics.closes.figure(Close::SlowConsumer).get(), 0);
    assert_eq!(cluster.shards[1].outbound.pool.budget.held_bytes(), 0, "nothing is kept for it");
}

#[test]
fn all_slow_connections_together_stay_within_their_budget() {
    let mut config = config(1 << 20);
    config.limits.outbox_total_bytes = 40_000;
    let mut cluster = Cluster::new(2, config);
    let (a, _) = room(&mut cluster, "drop_newest");
    for _ in 0..400 {
        publish(&mut cluster, a, "");
    }
    let held = cluster.shards[1].outbound.pool.budget.held_bytes();
    assert!(held < 21_000, "{held}");
    let metrics = &cluster.shards[1].metrics;
    assert_eq!(metrics.outbox_limit_bytes.get(), 20_000, "of two cores each has half");
    assert_eq!(metrics.outbox_bytes.get(), held);
}

/// What is written to a room is asked after, but not of all of its members in one moment: a thousand pongs
/// that come as one keep everybody else waiting.
#[test]
fn members_of_a_room_are_asked_one_by_one_whether_it_has_arrived() {
    const MEMBERS: usize = 200;
    let mut config = config(1 << 20);
    config.limits.recovery_bytes = 1 << 18;
    config.limits.connections_per_user = 0;
    let mut cluster = Cluster::new(1, config);
    let members: Vec<_> = (0..MEMBERS).map(|_| cluster.open(0)).collect();
    for at in &members {
        assert_eq!(cluster.ask(*at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
    }
    let (mut asked, mut at_once) = (0, 0);
    for _ in 0..200 {
        publish(&mut cluster, members[0], "");
        let mut now = 0;
        for at in &members[1..] {
            for (opcode, payload) in cluster.frames(*at) {
                if opcode == 0x9 {
                    now += 1;
                    cluster.input(*at, Input::Pong { connection: at.key, payload: &payload });
                }
            }
        }
        asked += now;
        at_once = at_once.max(now);
    }
    assert!(asked > 3 * MEMBERS, "{asked}");
    assert!(at_once < MEMBERS / 8, "{at_once} at once");
}
