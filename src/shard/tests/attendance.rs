//! Who is in a room over several nodes, on a Redis that is cut off, emptied and set back, with nodes that end.
//! Every client checks that of each user it is told a join and a leave by turns; at rest all nodes say
//! the same. A failing seed prints itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::{Fleet, each_seed};
use super::store::{Link, hand_over};
use crate::config::Config;
use crate::id::CoreId;
use crate::room::attendance::AttendanceAsk;
use crate::room::broker::{FromBroker, ToBroker};
use crate::room::name::RoomKey;

const NODES: usize = 3;
const USERS: [&str; 4] = ["ann", "bob", "cat", "dan"];

struct Client {
    node: usize,
    at: Address,
    user: &'static str,
    is_in: bool,
    /// Who is there, as far as it was told.
    told: BTreeMap<String, bool>,
}

struct World {
    fleet: Fleet,
    clients: Vec<Client>,
    /// Nodes that ended.
    gone: Vec<u64>,
    started: u64,
    count: u64,
}

fn config() -> Config {
    let mut config = super::store::config();
    config.presence.grace_ms = 300;
    config.session.ttl_ms = 0;
    config
}

fn room() -> RoomKey {
    super::cluster::room("a")
}

/// A node; its number tells it from all others.
fn start(number: u64) -> Cluster {
    Cluster::of_node(2, config(), 2 + number)
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = (1..=NODES as u64).map(start);
        Self {
            fleet: Fleet::new(nodes, seed),
            clients: Vec::new(),
            gone: Vec::new(),
            started: NODES as u64,
            count: 0,
        }
    }

    fn step(&mut self) {
        let node = self.fleet.below(NODES);
        match self.fleet.below(60) {
            0 => {
                let arrives = self.fleet.below(2) == 0;
                self.fleet.cut(node, arrives);
            }
            1..=4 => self.fleet.restore(node),
            5 => match self.fleet.below(6) {
                0 | 1 => self.fleet.store.empty(),
                2 => self.fleet.store.snapshot(),
                3 => self.set_back(),
                _ => {}
            },
            6 if self.fleet.below(4) == 0 => self.kill(node),
            // Rightly or not.
            7 => {
                let other = self.fleet.below(NODES);
                let lapsed = self.fleet.nodes[other].id();
                self.fleet.links[node].bury(lapsed);
            }
            8 => self.bury_all(),
            9..=12 => {
                let ms = 20 + self.fleet.below(400) as u64;
                self.fleet.wait(ms);
            }
            13..=18 => self.come(node),
            19..=24 => self.act(),
            25 => self.fleet.links[node].miss(),
            26..=30 => self.read_all(),
            31..=44 => self.fleet.execute(node),
            _ => self.fleet.deliver(node),
        }
        self.fleet.spread();
    }

    /// Another Redis begins, with what there was once.
    fn set_back(&mut self) {
        (0..NODES).for_each(|node| self.fleet.cut(node, true));
        self.fleet.store.set_back();
    }

    fn kill(&mut self, node: usize) {
        self.gone.push(self.fleet.nodes[node].id());
        self.started += 1;
        self.fleet.links[node] = Link::of(node);
        self.fleet.nodes[node] = start(self.started);
        self.clients.retain(|client| client.node != node);
    }

    fn bury_all(&mut self) {
        for lapsed in self.gone.clone() {
            self.fleet.links.iter_mut().for_each(|link| link.bury(lapsed));
        }
    }

    fn come(&mut self, node: usize) {
        if self.clients.len() > 14 {
            return;
        }
        let (core, user) = (self.fleet.below(2), USERS[self.fleet.below(USERS.len())]);
        let at = self.fleet.nodes[node].user(u16::try_from(core).unwrap(), user);
        let text = json!({"type": "join", "room": "a", "presence": true, "id": "join"});
        self.fleet.nodes[node].send(at, &text.to_string());
        let told = BTreeMap::new();
        self.clients.push(Client { node, at, user, is_in: false, told });
    }

    fn act(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let who = self.fleet.below(self.clients.len());
        let (node, at) = (self.clients[who].node, self.clients[who].at);
        self.count += 1;
        match self.fleet.below(3) {
            0 => {
                self.fleet.nodes[node].lose(at);
                self.clients.remove(who);
            }
            1 => {
                self.fleet.nodes[node].send(at, r#"{"type": "leave", "room": "a", "id": "leave"}"#);
            }
            _ => {
                let text =
                    json!({"type": "presence.set", "room": "a", "info": self.count, "id": "set"});
                self.fleet.nodes[node].send(at, &text.to_string());
            }
        }
    }

    fn read_all(&mut self) {
        for who in 0..self.clients.len() {
            let Client { node, at, .. } = self.clients[who];
            for event in self.fleet.nodes[node].read(at) {
                self.take(who, &event);
            }
        }
    }

    fn take(&mut self, who: usize, event: &Value) {
        let client = &mut self.clients[who];
        match (event["type"].as_str().unwrap(), event["id"].as_str()) {
            ("ok", Some("join")) => (client.is_in, client.told) = (true, BTreeMap::new()),
            ("ok", Some("leave")) => client.is_in = false,
            ("error", _) => assert_eq!(event["code"], "not_joined", "{event}"),
            ("presence", _) => {
                let user = event["user"].as_str().unwrap().to_owned();
                let before = client.told.get(&user).copied();
                match event["action"].as_str().unwrap() {
                    "join" => assert_ne!(before, Some(true), "{who} is told twice: {event}"),
                    "leave" => assert_ne!(before, Some(false), "{who} is told twice: {event}"),
                    _ => assert_ne!(before, Some(false), "{who}: {event} of who is not there"),
                }
                client.told.insert(user, event["action"] != "leave");
            }
            ("ok", Some("set")) | ("gap", _) => {}
            (other, _) => panic!("{other}: {event}"),
        }
    }

    fn rest(&mut self) {
        for round in 0..8 {
            self.fleet.restore_all();
            if round < 3 {
                self.bury_all();
            }
            self.fleet.carry();
            self.read_all();
            if round == 0 {
                // A Redis that was emptied is found out by whoever says something next.
                for node in 0..NODES {
                    let at = self.fleet.nodes[node].user(0, "eve");
                    let text = r#"{"type": "join", "room": "a", "presence": true, "id": "join"}"#;
                    self.fleet.nodes[node].send(at, text);
                    let (told, user) = (BTreeMap::new(), "eve");
                    self.clients.push(Client { node, at, user, is_in: false, told });
                }
            }
            self.fleet.wait(2_500);
        }
        self.read_all();
        self.agree();
    }

    /// All say the same, which is what is so.
    fn agree(&mut self) {
        let mut truth = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.is_in) {
            *truth.entry(client.user.to_owned()).or_insert(0) += 1;
        }
        let there: BTreeSet<_> = truth.keys().cloned().collect();
        let mut infos = BTreeSet::new();
        for who in 0..self.clients.len() {
            let Client { node, at, is_in, .. } = self.clients[who];
            if !is_in {
                continue;
            }
            for (user, is_there) in &self.clients[who].told {
                assert_eq!(there.contains(user), *is_there, "{who} was told otherwise of {user}");
            }
            let answer =
                self.fleet.nodes[node].ask(at, r#"{"type": "presence", "room": "a", "id": 9}"#);
            let users = answer["users"].as_array().unwrap();
            let listed: BTreeMap<_, _> = users
                .iter()
                .map(|it| {
                    (it["user"].as_str().unwrap().to_owned(), it["connections"].as_i64().unwrap())
                })
                .collect();
            assert_eq!(listed, truth, "{who} on node {node}");
            assert_eq!(answer["count"], truth.len() as u64);
            infos.insert(users.iter().map(|it| it["info"].to_string()).collect::<Vec<_>>());
        }
        assert!(infos.len() <= 1, "all say the same of users: {infos:?}");
        let mut known: Vec<_> = self.fleet.store.attendance(&room()).users;
        known.sort_by(|a, b| a.user.cmp(&b.user));
        let known: Vec<_> = known
            .iter()
            .map(|it| (it.user.to_string(), it.nodes.iter().map(|it| i64::from(it.1)).sum::<i64>()))
            .collect();
        assert_eq!(known, truth.into_iter().collect::<Vec<_>>(), "in Redis");
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..600 {
        world.step();
    }
    world.rest();
}

#[test]
fn nodes_agree_on_who_is_there() {
    each_seed("", 0..10, run);
}

#[test]
#[ignore = "the long form"]
fn nodes_agree_on_who_is_there_at_length() {
    each_seed("", 1_000..6_000, run);
}

impl World {
    fn join(&mut self, node: usize, user: &str) -> (Address, Value) {
        let at = self.fleet.nodes[node].user(0, user);
        self.fleet.nodes[node]
            .send(at, r#"{"type": "join", "room": "a", "presence": true, "id": 1}"#);
        self.fleet.carry();
        let answer = self.fleet.nodes[node].read(at).into_iter().find(|it| it["id"] == 1).unwrap();
        (at, answer)
    }

    fn notices(&mut self, node: usize, at: Address) -> Vec<String> {
        let events =
            self.fleet.nodes[node].read(at).into_iter().filter(|it| it["type"] == "presence");
        events.map(|it| format!("{} {}", it["action"].as_str().unwrap(), it["user"])).collect()
    }
}

/// Nodes that are linked.
fn calm() -> World {
    let mut world = World::new(1);
    world.fleet.restore_all();
    world
}

#[test]
fn the_first_in_and_the_last_out_of_all_nodes_are_told_once() {
    let mut world = calm();
    let (eve, _) = world.join(2, "eve");
    world.notices(2, eve);
    let (one, _) = world.join(0, "ann");
    let (other, answer) = world.join(1, "ann");
    assert_eq!(answer["user_count"], 2);
    assert_eq!(world.notices(2, eve), ["join \"ann\""]);
    let list = world.fleet.nodes[2].ask(eve, r#"{"type": "presence", "room": "a", "id": 2}"#);
    assert_eq!(list["users"][0], json!({"user": "ann", "info": null, "connections": 2}));
    world.fleet.nodes[0].lose(one);
    world.fleet.wait(400);
    world.fleet.carry();
    assert_eq!(world.notices(2, eve), [""; 0], "ann is still on another node");
    world.fleet.nodes[1].lose(other);
    world.fleet.wait(200);
    world.fleet.carry();
    assert_eq!(world.notices(2, eve), [""; 0], "grace");
    world.fleet.wait(200);
    world.fleet.carry();
    assert_eq!(world.notices(2, eve), ["leave \"ann\""]);
}

#[test]
fn one_of_those_who_are_left_says_that_a_node_is_no_more() {
    let mut world = calm();
    let watchers: Vec<_> = (0..2).map(|node| (node, world.join(node, "eve").0)).collect();
    for user in ["ann", "bob"] {
        world.join(2, user);
    }
    for (node, at) in &watchers {
        world.notices(*node, *at);
    }
    world.kill(2);
    world.bury_all();
    world.bury_all();
    world.fleet.carry();
    assert_eq!(world.fleet.store.forgotten, 1);
    for (node, at) in watchers {
        assert_eq!(world.notices(node, at), ["leave \"ann\"", "leave \"bob\""]);
    }
}

#[test]
fn connections_of_nobody_are_counted_on_all_nodes() {
    let mut world = calm();
    for node in 0..2 {
        let at = world.fleet.nodes[node].open(0);
        world.fleet.nodes[node].send(at, r#"{"type": "join", "room": "a", "id": 1}"#);
        world.fleet.carry();
    }
    let (_, answer) = world.join(2, "eve");
    assert_eq!(answer["user_count"], 3);
}

#[test]
fn what_goes_with_a_part_of_redis_is_said_again_when_it_is_back() {
    let mut world = calm();
    let (eve, _) = world.join(1, "eve");
    world.join(0, "ann");
    world.notices(1, eve);
    let bob = world.fleet.nodes[0].user(0, "bob");
    world.fleet.nodes[0].send(bob, r#"{"type": "join", "room": "a", "id": 1}"#);
    // Nobody answers what was said of him.
    world.fleet.nodes[0].to_broker.clear();
    for core in (0..2).map(CoreId) {
        for message in [FromBroker::Severed { room: room() }, FromBroker::Missed { room: room() }] {
            hand_over(&mut world.fleet.nodes[0], core, message);
        }
    }
    world.fleet.carry();
    assert_eq!(world.notices(1, eve), ["join \"bob\""]);
}

#[test]
fn what_redis_refuses_is_said_again_now_and_then_until_it_is_taken() {
    let mut world = calm();
    let (eve, _) = world.join(1, "eve");
    world.join(0, "ann");
    world.notices(1, eve);
    world.fleet.links[0].is_full = true;
    for user in ["bob", "cat", "dan"] {
        world.join(0, user);
    }
    for _ in 0..20 {
        world.fleet.wait(1_000);
        world.fleet.carry();
    }
    // At once, and after 1, 3, 7, 11, 15 and 19 s.
    let refused = world.fleet.links[0].refused.iter();
    assert!((5..=7).contains(&refused.filter(|it| **it == room()).count()));
    world.fleet.links[0].is_full = false;
    world.fleet.wait(4_000);
    world.fleet.carry();
    assert_eq!(world.notices(1, eve), ["join \"bob\"", "join \"cat\"", "join \"dan\""]);
}

#[test]
fn who_went_is_gone_though_that_was_refused_while_something_else_was_awaited() {
    let mut world = calm();
    let (ann, _) = world.join(0, "ann");
    // The room is there until it is known what becomes of this.
    let update = r#"{"type": "room.update", "room": "a", "config": {"slow_mode_ms": 1}, "id": 2}"#;
    world.fleet.nodes[0].send(ann, update);
    world.fleet.nodes[0].lose(ann);
    world.fleet.wait(400);
    let is_said = |(_, message): &(CoreId, ToBroker)| {
        matches!(message, ToBroker::Attend { ask: AttendanceAsk::Say { .. }, .. })
    };
    let asked = std::mem::take(&mut world.fleet.nodes[0].to_broker);
    let (said, rest): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_said);
    assert_eq!(said.len(), 1);
    let is_move = |(_, message): &(CoreId, ToBroker)| matches!(message, ToBroker::Move { .. });
    assert!(rest.iter().any(is_move));
    world.fleet.nodes[0].to_broker.extend(said);
    world.fleet.links[0].set_out_of_reach(true);
    world.fleet.execute(0);
    world.fleet.links[0].set_out_of_reach(false);
    world.fleet.deliver(0);
    assert_eq!(world.fleet.store.attendance(&room()).users.len(), 1);
    world.fleet.nodes[0].to_broker.extend(rest);
    world.fleet.carry();
    world.fleet.wait(1_000);
    world.fleet.carry();
    assert_eq!(world.fleet.store.attendance(&room()).users, []);
}

#[test]
fn what_somebody_said_stays_known_though_their_going_is_taken_before_their_coming_is_heard() {
    let mut world = calm();
    let (eve, _) = world.join(0, "eve");
    let (ann, _) = world.join(0, "ann");
    let set = r#"{"type": "presence.set", "room": "a", "info": 1, "id": 2}"#;
    world.fleet.nodes[0].send(ann, set);
    world.fleet.carry();
    world.fleet.nodes[0].lose(ann);
    world.fleet.wait(400);
    for node in [1, 2] {
        let ann = world.fleet.nodes[node].user(0, "ann");
        world.fleet.nodes[node].send(ann, r#"{"type": "join", "room": "a", "id": 1}"#);
    }
    world.fleet.carry_of([1, 2]);
    for _ in 0..10 {
        world.fleet.execute(0);
        world.fleet.spread();
    }
    // An answer may be faster than what was told before it.
    let is_answer =
        |(_, message): &(CoreId, FromBroker)| matches!(message, FromBroker::Said { .. });
    let from = &mut world.fleet.links[0].from;
    let (answers, news): (Vec<_>, Vec<_>) = from.drain(..).partition(is_answer);
    assert_eq!(answers.len(), 1);
    from.extend(answers.into_iter().chain(news));
    world.fleet.carry();
    world.notices(0, eve);
    let list = world.fleet.nodes[0].ask(eve, r#"{"type": "presence", "room": "a", "id": 3}"#);
    assert_eq!(list["users"][0], json!({"user": "ann", "info": 1, "connections": 2}));
}

#[test]
fn what_could_not_be_taken_back_is_taken_back_though_somebody_came_and_went_meanwhile() {
    let mut world = calm();
    let (ann, _) = world.join(0, "ann");
    world.fleet.links[0].set_out_of_reach(true);
    world.fleet.nodes[0].lose(ann);
    world.fleet.wait(400);
    world.fleet.carry();
    let (bob, answer) = world.join(0, "bob");
    assert_eq!(answer["type"], "ok");
    world.fleet.wait(1_000);
    world.fleet.carry();
    world.fleet.nodes[0].lose(bob);
    world.fleet.wait(400);
    world.fleet.carry();
    world.fleet.links[0].set_out_of_reach(false);
    assert_eq!(world.fleet.store.attendance(&room()).users.len(), 1);
    world.fleet.wait(5_000);
    world.fleet.carry();
    assert_eq!(world.fleet.store.attendance(&room()).users, []);
}
