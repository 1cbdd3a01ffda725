//! Rooms over several nodes.

use serde_json::json;

use crate::node::node;
use crate::store::{Store, is_missing};
use crate::talk::Talk;

#[test]
fn all_nodes_hear_a_room_in_one_order() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let nodes = [node(&store), node(&store), node(&store)];
    let mut talks: Vec<_> = nodes.iter().map(|node| Talk::joined(node, "lobby")).collect();
    let ids: Vec<Vec<u64>> = talks
        .iter_mut()
        .enumerate()
        .map(|(who, talk)| {
            let publish = |n| json!({"type": "publish", "room": "lobby", "data": [who, n]});
            (0..100).map(|n| talk.send(publish(n))).collect()
        })
        .collect();
    let heard: Vec<_> = talks.iter_mut().map(|talk| talk.messages(300)).collect();
    assert!(heard[0].iter().map(|(_, offset, _)| *offset).eq(1..=300), "{:?}", heard[0]);
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
    for (who, (talk, ids)) in talks.iter_mut().zip(ids).enumerate() {
        for (n, id) in ids.into_iter().enumerate() {
            let offset = talk.answer(id)["offset"].as_u64().unwrap();
            let at = usize::try_from(offset).unwrap() - 1;
            assert_eq!(heard[0][at].2, json!([who, n]), "the answer is the message's place");
        }
        assert!(talk.hears_no_more("message"));
    }
}

#[test]
fn what_was_missed_is_had_on_any_node() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let mut ada = Talk::joined(&one, "sure:a");
    for n in 1..=20 {
        assert_eq!(ada.publish("sure:a", n), n);
    }
    let epoch = ada.messages(20)[0].0.clone();
    let mut eve = Talk::to(&other);
    let since = json!({"epoch": epoch, "offset": 5});
    let joined = eve.ok(json!({"type": "join", "room": "sure:a", "since": since}));
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(true), &json!(20)));
    let missed = eve.messages(15);
    assert!(missed.iter().map(|(_, offset, _)| *offset).eq(6..=20), "{missed:?}");
    let page = eve.ok(json!({"type": "history", "room": "sure:a", "limit": 3, "reverse": true}));
    let offsets: Vec<_> = page["messages"].as_array().unwrap().iter().collect();
    assert_eq!(
        offsets.iter().map(|it| it["offset"].as_u64().unwrap()).collect::<Vec<_>>(),
        [20, 19, 18]
    );
    assert_eq!(ada.publish("sure:a", "live"), 21);
    assert_eq!(eve.messages(1), [(epoch, 21, json!("live"))]);
}

#[test]
fn a_key_publishes_once_on_all_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let (mut ada, mut eve) = (Talk::joined(&one, "a"), Talk::joined(&other, "a"));
    let publish = json!({"type": "publish", "room": "a", "data": 1, "key": "k"});
    let (first, second) = (ada.ok(publish.clone()), eve.ok(publish));
    assert_eq!((&first["offset"], &first["duplicate"]), (&json!(1), &json!(null)));
    assert_eq!((&second["offset"], &second["duplicate"]), (&json!(1), &json!(true)));
    for talk in [&mut ada, &mut eve] {
        talk.messages(1);
        assert!(talk.hears_no_more("message"));
    }
}

#[test]
fn wishes_of_the_publisher_hold_on_all_nodes() {
    if is_missing() {
        return;
    }
    let store = Store::start(&[]);
    let (one, other) = (node(&store), node(&store));
    let (mut ada, mut eve) = (Talk::joined(&one, "a"), Talk::joined(&other, "a"));
    ada.ok(json!({"type": "publish", "room": "a", "data": "self", "exclude_self": true}));
    let typing =
        json!({"type": "publish", "room": "a", "data": "t", "transient": true, "event": "e"});
    assert_eq!(ada.ok(typing)["offset"], json!(null));
    let nobody = json!({"users": ["nobody"]});
    ada.ok(json!({"type": "publish", "room": "a", "data": "f", "filter": nobody}));
    let counted = json!({"type": "publish", "room": "a", "data": "r", "receipt": "delivered"});
    let receipt = ada.ok(counted);
    // Connections of other nodes are not counted, and the answer says so.
    assert_eq!((&receipt["delivered"], &receipt["partial"]), (&json!(1), &json!(true)));
    let datas = |talk: &mut Talk, count| {
        talk.messages(count).into_iter().map(|(_, offset, data)| (offset, data)).collect::<Vec<_>>()
    };
    assert_eq!(datas(&mut ada, 2), [(0, json!("t")), (3, json!("r"))]);
    assert_eq!(datas(&mut eve, 3), [(1, json!("self")), (0, json!("t")), (3, json!("r"))]);
}
