//! Pages of what was published, as one reader may see it.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::config::Config;

fn ask(cluster: &mut Cluster, at: Address, message: &Value) -> Value {
    let answer = cluster.ask(at, &message.to_string());
    assert_eq!(answer["type"], "ok", "{message}: {answer}");
    answer
}

/// A room that keeps as many, and its owner.
fn room(cluster: &mut Cluster, size: u32) -> Address {
    let owner = cluster.user(0, "o");
    let config = json!({"history_size": size});
    ask(cluster, owner, &json!({"type": "room.create", "id": 1, "room": "r", "config": config}));
    ask(cluster, owner, &json!({"type": "join", "id": 1, "room": "r"}));
    owner
}

fn publish(cluster: &mut Cluster, at: Address, more: &Value) {
    let mut message =
        json!({"type": "publish", "id": 1, "room": "r", "data": 1, "exclude_self": true});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(cluster, at, &message);
}

/// The offsets of a page, and whether older ones were trimmed.
fn page(cluster: &mut Cluster, at: Address, more: &Value) -> (Vec<u64>, bool) {
    let mut message = json!({"type": "history", "id": 1, "room": "r"});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let page = ask(cluster, at, &message);
    let messages = page["messages"].as_array().unwrap().iter();
    let offsets = messages.map(|it| it["offset"].as_u64().unwrap()).collect();
    (offsets, page["truncated"].as_bool().unwrap())
}

#[test]
fn a_page_has_as_many_as_asked_for_of_what_its_reader_may_see() {
    for cores in [1, 3] {
        let mut cluster = Cluster::new(cores, Config::default());
        let owner = room(&mut cluster, 9);
        let reader = cluster.user(cores - 1, "b");
        let join = ask(&mut cluster, reader, &json!({"type": "join", "id": 1, "room": "r"}));
        // 1 to 5 for others, 6 for all, 7 and 8 for others, 9 for all.
        let others = json!({"filter": {"users": ["x"]}});
        for (count, more) in [(5, &others), (1, &json!({})), (2, &others), (1, &json!({}))] {
            for _ in 0..count {
                publish(&mut cluster, owner, more);
            }
        }
        let at = |offset: u64| json!({"epoch": join["epoch"], "offset": offset});
        for (asked, expected) in [
            (json!({"limit": 3}), vec![6, 9]),
            (json!({"limit": 1}), vec![6]),
            (json!({"limit": 1, "reverse": true}), vec![9]),
            (json!({"limit": 2, "reverse": true}), vec![9, 6]),
            (json!({"limit": 1, "before": at(9)}), vec![6]),
            (json!({"limit": 1, "since": at(6)}), vec![9]),
            (json!({"limit": 1, "since": at(2), "reverse": true}), vec![6]),
        ] {
            assert_eq!(page(&mut cluster, reader, &asked), (expected, false), "{asked}");
        }
        // The first is trimmed: a page that does not reach so far does not say so.
        publish(&mut cluster, owner, &json!({}));
        for (asked, expected) in [
            (json!({"limit": 3, "reverse": true}), (vec![10, 9, 6], false)),
            (json!({"limit": 4, "reverse": true}), (vec![10, 9, 6], true)),
            (json!({"limit": 1}), (vec![6], true)),
        ] {
            assert_eq!(page(&mut cluster, reader, &asked), expected, "{asked}");
        }
    }
}

/// Pages that end early, because of their bytes, or begin behind what is not for their reader.
#[test]
fn pages_until_an_empty_one_bring_everything() {
    for cores in [1, 3] {
        let mut config = Config::default();
        config.limits.recovery_bytes = 1_024;
        let mut cluster = Cluster::new(cores, config);
        let owner = room(&mut cluster, 40);
        let reader = cluster.user(cores - 1, "b");
        let join = ask(&mut cluster, reader, &json!({"type": "join", "id": 1, "room": "r"}));
        let data = "x".repeat(400);
        for number in 1..=40 {
            let filter = if number % 3 == 0 { json!({"users": ["x"]}) } else { json!({}) };
            publish(&mut cluster, owner, &json!({"data": data, "filter": filter}));
        }
        let epoch = &join["epoch"];
        let all: Vec<u64> = (1..=40).filter(|number| number % 3 != 0).collect();
        for backwards in [false, true] {
            let mut asked = json!({"limit": 10, "reverse": backwards});
            let mut seen = Vec::new();
            loop {
                let (offsets, _) = page(&mut cluster, reader, &asked);
                let Some(last) = offsets.last() else { break };
                assert!(offsets.len() < 10, "it ended at its bytes");
                let bound = if backwards { "before" } else { "since" };
                asked[bound] = json!({"epoch": epoch, "offset": last});
                seen.extend(offsets);
            }
            seen.sort_unstable();
            assert_eq!(seen, all, "backwards: {backwards}");
        }
    }
}

#[test]
fn what_is_past_its_time_is_on_no_page() {
    let mut cluster = Cluster::new(2, Config::default());
    let owner = room(&mut cluster, 9);
    for more in [json!({"ttl_ms": 100}), json!({}), json!({"ttl_ms": 100}), json!({})] {
        publish(&mut cluster, owner, &more);
    }
    assert_eq!(page(&mut cluster, owner, &json!({"limit": 3})), (vec![1, 2, 3], false));
    cluster.wait(99);
    assert_eq!(page(&mut cluster, owner, &json!({})), (vec![1, 2, 3, 4], false));
    cluster.wait(1);
    assert_eq!(page(&mut cluster, owner, &json!({"limit": 2})), (vec![2, 4], false));
    assert_eq!(page(&mut cluster, owner, &json!({"reverse": true})), (vec![4, 2], false));
}
