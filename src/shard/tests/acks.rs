//! Users who acknowledge in a guaranteed room on several nodes, while the links to Redis come and go:
//! whoever stays in the room gets everything from where they began, on whichever node they are, and
//! what they have acknowledged does not come again. A failing seed prints itself.
//!
//! The long form: `cargo test --lib shard::tests::acks -- --ignored`

mod members;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::{Fleet, each_seed};
use crate::config::{Config, RoomDefaults, RoomMode};
use crate::room::name::RoomKey;

const NODES: usize = 3;
const USERS: [&str; 3] = ["ann", "bob", "cid"];
const ROOM: &str = "owed:a";
const ACK_TIMEOUT_MS: u64 = 1_000_000;

/// A user with one connection at most, who takes in what comes without a hole.
#[derive(Default)]
struct Reader {
    at: Option<(usize, Address)>,
    /// After which offset they want everything.
    began: u64,
    got: BTreeSet<u64>,
    acknowledged: u64,
    /// Something came that they have acknowledged: a node that was cut off did not hear it, or knew
    /// less than they did.
    is_doubted: bool,
    /// Up to where they were told over this connection that it is gone: a node that was cut off may
    /// have only what came since.
    lost: u64,
    /// What came over this connection, and whether it said that it may have come before.
    came: Vec<(u64, bool)>,
}

struct World {
    fleet: Fleet,
    readers: Vec<Reader>,
    publisher: Address,
}

fn config(seed: u64) -> Config {
    let mut config = super::store::config();
    config.heartbeat.interval_ms = 86_400_000;
    // Longer than anything here lasts, but for what waits for it.
    config.rooms.ack_timeout_ms = ACK_TIMEOUT_MS;
    config.session.ttl_ms = if seed.is_multiple_of(2) { 0 } else { 60_000 };
    let owed = RoomDefaults {
        mode: Some(RoomMode::Guaranteed),
        history_size: Some(10_000),
        history_ttl_ms: Some(86_400_000),
        ..RoomDefaults::default()
    };
    config.namespace_rooms.insert("owed".to_owned(), owed);
    config
}

fn room() -> RoomKey {
    super::cluster::room(ROOM)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut nodes: Vec<_> =
            (0..NODES).map(|node| Cluster::of_node(2, config(seed), 3 + node as u64)).collect();
        let publisher = nodes[0].user(0, "publisher");
        let mut world = Self {
            fleet: Fleet::new(nodes, seed),
            readers: USERS.map(|_| Reader::default()).into(),
            publisher,
        };
        world.rest();
        world.fleet.nodes[0].send(publisher, &json!({"type": "join", "room": ROOM}).to_string());
        world.rest();
        for who in 0..USERS.len() {
            world.come(who);
            world.rest();
        }
        world
    }

    fn come(&mut self, who: usize) {
        let (node, core) = (self.fleet.below(NODES), self.fleet.below(2));
        let at = self.fleet.nodes[node].user(u16::try_from(core).unwrap(), USERS[who]);
        self.fleet.nodes[node]
            .send(at, &json!({"type": "join", "id": 1, "room": ROOM}).to_string());
        self.readers[who].at = Some((node, at));
        self.readers[who].came.clear();
        self.readers[who].lost = 0;
    }

    fn go(&mut self, who: usize) {
        if let Some((node, at)) = self.readers[who].at.take() {
            self.fleet.nodes[node].lose(at);
        }
    }

    fn publish(&mut self) {
        let text = json!({"type": "publish", "room": ROOM, "data": 0}).to_string();
        self.fleet.nodes[0].send(self.publisher, &text);
        self.fleet.nodes[0].read(self.publisher);
    }

    /// Everyone reads, and perhaps acknowledges everything up to the first hole.
    fn read_all(&mut self, acknowledges: bool) {
        for (who, reader) in self.readers.iter_mut().enumerate() {
            let Some((node, at)) = reader.at else { continue };
            for event in self.fleet.nodes[node].read(at) {
                reader.take(who, &event);
            }
            let whole = (reader.began + 1..).take_while(|offset| reader.got.contains(offset));
            let last = whole.last().unwrap_or(reader.began);
            if acknowledges && (last > reader.acknowledged || reader.is_doubted) {
                reader.is_doubted = false;
                reader.acknowledged = last;
                let ack = json!({"type": "ack", "room": ROOM, "offset": last});
                self.fleet.nodes[node].send(at, &ack.to_string());
            }
        }
    }

    fn step(&mut self) {
        let node = self.fleet.below(NODES);
        match self.fleet.below(40) {
            0 => {
                let arrives = self.fleet.below(2) == 0;
                self.fleet.cut(node, arrives);
            }
            1..=3 => self.fleet.restore(node),
            4 => {
                let ms = 50 + self.fleet.below(1_500) as u64;
                self.fleet.wait(ms);
            }
            5 | 6 => {
                let who = self.fleet.below(USERS.len());
                match self.readers[who].at {
                    Some(_) => self.go(who),
                    None => self.come(who),
                }
            }
            7..=12 => self.publish(),
            13..=17 => {
                let acknowledges = self.fleet.below(2) == 0;
                self.read_all(acknowledges);
            }
            18..=28 => self.fleet.execute(node),
            _ => self.fleet.deliver(node),
        }
        self.fleet.spread();
    }

    /// Everything heals, and all that is owed for so long comes.
    fn rest_for(&mut self, ms: u64, acknowledges: bool) {
        self.fleet.restore_all();
        for _ in 0..4 {
            self.fleet.carry();
            self.read_all(acknowledges);
            self.fleet.wait(ms / 4);
        }
    }

    fn rest(&mut self) {
        self.rest_for(8_000, false);
    }

    /// Nothing was lost to anybody.
    fn check(&mut self) {
        for who in 0..USERS.len() {
            if self.readers[who].at.is_none() {
                self.come(who);
            }
        }
        self.rest();
        // A node that missed the last of it finds out when something follows.
        self.publish();
        // Longer than it takes until what is not acknowledged comes again.
        for _ in 0..3 {
            self.rest_for(ACK_TIMEOUT_MS, true);
        }
        let last = self.fleet.store.mark(&room(), USERS[0]).expect("ann is known").acknowledged;
        for (name, reader) in USERS.iter().zip(&self.readers) {
            let missing: Vec<_> =
                (reader.began + 1..=last).filter(|it| !reader.got.contains(it)).collect();
            assert!(missing.is_empty(), "{name} misses {missing:?}");
            assert_eq!(reader.acknowledged, last, "{name}");
        }
    }

    /// Where nothing is in the way, only what was not acknowledged comes, wherever they go.
    fn move_about(&mut self) {
        for round in 0..6 {
            let who = self.fleet.below(USERS.len());
            for _ in 0..self.fleet.below(4) {
                self.publish();
            }
            self.rest_for(4_000, round % 2 == 0);
            self.go(who);
            self.rest();
            let seen = self.readers[who].got.last().copied().unwrap_or(0);
            for _ in 0..self.fleet.below(3) {
                self.publish();
            }
            self.rest();
            let kept = self.fleet.store.mark(&room(), USERS[who]).expect("they did not leave");
            let reader = &self.readers[who];
            let told = (kept.acknowledged.max(reader.began), kept.sent);
            assert_eq!(told, (reader.acknowledged.max(reader.began), Some(seen.max(reader.began))));
            self.come(who);
            self.rest();
            let last = self.readers[1 - who.min(1)].got.last().copied().unwrap_or(0);
            let first = kept.acknowledged.max(self.readers[who].lost) + 1;
            let expected: Vec<_> = (first..=last).map(|offset| (offset, offset <= seen)).collect();
            assert_eq!(self.readers[who].came, expected, "{} up to {last}", USERS[who]);
        }
    }

    /// Who leaves begins anew.
    fn leave(&mut self, who: usize) {
        let Some((node, at)) = self.readers[who].at else { return };
        self.fleet.nodes[node].send(at, &json!({"type": "leave", "room": ROOM}).to_string());
        self.go(who);
        self.rest();
        assert_eq!(self.fleet.store.mark(&room(), USERS[who]), None);
        self.publish();
        self.rest();
        self.readers[who] = Reader { began: u64::MAX, ..Reader::default() };
        self.come(who);
        self.rest();
        assert_eq!(self.readers[who].came, []);
    }
}

/// Members who are mostly not there.
impl World {
    fn govern(&mut self, what: &str, user: &str, role: Option<&str>) {
        let mut command = json!({"type": what, "id": 7, "room": ROOM, "user": user});
        if let Some(role) = role {
            command["role"] = role.into();
        }
        self.fleet.nodes[0].send(self.publisher, &command.to_string());
        // It is answered by what is told to all.
        self.fleet.carry();
        self.rest();
        let told = self.fleet.nodes[0].read(self.publisher);
        assert!(told.iter().any(|it| it["type"] == "ok" && it["id"] == 7), "{what}: {told:?}");
    }

    /// Comes to some node, takes in what is owed, and leaves or goes: the offsets that came.
    fn visit(&mut self, user: &str, leaves: bool) -> Vec<i64> {
        let (node, core) = (self.fleet.below(NODES), self.fleet.below(2));
        let at = self.fleet.nodes[node].user(u16::try_from(core).unwrap(), user);
        self.fleet.nodes[node].send(at, &json!({"type": "join", "room": ROOM}).to_string());
        self.rest();
        let came = self.fleet.nodes[node].offsets(at);
        if let Some(last) = came.last() {
            let ack = json!({"type": "ack", "room": ROOM, "offset": last});
            self.fleet.nodes[node].send(at, &ack.to_string());
        }
        if leaves {
            self.fleet.nodes[node].send(at, &json!({"type": "leave", "room": ROOM}).to_string());
        }
        self.fleet.nodes[node].lose(at);
        self.rest();
        came
    }

    fn published(&mut self) -> i64 {
        self.publish();
        self.rest();
        let last = self.readers.iter().filter_map(|reader| reader.got.last()).max();
        i64::try_from(*last.unwrap()).unwrap()
    }

    /// One who has been a member since before anything was published.
    fn member_comes(&mut self, user: &str) {
        let last = self.published();
        assert_eq!(self.visit(user, true), (1..=last).collect::<Vec<_>>(), "never there before");
        let last = self.published();
        assert_eq!(self.visit(user, false), [last], "left, and is a member");
        self.govern("room.role", user, Some("guest"));
        let last = self.published();
        assert_eq!(self.visit(user, true), [last], "no member, and did not leave");
        self.published();
        assert_eq!(self.visit(user, true), [0_i64; 0], "no member, and left");
        self.govern("room.role", user, Some("member"));
        self.govern("room.role", user, Some("guest"));
        self.published();
        assert_eq!(self.visit(user, false), [0_i64; 0], "no member any more");
        self.govern("room.ban", user, None);
        self.published();
        self.govern("room.unban", user, None);
        assert_eq!(self.visit(user, true), [0_i64; 0], "was banned");
    }
}

impl Reader {
    fn take(&mut self, who: usize, event: &Value) {
        match event["type"].as_str().unwrap() {
            "message" => {
                let offset = event["offset"].as_u64().unwrap();
                self.got.insert(offset);
                self.is_doubted |= offset <= self.acknowledged;
                self.came.push((offset, event["redelivered"] == true));
            }
            "ok" if self.began == u64::MAX => {
                self.began = event["offset"].as_u64().unwrap();
                self.acknowledged = self.began;
            }
            "gap" if event["reason"] == "history_truncated" => {
                let (from, to) = (event["from"].as_u64().unwrap(), event["to"].as_u64().unwrap());
                self.got.extend(from..=to);
                self.lost = self.lost.max(to);
            }
            "ok" | "gap" | "disconnect" => {}
            other => panic!("{who} is told {other}: {event}"),
        }
    }
}

#[test]
fn what_one_device_has_acknowledged_does_not_come_again_to_another_on_another_node() {
    for acknowledges in [true, false] {
        let mut world = World::new(0);
        let (node, at) = world.readers[0].at.unwrap();
        let elsewhere = (node + 1) % NODES;
        let other = world.fleet.nodes[elsewhere].user(1, USERS[0]);
        let join = json!({"type": "join", "id": 1, "room": ROOM});
        world.fleet.nodes[elsewhere].send(other, &join.to_string());
        world.rest();
        world.publish();
        world.rest();
        assert_eq!(world.readers[0].came, [(1, false)]);
        assert_eq!(world.fleet.nodes[elsewhere].offsets(other), [1]);
        if acknowledges {
            let ack = json!({"type": "ack", "room": ROOM, "offset": 1});
            world.fleet.nodes[node].send(at, &ack.to_string());
        }
        world.rest_for(2 * ACK_TIMEOUT_MS, false);
        world.rest();
        let again = world.fleet.nodes[elsewhere].offsets(other);
        assert_eq!(again.is_empty(), acknowledges, "{again:?}");
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    world.govern("room.role", "dan", Some("member"));
    for _ in 0..400 {
        world.step();
    }
    world.check();
    world.move_about();
    world.leave(0);
    world.check();
    world.member_comes("dan");
}

#[test]
fn nobody_misses_anything_and_what_was_acknowledged_stays_so() {
    each_seed("", 0..10, run);
}

#[test]
#[ignore = "the long form"]
fn nobody_misses_anything_at_length() {
    each_seed("", 1_000..2_000, run);
}
