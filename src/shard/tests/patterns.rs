//! Patterns over several nodes: whoever receives rooms by a pattern is told everything that is
//! published in them after the answer, on whichever node, as a message or by a gap, whatever Redis does
//! meanwhile. A failing seed prints itself.
//!
//! The long form: `cargo test --lib shard::tests::patterns -- --ignored`

mod calls;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::{Fleet, each_seed};
use super::nodes;
use crate::config::Config;

const NODES: usize = 3;
const ROOMS: [&str; 4] = ["sure:a", "sure:b", "free:a", "free:b/c"];
const PATTERNS: [&str; 4] = ["sure:**", "**", "free:*", "sure:a"];

/// Where something is: room, epoch, offset.
type Place = (String, String, u64);

/// One that receives a pattern.
struct Receiver {
    node: usize,
    at: Address,
    pattern: &'static str,
    /// What had been published when it was answered; none: it has not been.
    since: Option<u64>,
    /// What it was told last, of each life of each room.
    last: BTreeMap<(String, String), u64>,
    told: BTreeSet<Place>,
}

struct World {
    fleet: Fleet,
    publishers: Vec<Address>,
    receivers: Vec<Receiver>,
    published: u64,
    /// What was answered, and the number of the publish.
    placed: Vec<(Place, u64)>,
    /// Redis has lost something.
    has_lost: bool,
}

fn config() -> Config {
    let mut config = nodes::config();
    // Nobody answers pings here.
    config.heartbeat.interval_ms = 24 * 3_600_000;
    config
}

fn matches(pattern: &str, room: &str) -> bool {
    match pattern {
        "**" => true,
        "sure:**" => room.starts_with("sure:"),
        "free:*" => room == "free:a",
        literal => literal == room,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = (0..NODES).map(|node| Cluster::of_node(2, config(), 3 + node as u64));
        let mut world = Self {
            fleet: Fleet::new(nodes, seed),
            publishers: Vec::new(),
            receivers: Vec::new(),
            published: 0,
            placed: Vec::new(),
            has_lost: false,
        };
        for node in 0..NODES {
            let at = world.fleet.nodes[node].open(0);
            world.publishers.push(at);
        }
        world
    }

    fn send(&mut self, node: usize, at: Address, message: &Value) {
        self.fleet.nodes[node].send(at, &message.to_string());
    }

    fn subscribe(&mut self, node: usize, core: u16, pattern: &'static str) {
        let at = self.fleet.nodes[node].open(core);
        self.send(node, at, &json!({"type": "subscribe", "id": 1, "pattern": pattern}));
        let (last, told) = (BTreeMap::new(), BTreeSet::new());
        self.receivers.push(Receiver { node, at, pattern, since: None, last, told });
    }

    fn unsubscribe(&mut self, who: usize) {
        let Receiver { node, at, pattern, .. } = self.receivers.remove(who);
        self.send(node, at, &json!({"type": "unsubscribe", "id": 2, "pattern": pattern}));
        if self.fleet.nodes[node].read(at).iter().any(|it| it["type"] == "disconnect") {
            self.fleet.nodes[node].lose(at);
        }
    }

    fn publish(&mut self, node: usize, room: &str) -> u64 {
        self.published += 1;
        let (id, at) = (self.published, self.publishers[node]);
        let publish = json!({"type": "publish", "id": id, "room": room, "data": id});
        self.send(node, at, &publish);
        id
    }

    fn join(&mut self, node: usize, room: &str) {
        let at = self.publishers[node];
        self.send(node, at, &json!({"type": "join", "room": room}));
    }

    /// Something happens.
    fn step(&mut self) {
        let (node, room) = (self.fleet.below(NODES), ROOMS[self.fleet.below(ROOMS.len())]);
        match self.fleet.below(60) {
            0 => {
                let arrives = self.published.is_multiple_of(2);
                self.fleet.cut(node, arrives);
            }
            1..=3 => self.fleet.restore(node),
            4..=6 => {
                let ms = 20 + self.fleet.below(300) as u64;
                self.fleet.wait(ms);
            }
            7 if self.fleet.below(8) == 0 => {
                let ms = [5_000, 20_000, 70_000, 200_000][self.fleet.below(4)];
                self.fleet.wait(ms);
            }
            8 | 9 => self.join(node, room),
            10 => {
                let at = self.publishers[node];
                self.send(node, at, &json!({"type": "leave", "room": room}));
            }
            11 if self.receivers.len() < 8 => {
                let (core, pattern) = (self.fleet.below(2), PATTERNS[self.fleet.below(4)]);
                self.subscribe(node, u16::try_from(core).unwrap(), pattern);
            }
            12 => self.fleet.links[node].miss(),
            13 if self.has_lost => self.lose(),
            14..=20 => {
                if self.fleet.below(2) == 0 {
                    self.join(node, room);
                }
                self.publish(node, room);
            }
            21..=24 => self.read_all(),
            25..=38 => {
                for _ in 0..self.fleet.below(12) {
                    self.fleet.execute(node);
                }
            }
            48 => self.fleet.store.lists.is_broken = true,
            49..=51 => self.fleet.store.lists.is_broken = false,
            52 if self.fleet.below(16) == 0 => self.fleet.store.lists.trim(),
            53 if self.receivers.len() > 3 => {
                let who = self.fleet.below(self.receivers.len());
                self.unsubscribe(who);
            }
            54 | 55 => (0..NODES).for_each(|node| self.fleet.restore(node)),
            56 | 57 => (0..3).for_each(|_| self.fleet.carry()),
            _ => {
                for _ in 0..self.fleet.below(12) {
                    self.fleet.deliver(node);
                }
            }
        }
        self.fleet.spread();
    }

    /// Redis is emptied under its nodes, or ends and is another when it comes back.
    fn lose(&mut self) {
        match self.fleet.below(12) {
            0 => self.fleet.store.empty(),
            1..=3 => self.fleet.store.snapshot(),
            4 => {
                self.fleet.store.set_back();
                for node in 0..NODES {
                    self.fleet.cut(node, false);
                }
            }
            _ => {}
        }
    }

    fn read_all(&mut self) {
        for node in 0..NODES {
            for event in self.fleet.nodes[node].read(self.publishers[node]) {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                if let (Some("ok"), Some(id)) = (event["type"].as_str(), event["id"].as_u64())
                    && let Some(offset) = event["offset"].as_u64()
                {
                    self.placed.push(((text("room"), text("epoch"), offset), id));
                }
            }
        }
        for who in 0..self.receivers.len() {
            let Receiver { node, at, .. } = self.receivers[who];
            for event in self.fleet.nodes[node].read(at) {
                self.take(who, &event);
            }
        }
        for gone in self.receivers.extract_if(.., |it| it.since == Some(u64::MAX)) {
            self.fleet.nodes[gone.node].lose(gone.at);
        }
    }

    fn take(&mut self, who: usize, event: &Value) {
        let published = self.published;
        let receiver = &mut self.receivers[who];
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| event[field].as_u64().unwrap_or_default();
        let (from, to) = match event["type"].as_str().unwrap() {
            "ok" => {
                receiver.since = Some(published);
                return;
            }
            "error" | "disconnect" => {
                assert!(
                    event["code"] == "unavailable" || event["reason"] == "overloaded",
                    "{event}"
                );
                // It may come again.
                receiver.since = Some(u64::MAX);
                return;
            }
            "gap" => (number("from"), number("to")),
            "message" if event["offset"].is_u64() => (number("offset"), number("offset")),
            "message" => return,
            other => panic!("{other}: {event}"),
        };
        let life = (text("room"), text("epoch"));
        let last = receiver.last.get(&life).copied();
        assert!(last.is_none_or(|last| from > last), "{who} was told {last:?}: {event}");
        receiver.last.insert(life.clone(), to);
        for offset in from..=to {
            receiver.told.insert((life.0.clone(), life.1.clone(), offset));
        }
    }

    /// Everything heals, and everyone has been told everything; how much that was.
    fn rest(&mut self) -> usize {
        self.fleet.store.lists.is_broken = false;
        for _ in 0..12 {
            self.fleet.restore_all();
            self.fleet.carry();
            self.fleet.wait(300);
            self.read_all();
        }
        assert!(self.receivers.iter().all(|it| it.since.is_some()), "one is not answered");
        let mut due = 0;
        for (place, id) in &self.placed {
            let (room, epoch, _) = place;
            if self.has_lost && self.fleet.store.epoch(room) != Some(epoch.as_str()) {
                continue;
            }
            for (who, it) in self.receivers.iter().enumerate() {
                let is_due = matches(it.pattern, room) && it.since.is_some_and(|since| *id > since);
                assert!(!is_due || it.told.contains(place), "{who}, {}: {place:?}", it.pattern);
                due += usize::from(is_due);
            }
        }
        self.come_again();
        due
    }

    /// Whoever comes when all is well is answered; when all have gone, nothing is received any more.
    fn come_again(&mut self) {
        for node in 0..NODES {
            self.subscribe(node, 1, "new:*");
        }
        let count = self.receivers.len();
        self.pass(2_500);
        assert_eq!(self.receivers.len(), count, "one is refused");
        assert!(self.receivers.iter().all(|it| it.since.is_some()), "one is not answered");
        while !self.receivers.is_empty() {
            self.unsubscribe(0);
        }
        self.pass(1_000);
        assert_eq!(self.fleet.store.lists.received(), 0, "by nobody");
    }

    /// Everything that is on its way arrives, and time passes, for so long.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.fleet.carry();
            self.fleet.wait(100);
        }
        self.fleet.carry();
        self.read_all();
    }

    fn data(&mut self, who: usize) -> Vec<Value> {
        let Receiver { node, at, .. } = self.receivers[who];
        let told = self.fleet.nodes[node].read(at);
        told.iter()
            .map(|it| if it["type"] == "gap" { json!("gap") } else { it["data"].clone() })
            .collect()
    }
}

/// All are linked, and have been for a while.
fn settled(seed: u64) -> World {
    let mut world = World::new(seed);
    world.fleet.restore_all();
    world.pass(11_000);
    world
}

fn run(seed: u64, has_lost: bool) -> usize {
    let mut world = settled(seed);
    world.has_lost = has_lost;
    for (node, pattern) in PATTERNS.into_iter().take(NODES).enumerate() {
        world.subscribe(node, 0, pattern);
    }
    world.pass(2_000);
    for _ in 0..700 {
        world.step();
    }
    world.rest()
}

fn run_all(seeds: std::ops::Range<u64>) {
    for (kind, has_lost) in [("", false), ("with a Redis that loses something", true)] {
        let mut due = 0;
        each_seed(kind, seeds.clone(), |seed| due += run(seed, has_lost));
        assert!(due > 0, "nothing was owed to anybody {kind}");
    }
}

#[test]
fn patterns_are_told_everything_whatever_redis_does() {
    run_all(0..8);
}

#[test]
#[ignore = "the long form"]
fn patterns_are_told_everything_whatever_redis_does_at_length() {
    run_all(1_000..6_000);
}

#[test]
fn a_pattern_hears_rooms_that_only_other_nodes_know() {
    let mut world = settled(1);
    world.subscribe(0, 1, "**");
    world.pass(2_000);
    assert!(world.receivers[0].since.is_some(), "it is answered");
    for (room, node) in [("sure:a", 1), ("free:a", 2), ("free:b/c", 1)] {
        world.join(node, room);
        world.pass(100);
        let ids = [(); 3].map(|()| json!(world.publish(node, room)));
        for _ in 0..6 {
            world.fleet.carry();
            world.fleet.wait(100);
        }
        assert_eq!(world.data(0), ids, "{room}");
        let next = world.publish(node, room);
        world.fleet.carry();
        assert_eq!(world.data(0), [json!(next)], "{room} is followed");
    }
}

#[test]
fn a_pattern_is_answered_once_all_nodes_know() {
    let mut world = settled(1);
    world.subscribe(0, 0, "sure:*");
    for _ in 0..9 {
        world.fleet.carry();
        world.fleet.wait(100);
        world.read_all();
        assert_eq!(world.receivers[0].since, None);
    }
    world.pass(600);
    assert_eq!(world.receivers[0].since, Some(0));
    // One more of it waits for nobody.
    world.subscribe(0, 1, "sure:*");
    world.pass(600);
    world.subscribe(0, 1, "sure:*");
    world.fleet.carry();
    world.read_all();
    assert_eq!(world.receivers[2].since, Some(0));
}

#[test]
fn a_pattern_is_refused_where_it_would_not_hold() {
    let mut world = settled(1);
    world.fleet.store.lists.has_stranger = true;
    world.subscribe(0, 0, "sure:*");
    world.pass(1_500);
    assert_eq!(world.receivers.len(), 1);
    world.pass(1_000);
    assert_eq!(world.receivers.len(), 0, "a node there is too old");
    for (count, left) in [(1, 1), (1, 1), (0, 0)] {
        (0..count).for_each(|_| world.subscribe(0, 0, "sure:*"));
        world.pass(1_500);
        assert_eq!(world.receivers.len(), left, "each has its time");
    }
    world.fleet.store.lists.has_stranger = false;
    world.fleet.cut(0, false);
    world.subscribe(0, 0, "sure:*");
    world.pass(2_500);
    assert_eq!(world.receivers.len(), 0, "Redis is out of reach");
    world.fleet.restore(0);
    world.subscribe(0, 0, "sure:*");
    world.pass(2_500);
    assert_eq!(world.receivers[0].since, Some(0));
}

#[test]
fn whoever_subscribes_hears_a_room_that_was_called_for_others() {
    let mut world = settled(1);
    world.subscribe(0, 0, "sure:a");
    world.pass(2_000);
    world.join(1, "sure:a");
    world.pass(200);
    world.publish(1, "sure:a");
    world.pass(400);
    assert_eq!(world.receivers[0].told.len(), 1);
    world.subscribe(2, 0, "sure:**");
    world.pass(2_000);
    assert_eq!(world.receivers[1].told.len(), 0, "nothing from before");
    // The call holds, and is not made again.
    world.publish(1, "sure:a");
    world.pass(100);
    assert_eq!(world.receivers[1].told.len(), 1);
}

#[test]
fn a_room_is_followed_anew_after_a_long_silence() {
    let mut world = settled(1);
    world.subscribe(0, 0, "**");
    world.pass(2_000);
    let homes = |world: &World| -> usize {
        world.fleet.nodes[0].shards.iter().map(|it| it.homes.rooms.len()).sum()
    };
    let before = homes(&world);
    world.join(1, "free:a");
    world.pass(200);
    for round in 1..=3 {
        world.publish(1, "free:a");
        world.pass(600);
        assert_eq!(world.receivers[0].told.len(), round);
        for _ in 0..200 {
            world.pass(1_000);
        }
        assert_eq!(homes(&world), before, "only the reserved ones are left");
    }
}
