//! Several nodes on a Redis that delays, forgets, is cut off, emptied and set back. Every client
//! checks that it is told each offset once, as a message or by a gap; at rest all agree. A failing
//! seed prints itself.
//!
//! The long form: `cargo test --lib shard::tests::nodes -- --ignored`

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::fleet::{Fleet, each_seed};
use super::store::hand_over;
use super::witness::{Client, Rules, Witness};
use crate::config::{Config, RoomDefaults, RoomMode};
use crate::id::CoreId;
use crate::room::broker::{FromBroker, ToBroker};

const NODES: usize = 3;
const ROOMS: [&str; 2] = ["sure:a", "b"];

struct World {
    fleet: Fleet,
    witness: Witness,
}

pub(super) fn config() -> Config {
    let mut config = super::store::config();
    let sure = RoomDefaults {
        mode: Some(RoomMode::Reliable),
        history_size: Some(8),
        ..RoomDefaults::default()
    };
    config.namespace_rooms.insert("sure".to_owned(), sure);
    config
}

fn rules(may_fork: bool) -> Rules {
    Rules { rooms: &ROOMS, may_fork, is_once: false, kept: 0, refusals: &["not_joined"] }
}

impl World {
    fn new(seed: u64, may_fork: bool) -> Self {
        let nodes = (0..NODES).map(|node| Cluster::of_node(2, config(), 3 + node as u64));
        let (fleet, witness) = (Fleet::new(nodes, seed), Witness::new(rules(may_fork)));
        let mut world = Self { fleet, witness };
        for node in 0..NODES {
            for core in 0..2 {
                let at = world.fleet.nodes[node].open(core);
                world.witness.come(node, at, true);
            }
        }
        world
    }

    /// Something happens.
    fn step(&mut self) {
        let node = self.fleet.below(NODES);
        match self.fleet.below(40) {
            0 => self.fleet.cut(node, self.witness.published.is_multiple_of(2)),
            1..=3 => self.fleet.restore(node),
            4 => self.fail_over(),
            5 => {
                let ms = 50 + self.fleet.below(1_500) as u64;
                self.fleet.wait(ms);
            }
            6..=8 => self.come_or_go(),
            9 => self.fleet.links[node].miss(),
            10..=19 => self.publish(),
            20..=24 => self.read_all(),
            25..=32 => self.fleet.execute(node),
            _ => self.fleet.deliver(node),
        }
        self.fleet.spread();
    }

    /// Redis is emptied under its nodes, or ends and is another when it comes back.
    fn fail_over(&mut self) {
        match self.fleet.below(6) {
            0 => self.fleet.store.empty(),
            1 | 2 => self.fleet.store.snapshot(),
            3 if self.witness.rules.may_fork => {
                self.fleet.store.set_back();
                for node in 0..NODES {
                    self.fleet.cut(node, false);
                }
            }
            _ => {}
        }
    }

    fn come_or_go(&mut self) {
        let (who, room) = self.somebody();
        if let Some(command) = self.witness.come_or_go(who, room) {
            self.say(who, &command);
        }
    }

    fn publish(&mut self) {
        let (who, room) = self.somebody();
        let command = self.witness.publish(who, room);
        self.say(who, &command);
    }

    fn somebody(&mut self) -> (usize, &'static str) {
        (self.fleet.below(self.witness.clients.len()), ROOMS[self.fleet.below(2)])
    }

    fn say(&mut self, who: usize, command: &Value) {
        let client = &self.witness.clients[who];
        self.fleet.nodes[client.node].send(client.at, &command.to_string());
    }

    fn read_all(&mut self) {
        for who in 0..self.witness.clients.len() {
            let Client { node, at, .. } = self.witness.clients[who];
            for event in self.fleet.nodes[node].read(at) {
                self.witness.take(who, &event);
            }
        }
    }

    /// Everything heals: all answer, and all are at the same place.
    fn rest(&mut self) {
        for round in 0..6 {
            self.fleet.restore_all();
            self.fleet.carry();
            self.read_all();
            if round < 3 {
                for who in 0..self.witness.clients.len() {
                    let rooms: Vec<_> = self.witness.clients[who].places.keys().copied().collect();
                    for room in rooms {
                        let command = self.witness.publish(who, room);
                        self.say(who, &command);
                    }
                }
            }
            self.fleet.wait(2_500);
        }
        self.witness.check_rest();
    }
}

fn run(seed: u64, may_fork: bool) {
    let mut world = World::new(seed, may_fork);
    for _ in 0..400 {
        world.step();
    }
    world.rest();
}

fn run_all(seeds: std::ops::Range<u64>) {
    each_seed("", seeds.clone(), |seed| run(seed, false));
    each_seed("with a Redis that is set back", seeds, |seed| run(seed, true));
}

#[test]
fn nodes_agree_whatever_redis_does() {
    run_all(0..10);
}

#[test]
#[ignore = "the long form"]
fn nodes_agree_whatever_redis_does_at_length() {
    run_all(1_000..6_000);
}

#[test]
fn what_a_node_missed_is_counted_as_had_or_lost() {
    let mut world = World::new(1, false);
    for node in 0..2 {
        world.fleet.restore(node);
        let at = world.witness.clients[node * 2].at;
        world.fleet.nodes[node].send(at, r#"{"type": "join", "room": "sure:a"}"#);
    }
    world.fleet.carry();
    let counted = |world: &World| {
        let sum = |figure: fn(&crate::metrics::Core) -> u64| -> u64 {
            world.fleet.nodes[1].shards.iter().map(|shard| figure(&shard.metrics)).sum()
        };
        let gaps = sum(|core| core.broker_gaps.get());
        (gaps, sum(|core| core.broker_filled.get()), sum(|core| core.broker_lost.get()))
    };
    let publish = |world: &mut World, count: usize| {
        let at = world.witness.clients[0].at;
        for _ in 0..count {
            world.fleet.nodes[0].send(at, r#"{"type": "publish", "room": "sure:a", "data": 1}"#);
            world.fleet.carry();
        }
    };
    publish(&mut world, 3);
    assert_eq!(counted(&world), (0, 0, 0));
    // The history holds eight.
    for (missed, expected) in [(3, (1, 3, 0)), (12, (2, 11, 4)), (0, (2, 11, 4))] {
        world.fleet.cut(1, true);
        publish(&mut world, missed);
        world.fleet.restore(1);
        world.fleet.carry();
        assert_eq!(counted(&world), expected, "{missed}");
    }
    let at = world.witness.clients[2].at;
    let told = world.fleet.nodes[1].read(at);
    let messages = told.iter().filter(|event| event["type"] == "message").count();
    let gaps: Vec<_> = told.iter().filter(|event| event["type"] == "gap").collect();
    assert_eq!((messages, gaps.len()), (14, 1));
    assert_eq!((&gaps[0]["from"], &gaps[0]["to"]), (&json!(7), &json!(10)));
}

#[test]
fn what_was_published_here_comes_here_though_its_news_are_lost() {
    let mut world = World::new(1, false);
    world.fleet.restore(0);
    let at = world.witness.clients[0].at;
    world.fleet.nodes[0].send(at, r#"{"type": "join", "id": 1, "room": "sure:a"}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[0].read(at).pop().expect("an answer")["type"], "ok");
    let publish = r#"{"type": "publish", "id": 1, "room": "sure:a", "data": "last"}"#;
    world.fleet.nodes[0].send(at, publish);
    for _ in 0..100 {
        world.fleet.execute(0);
        world.fleet.spread();
        world.fleet.links[0].lose_news();
        world.fleet.deliver(0);
    }
    let told = world.fleet.nodes[0].read(at);
    assert_eq!(told.iter().map(|it| &it["type"]).collect::<Vec<_>>(), ["ok"], "{told:?}");
    world.fleet.nodes[0].wait(1_001);
    world.fleet.carry();
    let told = world.fleet.nodes[0].read(at);
    assert_eq!((told.len(), &told[0]["data"]), (1, &json!("last")), "{told:?}");
    // With the news nothing is asked again.
    world.fleet.nodes[0].send(at, publish);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[0].read(at).len(), 2);
    world.fleet.nodes[0].wait(1_001);
    let opens = |(_, it): &(_, ToBroker)| matches!(it, ToBroker::Open { .. });
    assert!(!world.fleet.nodes[0].to_broker.iter().any(opens));
}

/// Somebody at each of two nodes, in a room that keeps nothing.
fn two_in_a_room_without_history() -> World {
    let mut world = World::new(1, false);
    for node in 0..2 {
        world.fleet.restore(node);
        let at = world.witness.clients[node * 2].at;
        world.fleet.nodes[node].send(at, r#"{"type": "join", "room": "b"}"#);
    }
    world.fleet.carry();
    for node in 0..2 {
        let at = world.witness.clients[node * 2].at;
        world.fleet.nodes[node].read(at);
    }
    world
}

impl World {
    /// Somebody publishes at a node and is told the place; the news are on their way.
    fn publish_at(&mut self, node: usize) {
        let at = self.witness.clients[node * 2].at;
        self.fleet.nodes[node].send(at, r#"{"type": "publish", "room": "b", "data": 1}"#);
        self.answer(node);
    }

    /// What Redis has answered to a node arrives, and what follows from that.
    fn answer(&mut self, node: usize) {
        for _ in 0..10 {
            self.fleet.execute(node);
            self.fleet.spread();
            self.fleet.links[node].deliver_part(&mut self.fleet.nodes[node], false);
        }
    }

    fn told_at(&mut self, node: usize) -> Vec<i64> {
        let at = self.witness.clients[node * 2].at;
        self.fleet.nodes[node].offsets(at)
    }
}

#[test]
fn what_has_just_got_its_place_is_not_overdue() {
    let mut world = two_in_a_room_without_history();
    world.publish_at(0);
    world.fleet.carry();
    world.fleet.nodes[0].wait(990);
    world.publish_at(0);
    world.fleet.nodes[0].wait(20);
    world.fleet.carry();
    assert_eq!(world.told_at(0), [1, 2]);
    world.fleet.nodes[0].wait(1_100);
    // Each has a time of its own.
    world.publish_at(0);
    world.fleet.links[0].lose_news();
    world.fleet.nodes[0].wait(990);
    world.publish_at(0);
    world.fleet.links[0].lose_news();
    world.fleet.nodes[0].wait(20);
    world.fleet.carry();
    assert_eq!(world.told_at(0), [-3, -3]);
    world.fleet.nodes[0].wait(1_000);
    world.fleet.carry();
    assert_eq!(world.told_at(0), [-4, -4]);
    assert_eq!(world.told_at(1), [1, 2, 3, 4]);
}

#[test]
fn what_is_on_its_way_when_a_room_is_opened_again_is_not_lost() {
    let mut world = two_in_a_room_without_history();
    world.publish_at(0);
    world.answer(1);
    world.fleet.links[1].miss();
    world.publish_at(0);
    world.answer(1);
    world.fleet.carry();
    assert_eq!(world.told_at(1), [-1, -1, 2]);
    world.fleet.nodes[1].wait(1_100);
    // Nothing follows that would tell what was missed.
    world.publish_at(0);
    world.answer(1);
    world.fleet.links[1].miss();
    world.fleet.carry();
    assert!(world.told_at(1).is_empty());
    world.fleet.nodes[1].wait(1_001);
    world.fleet.carry();
    assert_eq!(world.told_at(1), [-3, -3]);
    world.publish_at(0);
    world.fleet.carry();
    assert_eq!(world.told_at(1), [4]);
    assert_eq!(world.told_at(0), [1, 2, 3, 4]);
}

#[test]
fn news_of_a_life_that_has_ended_are_asked_about_once() {
    let mut world = two_in_a_room_without_history();
    world.publish_at(0);
    world.answer(1);
    world.fleet.links[1].miss();
    world.fleet.deliver(1);
    // While the room is opened again, something comes of its life before, and that ends.
    world.publish_at(0);
    world.fleet.store.empty();
    world.publish_at(0);
    world.fleet.carry();
    let at = world.witness.clients[2].at;
    let told = world.fleet.nodes[1].read(at);
    assert_eq!((told.len(), &told[0]["reason"]), (1, &json!("epoch_changed")), "{told:?}");
    world.fleet.wait(2_500);
    world.fleet.carry();
    world.publish_at(0);
    world.fleet.carry();
    assert_eq!(world.told_at(1), [3]);
}

#[test]
fn a_send_that_redis_does_not_answer_is_refused() {
    let mut world = World::new(1, false);
    let ann = world.witness.clients[0].at;
    let there = ["x", "y"].map(|user| world.fleet.nodes[0].user(1, user));
    let send = r#"{"type": "send", "id": "s", "to": {"users": ["x", "y"]}, "data": 1}"#;
    let batch = format!(r#"{{"type": "batch", "id": "b", "messages": [{send}]}}"#);
    // The link goes with what it carries, and: it is there, but nothing comes back.
    for is_cut in [true, false] {
        world.fleet.restore(0);
        world.fleet.carry();
        world.fleet.nodes[0].send(ann, &batch);
        if is_cut {
            world.fleet.cut(0, false);
            world.fleet.carry();
        }
        world.fleet.nodes[0].wait(1_500);
        let told = world.fleet.nodes[0].read(ann);
        assert_eq!(told.len(), 2, "{told:?}");
        let expected = (&json!("s"), &json!("timeout"));
        assert_eq!((&told[0]["id"], &told[0]["code"]), expected, "{told:?}");
        assert!(told[0]["retry_after_ms"].is_u64(), "{told:?}");
        assert_eq!((&told[1]["type"], &told[1]["id"]), (&json!("ok"), &json!("b")), "{told:?}");
    }
    for at in there {
        assert!(world.fleet.nodes[0].read(at).iter().all(|event| event["type"] != "message"));
    }
}

#[test]
fn who_publishes_where_nobody_is_on_their_node_waits_for_redis_alone() {
    let mut world = World::new(1, false);
    (0..2).for_each(|node| world.fleet.restore(node));
    let bob = world.fleet.nodes[1].user(0, "bob");
    let ann = world.witness.clients[0].at;
    world.fleet.carry();
    world.fleet.nodes[1].read(bob);
    for (to, heard) in [("bob", 1), ("nobody", 0)] {
        let send = json!({"type": "send", "id": 1, "to": {"user": to}, "data": 1});
        world.fleet.nodes[0].send(ann, &send.to_string());
        world.fleet.carry();
        let told = world.fleet.nodes[0].read(ann).pop().expect("an answer");
        assert_eq!((&told["type"], &told["delivered"]), (&json!("ok"), &json!(0)), "{told}");
        assert_eq!(world.fleet.nodes[1].read(bob).len(), heard);
    }
}

#[test]
fn what_a_node_says_of_a_room_by_itself_is_called_local() {
    let mut world = World::new(1, false);
    let ann = world.fleet.nodes[0].open_as(0, "ann", |_| {});
    let session = world.fleet.nodes[0].read(ann)[0]["session"].as_str().unwrap().to_owned();
    let local = |world: &mut World, room: &str| {
        let join = json!({"type": "join", "id": 1, "room": room});
        world.fleet.nodes[0].send(ann, &join.to_string());
        let mut told = world.fleet.nodes[0].read(ann);
        if told.is_empty() {
            // It has to be made first.
            world.fleet.carry();
            told = world.fleet.nodes[0].read(ann);
        }
        let joined = told.into_iter().find(|it| it["id"] == 1).expect("an answer");
        assert_eq!(joined["type"], "ok", "{joined}");
        joined["local"].clone()
    };
    let is_local = [Value::Null, json!(true)];
    assert_eq!(local(&mut world, "b"), is_local[1], "nothing was ever heard of Redis");
    world.fleet.restore(0);
    assert_eq!(local(&mut world, "b"), is_local[1], "nor was the room");
    world.fleet.carry();
    assert_eq!(local(&mut world, "b"), is_local[0]);
    // The part of Redis that has it goes.
    for core in 0..2 {
        let room = super::cluster::room("b");
        for message in [FromBroker::Severed { room: room.clone() }, FromBroker::Missed { room }] {
            hand_over(&mut world.fleet.nodes[0], CoreId(core), message);
        }
    }
    assert_eq!(local(&mut world, "b"), is_local[1], "it was not opened since");
    world.fleet.carry();
    assert_eq!(local(&mut world, "b"), is_local[0]);
    // All of it goes.
    world.fleet.cut(0, false);
    assert_eq!(local(&mut world, "b"), is_local[1]);
    assert_eq!(local(&mut world, "sure:a"), is_local[1]);
    world.fleet.nodes[0].lose(ann);
    let ann = world.fleet.nodes[0].open_as(0, "ann", |it| it.session = Some(session.into()));
    let welcome = world.fleet.nodes[0].read(ann).remove(0);
    let rooms = welcome["rooms"].as_array().unwrap();
    assert!(rooms.len() == 2 && rooms.iter().all(|room| room["local"] == true), "{welcome}");
    world.fleet.restore(0);
    world.fleet.carry();
    let join = json!({"type": "join", "id": 1, "room": "b"});
    let joined = world.fleet.nodes[0].ask(ann, &join.to_string());
    assert_eq!(joined["local"], is_local[0], "{joined}");
}
