//! Rooms that are governed from several nodes at once, on a Redis that is cut off, forgets and is
//! emptied. What was answered `ok` holds; at rest all nodes and Redis say the same. A failing seed
//! prints itself.
//!
//! The long form: `cargo test --lib shard::tests::governing -- --ignored`

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::{Fleet, each_seed};
use super::store::{config, hand_over};
use crate::id::CoreId;
use crate::room::broker::FromBroker;
use crate::room::charter::Entry;
use crate::room::name::RoomKey;

const NODES: usize = 3;

struct World {
    fleet: Fleet,
    /// The owner, once on each node.
    owners: Vec<Address>,
    /// What was asked: users who are to be moderators, and the slow mode.
    asked: BTreeMap<u64, Option<String>>,
    /// Users who are moderators for sure.
    moderators: Vec<String>,
    /// Redis was emptied.
    was_emptied: bool,
    count: u64,
}

fn room() -> RoomKey {
    super::cluster::room("a")
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = (0..NODES).map(|node| Cluster::of_node(2, config(), 3 + node as u64));
        let mut world = Self {
            fleet: Fleet::new(nodes, seed),
            owners: Vec::new(),
            asked: BTreeMap::new(),
            moderators: Vec::new(),
            was_emptied: false,
            count: 0,
        };
        for (node, core) in [0, 1, 0].into_iter().enumerate() {
            let owner = world.fleet.nodes[node].user(core, "ann");
            world.owners.push(owner);
            world.fleet.restore(node);
        }
        world.fleet.carry();
        let created = world.ask(0, &json!({"type": "room.create", "room": "a"}));
        assert_eq!((&created["type"], &created["role"]), (&json!("ok"), &json!("owner")));
        for node in 0..NODES {
            let joined = world.ask(node, &json!({"type": "join", "room": "a"}));
            assert_eq!((&joined["type"], &joined["role"]), (&json!("ok"), &json!("owner")));
        }
        world
    }

    /// A command while all is well, and its answer.
    fn ask(&mut self, node: usize, command: &Value) -> Value {
        let mut command = command.clone();
        command["id"] = json!("now");
        let at = self.owners[node];
        self.fleet.nodes[node].send(at, &command.to_string());
        self.fleet.carry();
        let events = self.fleet.nodes[node].read(at);
        let found = events.into_iter().find(|event| event["id"] == "now");
        found.unwrap_or_else(|| panic!("{command} was not answered"))
    }

    fn step(&mut self, may_empty: bool) {
        let node = self.fleet.below(NODES);
        match self.fleet.below(60) {
            0 => {
                let arrives = self.fleet.below(2) == 0;
                self.fleet.cut(node, arrives);
            }
            1..=4 => self.fleet.restore(node),
            5 if may_empty => {
                self.fleet.store.empty();
                self.was_emptied = true;
            }
            6..=8 => {
                let ms = 20 + self.fleet.below(900) as u64;
                self.fleet.wait(ms);
            }
            9..=16 => self.govern(node),
            17 => self.fleet.links[node].miss(),
            18..=24 => self.read_all(),
            25..=42 => self.fleet.execute(node),
            _ => self.fleet.deliver(node),
        }
        self.fleet.spread();
    }

    fn govern(&mut self, node: usize) {
        self.count += 1;
        let id = self.count;
        let (mut command, user) = match self.fleet.below(3) {
            0 => {
                let config = json!({"slow_mode_ms": id});
                (json!({"type": "room.update", "room": "a", "config": config}), None)
            }
            1 => (json!({"type": "room.mute", "room": "a", "user": format!("m{id}")}), None),
            _ => {
                let user = format!("u{id}");
                let role =
                    json!({"type": "room.role", "room": "a", "user": user, "role": "moderator"});
                (role, Some(user))
            }
        };
        command["id"] = json!(id);
        self.asked.insert(id, user);
        self.fleet.nodes[node].send(self.owners[node], &command.to_string());
    }

    fn read_all(&mut self) {
        for node in 0..NODES {
            for event in self.fleet.nodes[node].read(self.owners[node]) {
                let Some(id) = event["id"].as_u64() else { continue };
                let user = self.asked.remove(&id).expect("one answer each");
                match event["type"].as_str().unwrap() {
                    "ok" => self.moderators.extend(user),
                    _ => {
                        let codes = ["timeout", "unavailable"].map(Value::from);
                        assert!(codes.contains(&event["code"]), "{event}");
                    }
                }
            }
        }
    }

    fn rest(&mut self) {
        for _ in 0..6 {
            self.fleet.restore_all();
            self.fleet.carry();
            self.read_all();
            self.fleet.wait(2_500);
        }
        self.fleet.carry();
        self.read_all();
        assert!(self.asked.is_empty(), "all are answered: {:?}", self.asked);
        let infos: Vec<_> = (0..NODES)
            .map(|node| {
                let info = self.ask(node, &json!({"type": "room.info", "room": "a"}));
                let members =
                    self.ask(node, &json!({"type": "room.members", "room": "a", "limit": 1000}));
                (info["config"].clone(), members["members"].clone())
            })
            .collect();
        assert!(infos.iter().all(|info| *info == infos[0]), "{infos:#?}");
        let members = infos[0].1.as_array().unwrap();
        let is_member = |user: &str| members.iter().any(|member| member["user"] == user);
        assert!(is_member("ann"), "{members:?}");
        // What a Redis knew that was emptied is what its nodes have kept, of which one came first.
        for user in self.moderators.iter().filter(|_| !self.was_emptied) {
            assert!(is_member(user), "{user} is a moderator: {members:?}");
        }
        let charter = self.fleet.store.charter(&room());
        let kept = charter.entries.iter().filter(|it| matches!(it, Entry::Member(_, Some(_))));
        assert_eq!(kept.count(), members.len(), "{charter:?}");
    }
}

fn run(seed: u64, may_empty: bool) {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step(may_empty);
    }
    world.rest();
}

fn run_all(seeds: std::ops::Range<u64>) {
    each_seed("", seeds.clone(), |seed| run(seed, false));
    each_seed("with a Redis that is emptied", seeds, |seed| run(seed, true));
}

#[test]
fn nodes_govern_together_whatever_redis_does() {
    run_all(0..8);
}

#[test]
#[ignore = "the long form"]
fn nodes_govern_together_whatever_redis_does_at_length() {
    run_all(1_000..6_000);
}

/// A world in which all is well, and the events of a user on another node than the owner's.
fn with_guest() -> (World, Address) {
    let mut world = World::new(0);
    let guest = world.fleet.nodes[1].user(0, "bob");
    world.fleet.nodes[1].send(guest, r#"{"type":"join","room":"a","id":1}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[1].read(guest).last().unwrap()["type"], "ok");
    (world, guest)
}

#[test]
fn a_ban_on_one_node_sends_out_on_another_and_keeps_out_there() {
    let (mut world, guest) = with_guest();
    let ban = json!({"type": "room.ban", "room": "a", "user": "bob", "reason": "spam"});
    assert_eq!(world.ask(0, &ban)["type"], "ok");
    let left = world.fleet.nodes[1].read(guest);
    assert_eq!((&left[0]["type"], &left[0]["reason"]), (&json!("left"), &json!("banned")));
    assert_eq!(left[0]["by"], "ann");
    world.fleet.nodes[1].send(guest, r#"{"type":"join","room":"a","id":2}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[1].read(guest).last().unwrap()["code"], "banned");
    let unban = json!({"type": "room.unban", "room": "a", "user": "bob"});
    assert_eq!(world.ask(2, &unban)["type"], "ok");
    world.fleet.nodes[1].send(guest, r#"{"type":"join","room":"a","id":3}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[1].read(guest).last().unwrap()["type"], "ok");
}

#[test]
fn mute_role_and_configuration_are_told_on_other_nodes() {
    let (mut world, guest) = with_guest();
    for command in [
        json!({"type": "room.mute", "room": "a", "user": "bob", "for_ms": 60_000}),
        json!({"type": "room.role", "room": "a", "user": "bob", "role": "admin"}),
        json!({"type": "room.update", "room": "a", "config": {"slow_mode_ms": 7}}),
    ] {
        assert_eq!(world.ask(2, &command)["type"], "ok", "{command}");
    }
    let told = world.fleet.nodes[1].read(guest);
    let changes: Vec<_> = told.iter().map(|event| event["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["muted", "role", "updated"]);
    world.fleet.nodes[1].send(guest, r#"{"type":"publish","room":"a","data":1,"id":2}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[1].read(guest).last().unwrap()["code"], "muted");
}

#[test]
fn a_deleted_room_is_gone_everywhere_and_may_be_made_again() {
    let (mut world, guest) = with_guest();
    assert_eq!(world.ask(2, &json!({"type": "room.delete", "room": "a"}))["type"], "ok");
    assert_eq!(world.fleet.nodes[1].read(guest)[0]["reason"], "room_deleted");
    let info = world.ask(0, &json!({"type": "room.info", "room": "a"}));
    assert_eq!(info["code"], "not_found");
    // Whoever comes first owns it.
    world.fleet.nodes[1].send(guest, r#"{"type":"join","room":"a","id":2}"#);
    world.fleet.carry();
    let joined = world.fleet.nodes[1].read(guest);
    assert_eq!(joined.last().unwrap()["role"], "owner", "{joined:?}");
    let exists = world.ask(0, &json!({"type": "room.create", "room": "a"}));
    assert_eq!(exists["code"], "room_exists");
}

#[test]
fn what_redis_has_lost_is_written_again_before_a_command_that_was_on_its_way() {
    let mut world = World::new(0);
    let mute = json!({"type": "room.mute", "room": "a", "user": "bob", "id": "mute"});
    world.fleet.nodes[1].send(world.owners[1], &mute.to_string());
    world.fleet.store.empty();
    // It was asked for before that, and is told while the mute is on its way.
    for core in [0, 1].map(CoreId) {
        let recalled = FromBroker::Recalled { room: room(), outcome: Ok(Some(Box::default())) };
        hand_over(&mut world.fleet.nodes[1], core, recalled);
    }
    let is_owner = |it: &Entry| matches!(it, Entry::Member(user, Some(_)) if **user == *"ann");
    let is_muted = |it: &Entry| matches!(it, Entry::Muted(user, Some(_)) if **user == *"bob");
    for _ in 0..20 {
        world.fleet.execute(1);
        let charter = world.fleet.store.charter(&room());
        assert!(charter.entries.is_empty() || charter.entries.iter().any(is_owner), "{charter:?}");
        world.fleet.deliver(1);
        world.fleet.spread();
    }
    world.fleet.carry();
    let charter = world.fleet.store.charter(&room());
    assert!(charter.entries.iter().any(is_muted), "{charter:?}");
}

#[test]
fn whoever_asked_a_redis_that_does_not_answer_is_told_that_it_may_have_been_done() {
    let commands = [
        json!({"type": "room.mute", "id": 1, "room": "a", "user": "bob"}),
        json!({"type": "publish", "id": 1, "room": "a", "data": 1}),
    ];
    for (command, is_cut) in commands.iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut world = World::new(0);
        let sure = json!({"type": "room.update", "room": "a", "config": {"mode": "reliable"}});
        assert_eq!(world.ask(0, &sure)["type"], "ok");
        let owner = world.owners[0];
        world.fleet.nodes[0].read(owner);
        world.fleet.nodes[0].send(owner, &command.to_string());
        world.fleet.nodes[0].settle();
        world.fleet.spread();
        if is_cut {
            world.fleet.cut(0, true);
        } else {
            world.fleet.nodes[0].wait(config().redis.timeout_ms * 3);
        }
        let told = world.fleet.nodes[0].read(owner);
        let refused = told.iter().find(|event| event["id"] == 1);
        let refused = refused.unwrap_or_else(|| panic!("{command} {is_cut}: {told:?}"));
        assert_eq!(refused["code"], "timeout", "{command} {is_cut}: {refused}");
        assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    }
}

#[test]
fn nothing_is_decided_when_redis_is_out_of_reach() {
    let mut world = World::new(0);
    world.fleet.cut(0, false);
    let refused = world.ask(0, &json!({"type": "room.mute", "room": "a", "user": "bob"}));
    assert_eq!(refused["code"], "unavailable");
    assert!(refused["retry_after_ms"].is_u64());
}

#[test]
fn a_ban_above_keeps_out_of_the_rooms_below_on_other_nodes() {
    let mut world = World::new(0);
    let ban = json!({"type": "room.ban", "room": "a", "user": "bob"});
    assert_eq!(world.ask(0, &ban)["type"], "ok");
    let config = json!({"parent_inherit": true, "persistent": true});
    let create = json!({"type": "room.create", "room": "a/b", "config": config});
    assert_eq!(world.ask(2, &create)["type"], "ok");
    let guest = world.fleet.nodes[1].user(0, "bob");
    world.fleet.nodes[1].send(guest, r#"{"type":"join","room":"a/b","id":1}"#);
    world.fleet.carry();
    assert_eq!(world.fleet.nodes[1].read(guest).last().unwrap()["code"], "banned");
}

#[test]
fn who_is_invited_hears_of_it_wherever_they_are_and_when_they_come() {
    let mut world = World::new(0);
    let bob = |world: &mut World, node: usize| {
        let at = world.fleet.nodes[node].open_as(1, "bob", |_| {});
        world.fleet.carry();
        at
    };
    let told = |world: &mut World, node: usize, at: Address| {
        let events = world.fleet.nodes[node].read(at).into_iter();
        events.filter(|it| it["change"] == "invited").collect::<Vec<_>>()
    };
    let there = [0, 1, 1].map(|node| (node, bob(&mut world, node)));
    let create = json!({"type": "room.create", "room": "b", "config": {"type": "invite_only"}});
    assert_eq!(world.ask(0, &create)["type"], "ok");
    let moderate = |world: &mut World, what: &str| {
        let command = json!({"type": format!("room.{what}"), "room": "b", "user": "bob"});
        assert_eq!(world.ask(0, &command)["type"], "ok");
    };
    moderate(&mut world, "invite");
    for (node, at) in there {
        let told = told(&mut world, node, at);
        assert_eq!(told.len(), 1, "at {node}: {told:?}");
        assert_eq!((&told[0]["room"], &told[0]["by"]), (&json!("b"), &json!("ann")));
    }
    let come = |world: &mut World| {
        let at = bob(world, 2);
        (at, told(world, 2, at).len())
    };
    assert_eq!(come(&mut world).1, 1, "it waits for them");
    moderate(&mut world, "ban");
    assert_eq!(come(&mut world).1, 0, "it holds no more");
    moderate(&mut world, "unban");
    moderate(&mut world, "invite");
    let (at, count) = come(&mut world);
    assert_eq!(count, 1);
    let join = json!({"type": "join", "room": "b", "id": 1});
    world.fleet.nodes[2].send(at, &join.to_string());
    world.fleet.carry();
    assert_eq!(come(&mut world).1, 0, "they have come");
}
