//! Nodes on one Redis, their clients, and what happens to them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::network::Network;
use super::node::Node;
use super::receivers::Receiver;
use super::redis::Redis;
use super::transcript::{Transcript, tell};
use super::trouble::{Loss, Temper};
use crate::bridge::{Keys, map};
use crate::config::{Config, RoomDefaults, RoomDurability, RoomMode};
use crate::shard::tests::witness::{Client, Rules, Witness};
use crate::shard::tests::{Counting, cluster};
use crate::tenant::Tenants;

pub(super) const NODES: usize = 3;
const CLIENTS: usize = 6;
const USERS: usize = 4;
/// Publications that rooms keep.
const KEPT: u32 = 8;
pub(super) const ROOMS: [&str; 4] = ["sure:a", "b", "twice:c", "firm:d"];

pub(super) struct World {
    /// Several are a cluster.
    pub(super) servers: Vec<Redis>,
    pub(super) nodes: Vec<Node>,
    pub(super) witness: Witness,
    pub(super) temper: Temper,
    pub(super) keys: Keys,
    random: Counting,
    seed: u64,
    began: Instant,
    /// Nodes that there have been.
    names: u64,
    /// What backends have said.
    pub(super) said: u64,
    /// Sums up what clients were told.
    pub(super) told: Transcript,
    /// Slots are on their way.
    pub(super) moves: JoinSet<()>,
    /// For so long nodes may still have rooms that nobody is in.
    pub(super) stay_ms: u64,
    /// Those who receive rooms by patterns.
    pub(super) receivers: Vec<Receiver>,
    _network: Network,
}

fn config(is_cluster: bool) -> Config {
    let mut config = crate::shard::tests::store::config();
    config.redis.cluster = is_cluster;
    config.redis.reconnect_max_ms = 500;
    config.redis.lease_ms = 3_000;
    config.redis.grace_ms = 700;
    config.redis_interop.enabled = true;
    config.limits.connections_per_user = 50;
    config.session.ttl_ms = 4_000;
    config.presence.grace_ms = 300;
    config.rooms.ack_timeout_ms = 2_000;
    for (name, mode, durability) in [
        ("sure", RoomMode::Reliable, None),
        ("twice", RoomMode::Reliable, Some(RoomDurability::Replicas(1))),
        ("firm", RoomMode::Guaranteed, None),
    ] {
        let (mode, history_size) = (Some(mode), Some(KEPT));
        let rooms = RoomDefaults { mode, history_size, durability, ..RoomDefaults::default() };
        config.namespace_rooms.insert(name.to_owned(), rooms);
    }
    config
}

impl World {
    pub(super) fn new(seed: u64, loss: Loss) -> Self {
        Self::on(if seed % 12 < 8 { 1 } else { 2 }, seed, loss)
    }

    /// On a cluster whose slots move.
    pub(super) fn on_moving_slots(seed: u64, loss: Loss) -> Self {
        let mut world = Self::on(3, seed, loss);
        world.temper.move_slots();
        world
    }

    /// With some who receive rooms by patterns.
    pub(super) fn with_patterns(seed: u64, loss: Loss) -> Self {
        let mut world = Self::new(seed, loss);
        (0..NODES).for_each(|node| world.receive(node));
        // They follow what was called.
        world.stay_ms += 180_000;
        world
    }

    fn on(servers: usize, seed: u64, loss: Loss) -> Self {
        let servers = Redis::all(seed ^ 0x5EED, servers);
        let mut random = Counting(seed);
        let rules = Rules {
            rooms: &ROOMS,
            may_fork: matches!(loss, Loss::Failover | Loss::Copies),
            is_once: loss == Loss::Nothing,
            kept: KEPT.into(),
            refusals: &["not_joined", "unavailable", "timeout"],
        };
        let mut world = Self {
            nodes: Vec::new(),
            keys: Keys::new("ringroom", &Tenants::new(&config(false))),
            witness: Witness::new(rules),
            temper: Temper::draw(loss, &mut random),
            random,
            seed,
            began: Instant::now(),
            names: 3,
            said: 0,
            told: Transcript::default(),
            moves: JoinSet::new(),
            stay_ms: 12_000,
            receivers: Vec::new(),
            _network: Network::of(&servers),
            servers,
        };
        for place in 0..NODES {
            let node = world.begin(place);
            world.nodes.push(node);
        }
        for who in 0..CLIENTS {
            let node = who % NODES;
            let at = world.open(who, node);
            world.witness.come(node, at, false);
        }
        world
    }

    fn begin(&mut self, place: usize) -> Node {
        self.names += 1;
        let config = config(self.servers.len() > 1);
        Node::begin(place, self.names, config, (self.seed, self.began))
    }

    /// One of the servers.
    pub(super) fn server(&mut self) -> Redis {
        let at = self.below(self.servers.len());
        self.servers[at].clone()
    }

    /// A slot is moved to another server, or all that are used on one.
    pub(super) fn move_slots(&mut self) {
        let used = self.server().used_slots().into_iter().collect::<Vec<_>>();
        let (room, to) = (ROOMS[self.below(ROOMS.len())], self.below(self.servers.len()));
        let slots = match self.below(8) {
            0 => used,
            1..=3 if !used.is_empty() => vec![used[self.below(used.len())]],
            _ => vec![self.slot(room)],
        };
        for slot in slots {
            let random = Counting(self.below(usize::MAX) as u64);
            self.moves.spawn_local(Redis::move_slot(self.servers.clone(), (slot, to), random));
        }
    }

    fn slot(&self, room: &str) -> u16 {
        map::slot(self.keys.room(&cluster::room(room)).channel().as_bytes())
    }

    /// The place among all of the server that has a room.
    pub(super) fn owner(&self, room: &str) -> usize {
        Redis::place_of(&self.servers, self.slot(room))
    }

    /// Moves the slot of a room to the next server.
    pub(super) async fn move_room(&self, room: &str) {
        self.move_slot(self.slot(room)).await;
    }

    /// Moves a slot to the next server.
    pub(super) async fn move_slot(&self, slot: u16) {
        let to = (Redis::place_of(&self.servers, slot) + 1) % self.servers.len();
        Redis::move_slot(self.servers.clone(), (slot, to), Counting(0)).await;
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        self.random.below(most)
    }

    /// Some time of at most so many ms.
    pub(super) fn up_to_ms(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.below(most) as u64)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Where what one has acknowledged is not sent to others, each is another user.
    pub(super) fn may_join(who: usize, room: &str) -> bool {
        who < USERS || !room.starts_with("firm:")
    }

    pub(super) fn user(who: usize) -> String {
        format!("user{}", who % USERS)
    }

    /// A client's new connection, on its way to its welcome.
    fn open(&mut self, who: usize, node: usize) -> cluster::Address {
        let (user, core) = (Self::user(who), u16::from(self.coin()));
        let session = self.witness.clients.get(who).map(|it| it.session.clone());
        let session = session.filter(|it| !it.is_empty());
        self.nodes[node].with(|cluster| {
            cluster.open_as(core, &user, |opened| opened.session = session.map(Into::into))
        })
    }

    /// A client's connection is lost, and it comes to another node, or the same.
    pub(super) fn move_client(&mut self) {
        let (who, to) = (self.below(CLIENTS), self.below(NODES));
        self.move_to(who, to);
    }

    pub(super) fn move_to(&mut self, who: usize, to: usize) {
        if self.witness.clients[who].is_here {
            let Client { node, at, .. } = self.witness.clients[who];
            self.nodes[node].with(|cluster| cluster.lose(at));
            self.reopen(who, to);
        }
    }

    fn reopen(&mut self, who: usize, node: usize) {
        let at = self.open(who, node);
        self.witness.come_back(who, node, at);
    }

    /// A node ends without a farewell, and another one comes in its place.
    pub(super) fn replace_node(&mut self) {
        let place = self.below(NODES);
        let node = self.begin(place);
        std::mem::replace(&mut self.nodes[place], node).kill();
        let arrives = self.witness.published.is_multiple_of(2);
        self.servers.iter().for_each(|redis| redis.cut(place, arrives));
        for who in 0..CLIENTS {
            if self.witness.clients[who].node == place {
                let node = self.below(NODES);
                self.reopen(who, node);
            }
        }
        self.replace_receivers_of(place);
    }

    pub(super) fn somebody(&mut self) -> (usize, &'static str) {
        (self.below(CLIENTS), ROOMS[self.below(ROOMS.len())])
    }

    pub(super) fn say(&mut self, who: usize, command: &Value) {
        tell(|| format!("client {who} says {command}"));
        let client = &self.witness.clients[who];
        if client.is_here {
            self.nodes[client.node].with(|cluster| cluster.send(client.at, &command.to_string()));
        }
    }

    pub(super) fn come_or_go(&mut self) {
        let (who, room) = self.somebody();
        if !Self::may_join(who, room) {
            return;
        }
        if let Some(command) = self.witness.come_or_go(who, room) {
            self.say(who, &command);
        }
    }

    pub(super) fn publish(&mut self) {
        let (who, room) = self.somebody();
        self.publish_in(who, room);
    }

    pub(super) fn publish_in(&mut self, who: usize, room: &'static str) {
        if self.witness.clients[who].is_here {
            let command = self.witness.publish(who, room);
            self.say(who, &command);
        }
    }

    /// Several publish in a room before anything else happens.
    pub(super) fn publish_at_once(&mut self) {
        let (first, room) = self.somebody();
        for _ in 0..2 + self.below(8) {
            let who = if self.coin() { first } else { self.below(CLIENTS) };
            self.publish_in(who, room);
        }
    }

    /// A backend says something to a room.
    pub(super) fn say_from_outside(&mut self, room: &str) -> String {
        self.said += 1;
        let said = format!("foreign {}", self.said);
        let payload = format!("{said:?}");
        // A cluster tells it by all of its servers.
        let channel = format!("ws:room:{room}");
        self.servers.iter().for_each(|redis| redis.publish(&channel, &payload));
        said
    }

    pub(super) fn read_all(&mut self) {
        for who in 0..CLIENTS {
            let Client { node, at, .. } = self.witness.clients[who];
            let events = self.nodes[node].with(|cluster| cluster.read(at));
            for event in &events {
                tell(|| format!("client {who} hears {event}"));
                self.told.note(&(self.began.elapsed(), who, event.to_string()));
                self.witness.take(who, event);
            }
            self.witness.check_owed();
            let last = |event: &&Value| event["room"] == "firm:d" && event["offset"].is_u64();
            if let Some(event) = events.iter().rev().find(last)
                && self.witness.clients[who].places.contains_key("firm:d")
            {
                let offset = &event["offset"];
                self.say(
                    who,
                    &json!({"type": "ack", "id": "ack", "room": "firm:d", "offset": offset}),
                );
            }
        }
        self.read_receivers();
    }

    /// Waits for at most so long.
    pub(super) async fn wait_us(&mut self, most: usize) {
        let us = self.below(most) as u64;
        tokio::time::sleep(Duration::from_micros(us)).await;
    }

    pub(super) async fn wait(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
