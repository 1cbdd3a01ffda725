//! What is too much, and what its sender is told.

use super::cluster::Cluster;
use crate::config::Config;

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
