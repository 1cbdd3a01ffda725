//! Rooms above others that are made when those are there: who makes one gets nothing by it.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::store::{self, Link};
use crate::config::{Config, RoomDefaults};

/// Engines, on one node alone or on two with a Redis.
struct World {
    fleet: Fleet,
    has_redis: bool,
}

impl World {
    fn all() -> [Self; 3] {
        let with = |mut config: Config, cores, nodes: &[u64]| {
            let inherits = RoomDefaults { parent_inherit: Some(true), ..RoomDefaults::default() };
            config.namespace_rooms.insert("heirs".to_owned(), inherits);
            let has_redis = config.redis.is_on();
            let nodes = nodes.iter().map(|node| Cluster::of_node(cores, config.clone(), *node));
            let mut world = Self { fleet: Fleet::new(nodes, 0), has_redis };
            world.flow();
            world
        };
        [
            with(Config::default(), 1, &[3]),
            with(Config::default(), 3, &[3]),
            with(store::config(), 2, &[3, 4]),
        ]
    }

    /// Everything that is on its way arrives, and time passes.
    fn flow(&mut self) {
        if self.has_redis {
            self.fleet.restore_all();
        }
        self.fleet.carry();
        self.fleet.wait(1);
        self.fleet.carry();
    }

    /// The last node there is, so another one than the first if there is one.
    fn last(&self) -> usize {
        self.fleet.nodes.len() - 1
    }

    fn user(&mut self, node: usize, user: &str) -> (usize, Address) {
        let at = self.fleet.nodes[node].open_as(0, user, |_| {});
        self.flow();
        self.fleet.nodes[node].read(at);
        (node, at)
    }

    fn ask(&mut self, (node, at): (usize, Address), kind: &str, room: &str, more: Value) -> Value {
        let mut command = json!({ "type": kind, "room": room, "id": 1 });
        if let Value::Object(more) = more {
            command.as_object_mut().unwrap().extend(more);
        }
        self.fleet.nodes[node].send(at, &command.to_string());
        self.flow();
        let told = self.fleet.nodes[node].read(at);
        let answer = told.iter().find(|it| it["id"] == 1);
        answer.unwrap_or_else(|| panic!("no answer to {command}: {told:?}")).clone()
    }

    /// `ok`, or why not.
    fn act(&mut self, by: (usize, Address), kind: &str, room: &str, more: Value) -> String {
        self.ask(by, kind, room, more)["code"].as_str().unwrap_or("ok").to_owned()
    }
}

fn secret() -> Value {
    json!({ "config": { "type": "private", "persistent": true, "parent_inherit": true } })
}

#[test]
fn who_makes_a_room_above_owns_nothing_below_before_that_is_taken_up() {
    for kind in ["join", "room.create"] {
        for mut world in World::all() {
            let last = world.last();
            let (ann, eve) = (world.user(0, "ann"), world.user(last, "eve"));
            assert_eq!(world.act(ann, "room.create", "team/secret", secret()), "ok");
            assert_eq!(world.act(ann, "join", "team/secret", json!({})), "ok");
            assert_eq!(world.act(eve, kind, "team", json!({})), "ok");
            let info = world.ask(eve, "room.update", "team", json!({}));
            assert_eq!(info["role"], "owner", "of this one: {info}");
            for command in ["join", "room.update", "room.delete", "history"] {
                assert_eq!(world.act(eve, command, "team/secret", json!({})), "forbidden");
            }
            // Nor is anything else of it in force there.
            let ban = json!({ "user": "ann" });
            assert_eq!(world.act(eve, "room.ban", "team", ban), "ok");
            let slow = json!({ "config": { "slow_mode_ms": 9 } });
            assert_eq!(world.act(eve, "room.update", "team", slow), "ok");
            let info = world.ask(ann, "room.update", "team/secret", json!({}));
            assert_eq!(
                (&info["role"], &info["config"]["slow_mode_ms"]),
                (&"owner".into(), &0.into())
            );
            // A client that writes what it has read takes up nothing.
            let same = json!({ "config": info["config"] });
            assert_eq!(world.act(ann, "room.update", "team/secret", same), "ok");
            assert_eq!(world.act(eve, "join", "team/secret", json!({})), "forbidden");
            // Nor does a node that comes to know of both only now.
            if world.has_redis {
                world.fleet.nodes.push(Cluster::of_node(2, store::config(), 5));
                world.fleet.links.push(Link::of(2));
                let eve = world.user(2, "eve");
                assert_eq!(world.act(eve, "join", "team/secret", json!({})), "forbidden");
            }

            let unban = json!({ "user": "ann" });
            assert_eq!(world.act(eve, "room.unban", "team", unban), "ok");
            for inherits in [false, true] {
                let update = json!({ "config": { "parent_inherit": inherits } });
                assert_eq!(world.act(ann, "room.update", "team/secret", update), "ok");
            }
            let joined = world.ask(eve, "join", "team/secret", json!({}));
            assert_eq!(joined["role"], "owner", "that is what was said: {joined}");
        }
    }
}

#[test]
fn a_room_above_that_is_made_anew_is_another_one() {
    for mut world in World::all() {
        let last = world.last();
        let (ann, eve) = (world.user(0, "ann"), world.user(last, "eve"));
        assert_eq!(world.act(ann, "join", "team", json!({})), "ok");
        assert_eq!(world.act(ann, "room.create", "team/secret", secret()), "ok");
        let give = json!({ "user": "eve", "role": "member" });
        assert_eq!(world.act(ann, "room.role", "team", give), "ok");
        let joined = world.ask(eve, "join", "team/secret", json!({}));
        assert_eq!(joined["role"], "member", "it was above when this was made: {joined}");
        assert_eq!(world.act(eve, "leave", "team/secret", json!({})), "ok");
        // A temporary one ends with the last who leaves it; with a Redis that takes what is no part of this.
        let end = if world.has_redis { "room.delete" } else { "leave" };
        assert_eq!(world.act(ann, end, "team", json!({})), "ok");
        for _ in 0..10 {
            world.fleet.wait(1_000);
            world.flow();
        }
        let joined = world.ask(eve, "join", "team", json!({}));
        assert_eq!(joined["role"], "owner", "she is the first: {joined}");
        assert_eq!(world.act(eve, "join", "team/secret", json!({})), "forbidden");
    }
}

#[test]
fn a_room_that_inherits_by_its_namespace_is_not_taken_over_from_above_either() {
    for mut world in World::all() {
        let last = world.last();
        let (ann, eve) = (world.user(0, "ann"), world.user(last, "eve"));
        assert_eq!(world.ask(ann, "join", "heirs:team/a", json!({}))["role"], "owner");
        assert_eq!(world.ask(eve, "join", "heirs:team", json!({}))["role"], "owner");
        assert_eq!(world.ask(eve, "join", "heirs:team/a", json!({}))["role"], "guest");
        assert_eq!(world.act(eve, "room.update", "heirs:team/a", json!({})), "forbidden");
        // Of one that is made under it, it counts.
        assert_eq!(world.ask(ann, "join", "heirs:team/b", json!({}))["role"], "owner");
        assert_eq!(world.ask(eve, "join", "heirs:team/b", json!({}))["role"], "owner");
    }
}
