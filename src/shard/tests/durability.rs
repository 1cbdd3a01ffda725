//! Rooms that ask for more than Redis' memory: what is answered of them, and when, and who comes in.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::store::hand_over;
use crate::config::{Config, RoomDefaults, RoomDurability};
use crate::id::CoreId;
use crate::room::broker::{Disk, Fault, FromBroker, Kept};

fn config() -> Config {
    let mut config = super::store::config();
    config.rooms.receipt_timeout_ms = 300;
    for (name, durability) in [
        ("twice", RoomDurability::Replicas(1)),
        ("safe", RoomDurability::Always),
        ("soon", RoomDurability::Everysec),
        ("@user", RoomDurability::Replicas(1)),
    ] {
        let (durability, persistent) = (Some(durability), Some(name == "safe"));
        let rooms = RoomDefaults { durability, persistent, ..RoomDefaults::default() };
        config.namespace_rooms.insert(name.to_owned(), rooms);
    }
    config
}

/// A node, linked, and somebody there.
struct World {
    fleet: Fleet,
    ann: Address,
}

impl World {
    fn new() -> Self {
        let mut fleet = Fleet::new([Cluster::of_node(2, config(), 3)], 0);
        fleet.restore(0);
        let ann = fleet.nodes[0].user(0, "ann");
        let mut world = Self { fleet, ann };
        world.fleet.carry();
        world
    }

    /// A command that is called 1, and its answer.
    fn ask(&mut self, command: &Value) -> Value {
        self.fleet.nodes[0].send(self.ann, &command.to_string());
        self.fleet.carry();
        self.read().into_iter().find(|it| it["id"] == 1).expect("an answer")
    }

    fn read(&mut self) -> Vec<Value> {
        self.fleet.nodes[0].read(self.ann)
    }

    fn join(&mut self, room: &str) {
        assert_eq!(self.ask(&json!({"type": "join", "id": 1, "room": room}))["type"], "ok");
    }

    /// Sends a command that publishes something; Redis has told it to all, and its answer to the node is
    /// still on its way.
    fn publish(&mut self, command: &Value) {
        self.fleet.nodes[0].send(self.ann, &command.to_string());
        for _ in 0..20 {
            self.fleet.execute(0);
            self.fleet.spread();
            let is_answer = |it: &(_, FromBroker)| matches!(it.1, FromBroker::Published { .. });
            let came = self.fleet.links[0].from.drain(..);
            let (late, first): (Vec<_>, Vec<_>) = came.partition(is_answer);
            self.fleet.links[0].from.extend(late);
            for (core, message) in first {
                hand_over(&mut self.fleet.nodes[0], core, message);
            }
        }
        assert_eq!(self.fleet.links[0].from.len(), 1, "the answer is on its way");
    }

    /// Redis keeps things as safely as that from here on.
    fn keeps(&mut self, kept: Kept) {
        for core in 0..2 {
            let message = FromBroker::Link { is_up: true, kept, number: 1 };
            hand_over(&mut self.fleet.nodes[0], CoreId(core), message);
        }
        self.fleet.carry();
    }

    /// Redis' answer is that.
    fn fail(&mut self, fault: Fault) {
        for (_, message) in &mut self.fleet.links[0].from {
            if let FromBroker::Published { outcome, .. } = message {
                *outcome = Err(fault);
            }
        }
        self.fleet.carry();
    }

    /// What was answered, if anything; nothing else is told.
    fn answers(&mut self) -> Vec<Value> {
        let told = self.read();
        assert!(told.iter().all(|it| it["id"] == 2 || it["type"] == "message"), "{told:?}");
        told.into_iter().filter(|it| it["id"] == 2).collect()
    }

    fn is_at_rest(&self) -> bool {
        self.fleet.nodes[0].shards.iter().all(|shard| shard.homes.receipts.len() == 0)
    }
}

fn counted(room: &str) -> Value {
    json!({"type": "publish", "id": 2, "room": room, "data": 1, "receipt": "delivered"})
}

/// What becomes of Redis' answer to a publish that was delivered, and what it is called.
type End = (&'static str, fn(&mut World));

const ENDS: [End; 3] = [
    ("it is refused", |world| world.fail(Fault::TooFewReplicas)),
    ("the link ends", |world| world.fleet.cut(0, true)),
    ("it never comes", |world| {
        world.fleet.links[0].from.clear();
        world.fleet.nodes[0].wait(1_001);
    }),
];

#[test]
fn what_was_delivered_is_no_proof_that_it_is_safe() {
    for (end, happens) in ENDS {
        for (room, suffices) in
            [("a", true), ("soon:a", true), ("safe:a", false), ("twice:a", false)]
        {
            let mut world = World::new();
            world.join(room);
            world.publish(&counted(room));
            assert_eq!(world.answers(), [] as [Value; 0], "{room}: {end}");
            happens(&mut world);
            let told = world.answers();
            assert_eq!(told.len(), 1, "{room}: {end}: {told:?}");
            if suffices {
                let expected = (&json!("ok"), &json!(1), &json!(true));
                let found = (&told[0]["type"], &told[0]["delivered"], &told[0]["partial"]);
                assert_eq!(found, expected, "{room}: {end}: {told:?}");
            } else {
                assert_eq!(told[0]["code"], "timeout", "{room}: {end}: {told:?}");
            }
            assert!(world.is_at_rest(), "{room}: {end}");
        }
    }
}

#[test]
fn a_receipt_whose_time_is_over_waits_for_redis_where_that_has_to_say() {
    let mut world = World::new();
    world.join("twice:a");
    world.publish(&counted("twice:a"));
    world.fleet.nodes[0].wait(500);
    assert_eq!(world.answers(), [] as [Value; 0]);
    world.fleet.carry();
    let told = world.answers();
    let found = (&told[0]["type"], &told[0]["delivered"], &told[0]["partial"]);
    assert_eq!(found, (&json!("ok"), &json!(1), &json!(true)), "{told:?}");
    // In time, it is whole.
    world.publish(&counted("twice:a"));
    world.fleet.carry();
    let told = world.answers();
    assert_eq!((&told[0]["type"], &told[0]["partial"]), (&json!("ok"), &json!(null)), "{told:?}");
    assert!(told.len() == 1 && world.is_at_rest());
}

#[test]
fn a_send_is_acknowledged_only_when_it_is_safe() {
    for (end, happens) in ENDS {
        let mut world = World::new();
        let bob = world.fleet.nodes[0].user(1, "bob");
        world.fleet.carry();
        let send = json!({"type": "send", "id": 2, "to": {"user": "bob"}, "data": 1});
        world.publish(&send);
        assert_eq!(world.fleet.nodes[0].read(bob)[0]["type"], "message", "it was delivered");
        happens(&mut world);
        let told = world.answers();
        assert_eq!((told.len(), &told[0]["code"]), (1, &json!("timeout")), "{end}: {told:?}");
        assert!(world.is_at_rest(), "{end}");
    }
}

/// Whether that names what Redis would have to be.
fn names_settings(answer: &Value) -> bool {
    let message = answer["message"].as_str().unwrap_or_default();
    answer["code"] == "unavailable" && message.contains(" needs ")
}

#[test]
fn a_room_that_asks_for_more_than_redis_keeps_does_not_open() {
    let kept = |disk, replicas| Kept { disk, replicas };
    for (kept, opens) in [
        (kept(Disk::Memory, 0), [true, false, false, false]),
        (kept(Disk::EverySecond, 0), [true, true, false, false]),
        (kept(Disk::Always, 0), [true, true, true, false]),
        (kept(Disk::Memory, 1), [true, false, false, true]),
    ] {
        let mut world = World::new();
        world.keeps(kept);
        for (room, opens) in ["plain:a", "soon:a", "safe:a", "twice:a"].into_iter().zip(opens) {
            let joined = world.ask(&json!({"type": "join", "id": 1, "room": room}));
            assert_eq!(joined["type"] == "ok", opens, "{kept:?}: {joined}");
            assert!(opens || names_settings(&joined), "{kept:?}: {joined}");
            let key = super::cluster::room(room);
            let has_home = |node: &Cluster| {
                node.shards.iter().any(|shard| shard.homes.rooms.contains_key(&key))
            };
            assert_eq!(has_home(&world.fleet.nodes[0]), opens, "{kept:?}: {room}");
            let is_made = !world.fleet.store.charter(&key).entries.is_empty();
            assert_eq!(is_made, opens, "{kept:?}: {room}");
            let other = room.replace(":a", ":b");
            let made = world.ask(&json!({"type": "room.create", "id": 1, "room": other}));
            assert_eq!(made["type"] == "ok", opens, "{kept:?}: {made}");
            assert!(opens || names_settings(&made), "{kept:?}: {made}");
        }
        // What it keeps is known no longer.
        world.fleet.cut(0, false);
        for room in ["soon:c", "safe:c", "twice:c"] {
            world.join(room);
        }
    }
}

#[test]
fn who_is_in_a_room_stays_when_redis_keeps_less() {
    let mut world = World::new();
    let eve = world.fleet.nodes[0].open_as(1, "eve", |_| {});
    let session = world.fleet.nodes[0].read(eve)[0]["session"].as_str().unwrap().to_owned();
    world.join("safe:a");
    world.fleet.nodes[0].send(eve, r#"{"type": "join", "room": "safe:a"}"#);
    world.fleet.carry();
    world.fleet.nodes[0].lose(eve);
    world.keeps(Kept::default());
    world.join("safe:a");
    let publish = json!({"type": "publish", "id": 1, "room": "safe:a", "data": 1});
    let refused = world.ask(&publish);
    assert!(names_settings(&refused), "{refused}");
    let eve = world.fleet.nodes[0].open_as(0, "eve", |it| it.session = Some(session.into()));
    world.fleet.carry();
    let welcome = world.fleet.nodes[0].read(eve).remove(0);
    assert_eq!(welcome["rooms"][0]["room"], "safe:a", "{welcome}");
    // Nobody else comes, by whichever way.
    let new = world.fleet.nodes[0].user(1, "new");
    world.fleet.nodes[0].send(new, r#"{"type": "join", "room": "safe:a"}"#);
    world.fleet.carry();
    let refused = world.fleet.nodes[0].read(new).pop().expect("an answer");
    assert!(names_settings(&refused), "{refused}");
    world.keeps(Kept::BEST);
    world.fleet.nodes[0].send(new, r#"{"type": "join", "id": 1, "room": "safe:a"}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[0].read(new).pop().expect("an answer")["type"], "ok");
    assert_eq!(world.ask(&publish)["type"], "ok");
}

#[test]
fn what_others_keep_says_nothing_of_a_part_of_redis_that_is_out_of_reach() {
    let mut world = World::new();
    world.keeps(Kept::default());
    world.fleet.links[0].set_out_of_reach(true);
    let join = json!({"type": "join", "id": 1, "room": "safe:a"});
    for _ in 0..2 {
        let joined = world.ask(&join);
        assert_eq!((&joined["type"], &joined["local"]), (&json!("ok"), &json!(true)), "{joined}");
        world.ask(&json!({"type": "leave", "id": 1, "room": "safe:a"}));
    }
    world.fleet.links[0].set_out_of_reach(false);
    world.fleet.nodes[0].wait(1_001);
    world.fleet.carry();
    let new = json!({"type": "join", "id": 1, "room": "safe:b"});
    for join in [join, new] {
        let refused = world.ask(&join);
        assert!(names_settings(&refused), "{refused}");
    }
}
