//! Batches: an array of messages, and the command `batch`.

use super::*;

/// What became of each message: its id, and its error.
fn outcomes(messages: Messages<'_>) -> Vec<(Option<u64>, Option<String>)> {
    let number = |id| match id {
        Some(RequestId::Number(number)) => Some(number),
        _ => None,
    };
    messages
        .map(|message| match message {
            Ok(envelope) => (number(envelope.id), None),
            Err(bad) => (number(bad.id), Some(bad.message.into_owned())),
        })
        .collect()
}

/// The outcomes of an array of messages in both codecs.
fn array(json: &str, check: impl Fn(Vec<(Option<u64>, Option<String>)>)) {
    check(outcomes(parse(MessageKind::Text, json.as_bytes(), &LIMITS)));
    check(outcomes(parse(MessageKind::Binary, &packed(json), &LIMITS)));
}

/// The outcomes of the messages of a `batch`.
fn command(json: &str, check: impl Fn(Vec<(Option<u64>, Option<String>)>)) {
    good(json, |envelope| {
        assert_eq!(envelope.id, RequestId::number(9));
        let Command::Batch(messages) = envelope.command else { panic!() };
        check(outcomes(messages));
    });
}

#[test]
fn each_message_of_a_batch_answers_for_itself() {
    let messages = r#"[{"type":"rooms","id":1}, {"id":2}, 7, {"type":"leave","room":"r","id":3}]"#;
    let check = |outcomes: Vec<_>| {
        let expected = [
            (Some(1), None),
            (Some(2), Some("`type` is missing".to_owned())),
            (None, Some("a message is an object".to_owned())),
            (Some(3), None),
        ];
        assert_eq!(outcomes, expected);
    };
    array(messages, check);
    command(&format!(r#"{{"type":"batch","id":9,"messages":{messages}}}"#), check);
}

#[test]
fn a_deep_message_does_not_spoil_its_neighbours() {
    let deep = format!("{}{}", "[".repeat(32), "]".repeat(32));
    let messages = format!(
        r#"[{{"type":"ping","id":1}},{{"type":"ping","id":2,"data":{deep}}},{{"type":"ping","id":3}}]"#
    );
    let check = |outcomes: Vec<_>| {
        let expected =
            [(Some(1), None), (Some(2), Some("nested too deep".to_owned())), (Some(3), None)];
        assert_eq!(outcomes, expected);
    };
    array(&messages, check);
    command(&format!(r#"{{"type":"batch","id":9,"messages":{messages}}}"#), check);
}

#[test]
fn a_batch_that_is_not_well_formed_has_no_effect_at_all() {
    let json = r#"[{"type":"rooms","id":1},{"type":"rooms","id":2]"#;
    let answers = outcomes(parse(MessageKind::Text, json.as_bytes(), &LIMITS));
    assert_eq!(answers, [(None, Some("malformed".to_owned()))]);
    let mut binary = packed(r#"[{"type":"rooms","id":1},{"type":"rooms","id":2}]"#);
    binary.pop();
    let answers = outcomes(parse(MessageKind::Binary, &binary, &LIMITS));
    assert_eq!(answers, [(None, Some("malformed".to_owned()))]);
}

#[test]
fn batches_have_a_size() {
    let messages = |count| format!("[{}]", vec![r#"{"type":"rooms"}"#; count].join(" , "));
    array("[]", |outcomes| assert_eq!(outcomes, []));
    array(&messages(4), |outcomes| assert_eq!(outcomes.len(), 4));
    array(&messages(5), |outcomes| {
        assert_eq!(outcomes, [(None, Some("too many messages in a batch".to_owned()))]);
    });
    let five = format!(r#"{{"type":"batch","id":9,"messages":{}}}"#, messages(5));
    refused(&five, Some(9), ErrorCode::LimitExceeded, "too many messages in a batch");
}

#[test]
fn batches_do_not_nest() {
    let batch = r#"{"type":"batch","id":2,"messages":[]}"#;
    let refused = |outcomes: Vec<_>| {
        assert_eq!(outcomes, [(Some(2), Some("a batch within a batch".to_owned()))]);
    };
    array(&format!("[{batch}]"), refused);
    command(&format!(r#"{{"type":"batch","id":9,"messages":[{batch}]}}"#), refused);
    array("[[]]", |outcomes| {
        assert_eq!(outcomes, [(None, Some("a message is an object".to_owned()))]);
    });
}

/// What was read is not looked at again: it need not even be what it was.
#[test]
fn a_batch_is_read_on_from_where_it_was_left() {
    let messages = r#"[ {"type":"rooms","id":1} ,{"id":2},7 , {"type":"leave","room":"r","id":3}]"#;
    let whole = format!(r#" {{"type":"batch","messages":{messages},"id":9}} "#);
    for json in [messages, &whole] {
        for (kind, payload) in
            [(MessageKind::Text, json.as_bytes().to_vec()), (MessageKind::Binary, packed(json))]
        {
            let batch = |payload| {
                let mut messages = parse(kind, payload, &LIMITS);
                if !messages.is_one() {
                    return messages;
                }
                match messages.next() {
                    Some(Ok(Envelope { command: Command::Batch(inner), .. })) => inner,
                    other => panic!("{other:?}"),
                }
            };
            let expected = outcomes(batch(&payload));
            assert_eq!(expected.len(), 4);
            let mut read = batch(&payload);
            for done in 0..=4 {
                let place = read.place(&payload).unwrap();
                let left = outcomes(parse_on(kind, &payload, place, &LIMITS));
                assert_eq!(left, expected[done..]);
                let mut scribbled = payload.clone();
                scribbled[..place.at].fill(b'x');
                let again = parse_on(kind, &scribbled, place, &LIMITS);
                assert_eq!(again.has_more(), done < 4);
                let place = again.place(&scribbled).unwrap();
                assert_eq!(outcomes(again), left);
                assert_eq!(outcomes(parse_on(kind, &scribbled, place, &LIMITS)), left, "twice");
                read.next();
            }
        }
    }
}
