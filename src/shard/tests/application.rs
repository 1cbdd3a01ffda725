//! Application events: what handlers answer, and what clients do.

use std::sync::Arc;

use super::cluster::Cluster;
use crate::config::Config;
use crate::protocol::{Codec, Data, ErrorCode, OwnedData};
use crate::shard::Input;
use crate::shard::application::{Failure, Handler, Handlers, Message, Question, Unanswered};

#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn handle(&self, message: &Message<'_>) -> Result<OwnedData, Failure> {
        let failure = Failure { code: ErrorCode::BadRequest, message: "no data".into() };
        message.data.map(Data::to_owned).ok_or(failure)
    }
}

fn data(text: &str) -> OwnedData {
    Data::new(Codec::Json, text.as_bytes(), 8).unwrap().to_owned()
}

#[test]
fn a_handler_answers_its_type_and_no_other() {
    let mut cluster = Cluster::new(1, Config::default());
    let handlers = Handlers::default().with("echo", Arc::new(Echo));
    cluster.shards[0].answer_with(Arc::new(handlers));
    let at = cluster.open(0);
    let answer = cluster.ask(at, r#"{"type":"echo","id":1,"data":{"n":1.50}}"#);
    assert_eq!((&answer["type"], &answer["data"]["n"]), (&"ok".into(), &1.5.into()));
    let answer = cluster.ask(at, r#"{"type":"echo","id":2}"#);
    assert_eq!((&answer["code"], &answer["message"]), (&"bad_request".into(), &"no data".into()));
    assert_eq!(cluster.ask(at, r#"{"type":"other","id":3}"#)["code"], "not_found");
    cluster.send(at, r#"{"type":"echo","data":1}"#);
    assert!(cluster.read(at).is_empty(), "without an id there is no ok");
    let batch = r#"{"type":"batch","id":9,"messages":[{"type":"echo"},{"type":"echo","data":1}]}"#;
    assert_eq!(cluster.ask(at, batch)["id"], 9);
}

#[test]
fn a_question_is_answered_once_whatever_happens() {
    let mut cluster = Cluster::new(1, Config::default());
    let at = cluster.open(0);
    for number in 0..4 {
        let (connection, event, data) = (at.key, "q".into(), data("[1]"));
        let question = Question { connection, number, event, data, within_ms: 500 };
        cluster.input(at, Input::Question(Box::new(question)));
    }
    let asked = cluster.read(at);
    assert_eq!((&asked[0]["type"], &asked[0]["event"]), (&"request".into(), &"q".into()));
    let ids: Vec<_> = asked.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    for text in [
        format!(r#"{{"type":"response","id":{},"data":{{"a":1}}}}"#, ids[0]),
        format!(r#"{{"type":"response","id":{},"data":"again"}}"#, ids[0]),
        format!(r#"{{"type":"response","id":{},"error":{{"code":"c","message":"m"}}}}"#, ids[1]),
        r#"{"type":"response","id":77,"data":"nobody asked"}"#.to_owned(),
        r#"{"type":"response","id":"x","data":"nobody asked"}"#.to_owned(),
    ] {
        cluster.send(at, &text);
    }
    assert!(cluster.read(at).is_empty(), "a response is never answered");
    let answered = |cluster: &mut Cluster| std::mem::take(&mut cluster.effects[0].answered);
    let first = answered(&mut cluster);
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].outcome.as_ref().unwrap().as_data().bytes(), br#"{"a":1}"#);
    let failed = Unanswered::Failed { code: "c".into(), message: "m".into() };
    assert_eq!(first[1].outcome.as_ref().unwrap_err(), &failed);
    cluster.wait(501);
    let late = answered(&mut cluster);
    assert_eq!(late.iter().map(|it| it.number).collect::<Vec<_>>(), [2, 3]);
    assert!(late.iter().all(|it| matches!(it.outcome, Err(Unanswered::TimedOut))));
    let (connection, event) = (at.key, "q".into());
    let question = Question { connection, number: 9, event, data: data("1"), within_ms: 500 };
    cluster.input(at, Input::Question(Box::new(question.clone())));
    cluster.lose(at);
    cluster.input(at, Input::Question(Box::new(question)));
    let gone = answered(&mut cluster);
    assert_eq!(gone.len(), 2);
    assert!(gone.iter().all(|it| matches!(it.outcome, Err(Unanswered::Unreachable))));
}
