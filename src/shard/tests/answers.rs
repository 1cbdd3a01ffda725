//! What waits for a connection that asks and does not read: bounded, counted, and answered in the end.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::shard::Input;
use crate::ws::MessageKind;

const OUTBOX_BYTES: u32 = 65_536;
/// What is around the messages of a page.
const AROUND_BYTES: u32 = 32_768;

fn config() -> Config {
    let mut config = Config::default();
    config.limits.outbox_bytes = OUTBOX_BYTES;
    config.limits.recovery_bytes = OUTBOX_BYTES;
    config
}

/// Somebody in a room whose history is more than a page.
fn begin(cluster: &mut Cluster, core: u16) -> Address {
    let (a, b) = (cluster.open(0), cluster.open(core));
    let create =
        json!({"type": "room.create", "id": 0, "room": "r", "config": {"history_size": 99}});
    assert_eq!(cluster.ask(a, &create.to_string())["type"], "ok");
    for at in [a, b] {
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
    }
    let publish = json!({"type": "publish", "id": 2, "room": "r", "data": "x".repeat(1_000)});
    for _ in 0..99 {
        cluster.ask(a, &publish.to_string());
        cluster.read(b);
    }
    b
}

fn histories(count: u64) -> Vec<Value> {
    let ids = 100..100 + count;
    ids.map(|id| json!({"type": "history", "id": id, "room": "r"})).collect()
}

fn pending(cluster: &mut Cluster, at: Address) -> usize {
    cluster.settle();
    cluster.shards[at.core.index()].outbox(at.key).map_or(0, |it| it.pending_bytes())
}

fn ids(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|it| it["id"].as_u64()).collect()
}

#[test]
fn a_message_full_of_questions_is_answered_as_its_answers_are_read() {
    for cores in [1, 3] {
        for is_batch in [false, true] {
            let mut cluster = Cluster::new(cores, config());
            let at = begin(&mut cluster, cores - 1);
            let core = at.core.index();
            let (all, last) = (Value::from(histories(90)), if is_batch { vec![7] } else { vec![] });
            let batch = json!({"type": "batch", "id": 7, "messages": all});
            cluster.send(at, &if is_batch { batch } else { all }.to_string());
            let waiting = pending(&mut cluster, at);
            let most = (OUTBOX_BYTES / 2 + OUTBOX_BYTES + AROUND_BYTES) as usize;
            assert!((OUTBOX_BYTES as usize / 2..most).contains(&waiting), "{waiting}");
            assert!(!cluster.shards[core].wants_reading(at.key));
            assert!(cluster.shards[core].owes(at.key));
            // It counts where all look.
            let held = cluster.shards[core].outbound.pool.budget.held_bytes();
            assert!(held >= waiting as u64, "{held} of {waiting}");
            assert_eq!(cluster.shards[core].metrics.outbox_bytes.get(), held);

            cluster.effects[core].dirty.clear();
            let answers = cluster.read(at);
            let expected: Vec<u64> = (100..190).chain(last).collect();
            assert_eq!(ids(&answers), expected, "each once, in order");
            assert!(answers.iter().all(|it| it["type"] == "ok"));
            assert!(cluster.shards[core].wants_reading(at.key));
            assert!(cluster.effects[core].dirty.contains(&at.key), "its reader is to go on");
            assert_eq!(cluster.shards[core].outbound.pool.budget.held_bytes(), 0);
        }
    }
}

/// And not when somebody else's doing lets it: whose message it is, is who would be to blame. What was
/// carried out of it is not looked at again.
#[test]
fn a_message_that_was_left_goes_on_when_it_is_handed_in_again() {
    let mut cluster = Cluster::new(1, config());
    let at = begin(&mut cluster, 0);
    let mut payload = Value::from(histories(90)).to_string().into_bytes();
    let mut answered = Vec::new();
    while answered.len() < 90 {
        let (connection, kind) = (at.key, MessageKind::Text);
        cluster.input(at, Input::Message { connection, kind, payload: &mut payload, frames: 1 });
        let answers = ids(&cluster.read(at));
        assert!((1..10).contains(&answers.len()), "{answers:?}");
        answered.extend(answers);
        assert!(cluster.shards[0].wants_reading(at.key));
        assert_eq!(cluster.shards[0].is_within_message(at.key), answered.len() < 90);
        let next = format!("{{\"id\":{}", 100 + answered.len());
        if let Some(place) = payload.windows(next.len()).position(|it| it == next.as_bytes()) {
            payload[..place - 1].fill(b'x');
        }
    }
    assert_eq!(answered, (100..190).collect::<Vec<_>>());
}

#[test]
fn what_its_own_core_answers_is_bounded_too_and_never_overtaken() {
    let mut cluster = Cluster::new(1, config());
    let at = cluster.open(0);
    let state = json!({"type": "state.set", "id": 1, "data": "s".repeat(4_000)});
    assert_eq!(cluster.ask(at, &state.to_string())["type"], "ok");
    let asked = |ids: std::ops::Range<u64>| {
        let all: Vec<_> = ids.map(|id| json!({"type": "state.get", "id": id})).collect();
        Value::from(all).to_string()
    };
    cluster.send(at, &asked(0..50));
    let waiting = pending(&mut cluster, at);
    assert!(waiting < OUTBOX_BYTES as usize / 2 + 5_000, "{waiting}");
    // What comes behind it waits, too.
    cluster.send(at, &asked(50..60));
    assert_eq!(pending(&mut cluster, at), waiting);
    assert_eq!(ids(&cluster.read(at)), (0..60).collect::<Vec<_>>());
}

#[test]
fn no_more_of_a_message_is_asked_than_may_be_unanswered() {
    let mut config = config();
    config.limits.unanswered_commands = 4;
    let mut cluster = Cluster::new(3, config);
    let at = begin(&mut cluster, 0);
    cluster.holds = true;
    let all: Vec<_> =
        (0..40).map(|id| json!({"type": "join", "id": id, "room": format!("r{id}")})).collect();
    cluster.send(at, &Value::from(all).to_string());
    let unanswered = cluster.shards[0].outbound.get(at.key).map(|it| it.unanswered);
    assert_eq!(unanswered, Some(4));
    cluster.holds = false;
    cluster.carry();
    let mut answered = ids(&cluster.read(at));
    answered.sort_unstable();
    assert_eq!(answered, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_closed_connection_is_asked_no_more() {
    let mut cluster = Cluster::new(1, config());
    let at = begin(&mut cluster, 0);
    cluster.send(at, &Value::from(histories(90)).to_string());
    cluster.input(at, Input::Drain { window_ms: 0 });
    assert!(ids(&cluster.read(at)).len() < 4);
    assert!(cluster.shards[0].wants_reading(at.key), "its close frame is to be heard");
    cluster.lose(at);
    let held = cluster.shards[0].outbound.pool.budget.held_bytes();
    assert!(held < 1_000, "{held}: the goodbye to the other");
}

/// What nobody asked for does not wait without an end either.
#[test]
fn who_does_not_read_what_is_told_of_a_room_is_sent_away() {
    let mut cluster = Cluster::new(2, config());
    let (a, b) = (cluster.open(0), cluster.open(1));
    let create = r#"{"type":"room.create","id":0,"room":"r"}"#;
    assert_eq!(cluster.ask(a, create)["type"], "ok");
    for at in [a, b] {
        assert_eq!(cluster.ask(at, r#"{"type":"join","id":1,"room":"r"}"#)["type"], "ok");
    }
    let long = "x".repeat(2_000);
    for number in 0..60 {
        let config = json!({"metadata": {"number": number, "long": long}});
        let update = json!({"type": "room.update", "id": 2, "room": "r", "config": config});
        cluster.ask(a, &update.to_string());
        assert!(pending(&mut cluster, b) <= OUTBOX_BYTES as usize);
    }
    assert_eq!(cluster.read(b).last().map(|it| it["reason"].clone()), Some("slow_consumer".into()));
}

#[test]
fn whoever_lags_is_not_read_while_all_together_are_owed_too_much() {
    let mut config = config();
    config.limits.outbox_total_bytes = 100_000;
    let mut cluster = Cluster::new(1, config);
    let all: Vec<_> = (0..8).map(|_| cluster.open(0)).collect();
    let state = json!({"type": "state.set", "id": 1, "data": "s".repeat(4_000)}).to_string();
    for at in &all {
        assert_eq!(cluster.ask(*at, &state)["type"], "ok");
    }
    for _ in 0..100 {
        for at in &all {
            if cluster.shards[0].wants_reading(at.key) {
                cluster.send(*at, r#"{"type":"state.get","id":1}"#);
            }
        }
        cluster.settle();
    }
    let held = cluster.shards[0].outbound.pool.budget.held_bytes();
    assert!((100_000..140_000).contains(&held), "{held}");
    for at in &all {
        cluster.read(*at);
        assert!(cluster.shards[0].wants_reading(at.key));
    }
}
