//! Calls of rooms, and what a node says of what it receives: what becomes of them in between.

use super::*;
use crate::room::broker::ToBroker;

/// Somebody receives a room of the other node, and was told one publication.
fn told_of_one() -> World {
    let mut world = settled(1);
    world.subscribe(0, 0, "free:*");
    world.pass(2_000);
    world.join(1, "free:a");
    world.pass(200);
    world.publish(1, "free:a");
    world.pass(600);
    assert_eq!(world.receivers[0].told.len(), 1);
    world
}

#[test]
fn a_room_that_was_called_for_somebody_who_has_gone_keeps_nobody_waiting() {
    let mut world = settled(1);
    world.subscribe(0, 1, "sure:*");
    world.pass(2_000);
    world.join(1, "sure:a");
    world.pass(200);
    world.publish(1, "sure:a");
    // The call comes, and waits until the room is open.
    let opens = |(_, it): &(_, ToBroker)| matches!(it, ToBroker::Open { .. });
    for _ in 0..100 {
        if world.fleet.nodes[0].to_broker.iter().any(opens) {
            break;
        }
        world.fleet.carry_of(1..NODES);
        world.fleet.wait(10);
        world.fleet.execute(0);
        world.fleet.deliver(0);
    }
    assert!(world.fleet.nodes[0].to_broker.iter().any(opens), "it is called");
    world.unsubscribe(0);
    world.pass(2_000);
    world.subscribe(0, 1, "free:*");
    world.pass(2_500);
    assert_eq!(world.receivers.len(), 1, "it is refused");
    assert!(world.receivers[0].since.is_some(), "it is answered");
}

#[test]
fn a_call_that_cannot_be_noted_is_made_again_once_a_second() {
    let mut world = settled(1);
    world.subscribe(0, 0, "**");
    world.pass(2_000);
    for room in ["free:a", "sure:a"] {
        world.join(1, room);
        world.pass(200);
    }
    world.publish(1, "free:a");
    world.pass(200);
    world.fleet.store.lists.is_broken = true;
    world.publish(1, "sure:a");
    let before = world.fleet.store.lists.called;
    world.pass(20_000);
    let calls = world.fleet.store.lists.called - before;
    assert!((2 * 17..=2 * 21).contains(&calls), "{calls}");
    world.fleet.store.lists.is_broken = false;
    world.pass(2_000);
    let after = world.fleet.store.lists.called;
    world.pass(10_000);
    assert_eq!(world.fleet.store.lists.called, after);
    assert_eq!(world.receivers[0].told.len(), 2);
}

#[test]
fn what_is_received_no_more_does_not_stay_in_redis_over_a_cut() {
    for is_told in [false, true] {
        let mut world = settled(1);
        world.subscribe(0, 0, "**");
        world.pass(2_000);
        assert_eq!(world.fleet.store.lists.received(), 1);
        if is_told {
            // It is on its way when the link ends.
            world.unsubscribe(0);
            world.fleet.wait(300);
        }
        world.fleet.cut(0, false);
        if !is_told {
            world.unsubscribe(0);
        }
        world.pass(500);
        world.fleet.restore(0);
        world.pass(500);
        assert_eq!(world.fleet.store.lists.received(), 0, "{is_told}");
    }
}

#[test]
fn whoever_was_missing_in_a_list_is_closed_though_there_is_a_new_one() {
    for away_ms in [5_000, 130_000] {
        let mut world = settled(1);
        world.subscribe(0, 0, "sure:*");
        world.join(1, "sure:a");
        world.pass(2_000);
        world.fleet.cut(0, false);
        world.pass(away_ms);
        // Others know by now that nobody receives it.
        world.publish(1, "sure:a");
        world.pass(1_000);
        world.fleet.store.empty();
        world.pass(2_000);
        world.fleet.restore(0);
        world.pass(1_000);
        let is_closed = world.receivers.is_empty();
        assert_eq!(is_closed, away_ms > 10_000, "after {away_ms} ms");
    }
}

#[test]
fn only_calls_of_rooms_that_are_received_are_told_to_their_homes() {
    let mut world = settled(1);
    world.subscribe(0, 0, "sure:*");
    world.subscribe(2, 0, "**");
    world.pass(2_000);
    for room in (0..8).flat_map(|n| [format!("sure:{n}"), format!("free:{n}")]) {
        world.join(1, &room);
        world.fleet.carry_of(1..NODES);
        world.publish(1, &room);
        world.fleet.carry_of(1..NODES);
    }
    world.fleet.wait(300);
    world.fleet.nodes[0].holds = true;
    for _ in 0..20 {
        world.fleet.execute(0);
        world.fleet.deliver(0);
    }
    let called = world.fleet.nodes[0].called();
    assert!(!called.is_empty(), "some are at home on the other core");
    assert!(called.iter().all(|room| room.starts_with("sure:")), "{called:?}");
}

#[test]
fn whoever_missed_what_went_out_without_its_call_is_closed() {
    for joins in [true, false] {
        let mut world = settled(1);
        world.subscribe(0, 0, "sure:*");
        world.subscribe(0, 0, "free:*");
        world.join(2, "sure:b");
        world.pass(2_000);
        world.fleet.store.lists.is_broken = true;
        world.publish(2, "sure:b");
        world.pass(200);
        world.fleet.store.lists.is_broken = false;
        if joins {
            // The room begins there behind what was published, and has ended before it is called.
            world.join(0, "sure:b");
            world.pass(300);
            let at = world.publishers[0];
            world.send(0, at, &json!({"type": "leave", "room": "sure:b"}));
        }
        world.pass(200);
        assert!(world.receivers[0].told.is_empty());
        world.pass(2_000);
        let open: Vec<_> = world.receivers.iter().map(|it| (it.pattern, it.told.len())).collect();
        match joins {
            true => assert_eq!(open, [("free:*", 0)]),
            false => assert_eq!(open, [("sure:*", 1), ("free:*", 0)]),
        }
    }
}

#[test]
fn a_call_that_is_made_again_closes_nobody_who_came_after_it() {
    let mut world = settled(1);
    world.subscribe(1, 0, "sure:*");
    world.join(2, "sure:b");
    world.pass(2_000);
    for _ in 0..3 {
        world.publish(2, "sure:b");
        world.pass(300);
    }
    world.subscribe(0, 0, "sure:*");
    world.pass(2_000);
    // All calls are doubted.
    world.fleet.store.lists.is_broken = true;
    world.pass(500);
    world.fleet.store.lists.is_broken = false;
    world.pass(2_000);
    world.publish(2, "sure:b");
    world.pass(500);
    let told: Vec<_> = world.receivers.iter().map(|it| it.told.len()).collect();
    assert_eq!(told, [4, 1]);
}

#[test]
fn whoever_publishes_and_leaves_is_heard_by_patterns_on_the_same_node() {
    let mut world = settled(1);
    world.subscribe(0, 0, "**");
    world.pass(2_000);
    for room in ROOMS {
        world.join(0, room);
        world.pass(200);
        world.publish(0, room);
        let at = world.publishers[0];
        world.send(0, at, &json!({"type": "leave", "room": room}));
    }
    world.pass(1_000);
    assert_eq!(world.receivers[0].told.len(), ROOMS.len());
}

#[test]
fn a_room_that_is_to_be_called_yet_is_whole_for_whoever_comes_back() {
    let mut world = settled(1);
    world.subscribe(0, 0, "sure:*");
    world.pass(2_000);
    world.join(1, "sure:a");
    world.pass(200);
    world.fleet.store.lists.is_broken = true;
    world.publish(1, "sure:a");
    world.pass(1_000);
    let at = world.publishers[1];
    world.send(1, at, &json!({"type": "leave", "room": "sure:a"}));
    world.pass(1_000);
    world.join(1, "sure:a");
    world.pass(200);
    let ask = json!({"type": "history", "id": 1, "room": "sure:a"});
    let page = world.fleet.nodes[1].ask(at, &ask.to_string());
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
}

#[test]
fn who_comes_back_first_after_a_long_silence_has_missed_something_as_all_others() {
    let mut world = told_of_one();
    // The call holds. What is told of this arrives when the room is not followed any more.
    world.publish(1, "free:a");
    for _ in 0..20 {
        world.fleet.execute(1);
        world.fleet.spread();
    }
    world.fleet.wait(200_000);
    world.fleet.carry_of([0]);
    world.pass(2_000);
    assert!(world.receivers.is_empty(), "it is told: {:?}", world.receivers[0].told);
}

#[test]
fn what_was_heard_of_a_room_is_known_after_a_life_that_only_the_node_knew() {
    let mut world = settled(1);
    world.subscribe(0, 0, "free:*");
    world.pass(2_000);
    for node in 0..2 {
        world.join(node, "free:a");
        world.pass(200);
    }
    let leave = |world: &mut World| {
        let at = world.publishers[0];
        world.send(0, at, &json!({"type": "leave", "room": "free:a"}));
        world.pass(200);
    };
    // Its call is owed, and names the place before.
    world.fleet.store.lists.is_broken = true;
    world.publish(1, "free:a");
    world.pass(1_000);
    assert_eq!(world.receivers[0].told.len(), 1);
    leave(&mut world);
    world.fleet.cut(0, false);
    world.join(0, "free:a");
    world.pass(2_000);
    leave(&mut world);
    world.fleet.restore(0);
    world.fleet.store.lists.is_broken = false;
    world.pass(3_000);
    // None was told again, or that would have been found out.
    world.publish(1, "free:a");
    world.pass(1_000);
    assert_eq!(world.receivers[0].told.len(), 2);
}

#[test]
fn who_receives_a_room_by_a_pattern_is_told_that_it_has_begun_anew() {
    let mut world = told_of_one();
    // What goes out meanwhile is not kept: nobody is known to receive it by a pattern.
    world.fleet.cut(0, false);
    world.fleet.store.empty();
    world.pass(600);
    world.publish(1, "free:a");
    world.pass(600);
    world.fleet.restore(0);
    world.pass(2_000);
    let epoch = world.fleet.store.epoch("free:a").expect("it is there").to_owned();
    for offset in 1..=2 {
        let place = ("free:a".to_owned(), epoch.clone(), offset);
        assert!(world.receivers[0].told.contains(&place), "{:?}", world.receivers[0].told);
    }
}

#[test]
fn a_pattern_that_was_forgotten_holds_no_more_until_all_nodes_know_of_it_again() {
    let mut world = settled(1);
    world.subscribe(0, 0, "**");
    world.pass(2_000);
    world.fleet.wait(200_000);
    world.fleet.carry_of([1]);
    world.fleet.carry_of([0]);
    // Who may have missed something is closed, and has not gone yet.
    world.subscribe(0, 0, "**");
    world.fleet.carry_of([0]);
    world.read_all();
    assert_eq!(world.receivers.len(), 1);
    assert_eq!(world.receivers[0].since, None, "node 1 does not know of it yet");
    world.pass(2_000);
    assert!(world.receivers[0].since.is_some());
}
