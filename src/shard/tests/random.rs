//! Engines under a random schedule: letters that linger, sockets that take a little at a time,
//! connections that come, go and come back. Every client checks what it is told; at rest all of it
//! must add up. A failing seed prints itself.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use serde_json::Value;

use super::Counting;
use crate::clock::Now;
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionKey, CoreId};
use crate::protocol::Codec;
use crate::shard::{CoreMessage, Effects, Entry, Input, Opened, Route, Senders, Setup, Shard};
use crate::tenant::Tenants;
use crate::ws::MessageKind;

const ROOMS: [&str; 4] = ["a", "b", "kept", "slow"];

/// A client: what it has been written, and what it may expect.
#[derive(Default)]
struct Client {
    core: usize,
    key: ConnectionKeyOf,
    bytes: Vec<u8>,
    session: Option<String>,
    /// The next offset of each room it is in, and the epoch.
    rooms: BTreeMap<String, (String, i64)>,
    closed: bool,
    asked: u64,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct ConnectionKeyOf(u32);

impl ConnectionKeyOf {
    fn key(self) -> ConnectionKey {
        ConnectionKey { index: self.0 % 16, generation: self.0 }
    }
}

struct World {
    shards: Vec<Shard>,
    effects: Vec<Effects>,
    letters: BTreeMap<(usize, usize), VecDeque<CoreMessage>>,
    clients: Vec<Client>,
    left: Vec<String>,
    places: u32,
    now: Now,
    random: Counting,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut config = Config::default();
        config.limits.outbox_bytes = 3_000;
        config.session.ttl_ms = 2_000;
        let config = Arc::new(config);
        let senders = Senders::new(&config, Seed(3, 4));
        let cores = 3;
        let tenants = Tenants::new(&config);
        let shards = (0..cores).map(|core| {
            Shard::new(Setup {
                core: CoreId(core),
                cores,
                config: Arc::clone(&config),
                seed: Seed(seed, 1),
                entropy: Box::new(Counting(seed * 31 + u64::from(core))),
                metrics: Arc::default(),
                policy: None,
                tenants: Arc::clone(&tenants),
                senders: Arc::clone(&senders),
                stopwatch: || 0,
            })
        });
        Self {
            shards: shards.collect(),
            effects: (0..cores).map(|_| Effects::default()).collect(),
            letters: BTreeMap::new(),
            clients: Vec::new(),
            left: Vec::new(),
            places: 0,
            now: Now::default(),
            random: Counting(seed),
            trace: Vec::new(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn input(&mut self, core: usize, input: Input<'_>) {
        self.shards[core].handle(self.now, input, &mut self.effects[core]);
        self.post(core);
    }

    fn post(&mut self, core: usize) {
        for (to, message) in self.effects[core].letters.drain(..) {
            self.letters.entry((core, to.index())).or_default().push_back(message);
        }
        self.effects[core].dirty.clear();
        self.effects[core].crowd.clear();
    }

    fn open(&mut self, session: Option<String>) {
        let core = self.below(self.shards.len());
        self.places += 1;
        let key = ConnectionKeyOf(self.places);
        if self.clients.iter().any(|it| it.core == core && it.key.key().index == key.key().index) {
            return;
        }
        self.trace.push(format!("open {} on {core}, session {}", key.0, session.is_some()));
        let opened = Opened {
            connection: key.key(),
            route: Route::Rooms(None),
            codec: Codec::Json,
            deflate_up_to: 0,
            address: None,
            session: session.map(Into::into),
            entry: Entry::Open,
        };
        self.clients.push(Client { core, key, ..Client::default() });
        self.input(core, Input::Opened(Box::new(opened)));
    }

    fn send(&mut self, at: usize, text: &str) {
        let (core, key) = (self.clients[at].core, self.clients[at].key.key());
        self.trace.push(format!("{} sends {text}", key.generation));
        let mut payload = text.as_bytes().to_vec();
        let kind = MessageKind::Text;
        self.input(
            core,
            Input::Message { connection: key, kind, payload: &mut payload, frames: 1 },
        );
    }

    fn command(&mut self, at: usize) {
        let room = ROOMS[self.below(ROOMS.len())];
        self.clients[at].asked += 1;
        let n = self.clients[at].asked;
        let text = match self.below(10) {
            0 | 1 => {
                format!(r#"{{"type":"join","id":"join {room}","room":"{room}","presence":true}}"#)
            }
            2 => match self.clients[at].rooms.get(room) {
                Some((epoch, next)) => format!(
                    r#"{{"type":"ack","room":"{room}","offset":{},"epoch":"{epoch}"}}"#,
                    next - 1
                ),
                None => return,
            },
            3 => format!(r#"{{"type":"leave","id":"leave {room}","room":"{room}"}}"#),
            4 if room == "slow" => {
                r#"{"type":"room.update","room":"slow","config":{"slow_consumer":"drop_oldest"}}"#
                    .to_owned()
            }
            4 if room == "kept" => {
                r#"{"type":"room.update","room":"kept","config":{"history_size":20}}"#.to_owned()
            }
            _ => format!(
                r#"{{"type":"publish","id":{n},"room":"{room}","data":{n},"pad":"{}"}}"#,
                "x".repeat(50)
            ),
        };
        self.send(at, &text);
    }

    fn deliver(&mut self) -> bool {
        let full: Vec<_> =
            self.letters.iter().filter(|(_, queue)| !queue.is_empty()).map(|(at, _)| *at).collect();
        if full.is_empty() {
            return false;
        }
        let (from, to) = full[self.below(full.len())];
        let message = self.letters.get_mut(&(from, to)).and_then(VecDeque::pop_front).unwrap();
        let from = CoreId(u16::try_from(from).unwrap());
        self.input(to, Input::Core { from, message });
        true
    }

    fn settle(&mut self, core: usize) {
        self.shards[core].settle(self.now, &mut self.effects[core]);
        self.post(core);
    }

    /// The socket takes some bytes, and the client reads what is whole.
    fn write(&mut self, at: usize, most: usize) -> bool {
        let (core, key) = (self.clients[at].core, self.clients[at].key.key());
        let Some(outbox) = self.shards[core].outbox(key) else { return false };
        let mut slices = [IoSlice::new(&[]); 8];
        let count = outbox.gather(&mut slices);
        let mut taken: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        taken.truncate(most);
        outbox.advance(taken.len());
        let any = !taken.is_empty();
        self.clients[at].bytes.extend(&taken);
        self.input(core, Input::Written { connection: key });
        self.clients[at].read();
        any
    }

    fn lose(&mut self, at: usize) {
        let client = self.clients.remove(at);
        self.trace.push(format!("lose {}", client.key.0));
        self.left.extend(client.session);
        self.input(client.core, Input::Lost { connection: client.key.key() });
    }

    fn wait(&mut self, ms: u64) {
        self.now.moment = self.now.moment.plus_ms(ms);
        self.now.unix_ms += ms;
        for core in 0..self.shards.len() {
            self.shards[core].handle_timeout(self.now, &mut self.effects[core]);
            self.post(core);
        }
    }

    fn audit(&self) {
        for shard in &self.shards {
            if let Err(violation) = shard.audit() {
                panic!("{violation:?}");
            }
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0 => self.open(None),
            1 if !self.left.is_empty() => {
                let session = self.below(self.left.len());
                let session = self.left.swap_remove(session);
                self.open(Some(session));
            }
            2 if !self.clients.is_empty() && self.below(3) == 0 => {
                let at = self.below(self.clients.len());
                self.lose(at);
            }
            3 if self.below(10) == 0 => {
                // A session is taken from a connection that is still open.
                let at = self.below(self.clients.len().max(1));
                if let Some(session) = self.clients.get(at).and_then(|it| it.session.clone()) {
                    self.open(Some(session));
                }
            }
            4..=7 if !self.clients.is_empty() => {
                let at = self.below(self.clients.len());
                self.command(at);
            }
            8..=12 => {
                self.deliver();
            }
            13 | 14 => {
                let core = self.below(self.shards.len());
                self.settle(core);
            }
            15..=18 if !self.clients.is_empty() => {
                let (at, most) = (self.below(self.clients.len()), self.below(600));
                self.write(at, most);
            }
            _ => self.wait(7),
        }
    }

    /// Lets everything arrive.
    fn rest(&mut self) {
        loop {
            let mut busy = false;
            while self.deliver() {
                busy = true;
            }
            for core in 0..self.shards.len() {
                self.settle(core);
            }
            for at in 0..self.clients.len() {
                busy |= self.write(at, usize::MAX);
            }
            if !busy && self.letters.values().all(VecDeque::is_empty) {
                return;
            }
        }
    }
}

impl Client {
    fn read(&mut self) {
        while self.bytes.len() >= 2 {
            let (header, len) = match self.bytes[1] {
                126 if self.bytes.len() < 4 => return,
                126 => (4, usize::from(u16::from_be_bytes([self.bytes[2], self.bytes[3]]))),
                127 => panic!("no message here is so long"),
                short => (2, usize::from(short)),
            };
            if self.bytes.len() < header + len {
                return;
            }
            let opcode = self.bytes[0] & 0x0F;
            let payload: Vec<u8> = self.bytes.drain(..header + len).skip(header).collect();
            assert!(!self.closed, "something follows the close frame");
            match opcode {
                1 => self.check(&serde_json::from_slice(&payload).unwrap()),
                8 => self.closed = true,
                _ => {}
            }
        }
    }

    fn enter(&mut self, room: &Value, next: i64) {
        let name = room["room"].as_str().unwrap().to_owned();
        self.rooms.insert(name, (room["epoch"].as_str().unwrap().to_owned(), next));
    }

    fn check(&mut self, said: &Value) {
        let room = said["room"].as_str().unwrap_or_default();
        match said["type"].as_str().unwrap() {
            "welcome" => {
                self.session = said["session"].as_str().map(str::to_owned);
                for room in said["rooms"].as_array().unwrap() {
                    // What was missed follows, or a gap, from wherever the server knows of.
                    self.enter(room, if room["recovered"] == true { -1 } else { -2 });
                }
            }
            "ok" if said["id"].as_str().is_some_and(|id| id.starts_with("join")) => {
                self.enter(said, said["offset"].as_i64().unwrap() + 1);
            }
            "ok" if said["id"].as_str().is_some_and(|id| id.starts_with("leave")) => {
                self.rooms.remove(room);
            }
            "message" => self.advance(said, said["offset"].as_i64().unwrap(), None),
            "gap" => {
                let (from, to) = (said["from"].as_i64().unwrap(), said["to"].as_i64().unwrap());
                self.advance(said, from, Some(to));
            }
            _ => {}
        }
    }

    fn advance(&mut self, said: &Value, from: i64, to: Option<i64>) {
        let room = said["room"].as_str().unwrap();
        let Some((epoch, next)) = self.rooms.get_mut(room) else {
            panic!("{said} of a room that was not joined")
        };
        if said["reason"] == "epoch_changed" {
            *next = to.unwrap() + 1;
            return;
        }
        assert_eq!(*epoch, said["epoch"].as_str().unwrap(), "{said}");
        if *next < 0 {
            *next = from;
        }
        assert_eq!(*next, from, "{} is told {said}", self.key.0);
        *next = to.unwrap_or(from) + 1;
    }
}

fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
        world.audit();
    }
    world.rest();
    world.audit();
    // Whoever is in a room has seen all of it.
    for client in world.clients.iter().filter(|client| !client.closed) {
        for (room, (epoch, next)) in &client.rooms {
            let at = world.shards.iter().flat_map(|shard| shard.homes.rooms.values());
            let home = at.map(|home| &home.room).find(|home| home.key.name.as_str() == room);
            let home = home.unwrap_or_else(|| panic!("{room} is gone with somebody in it"));
            assert_eq!(**epoch, *home.epoch);
            assert!(
                *next < 0 || *next == i64::try_from(home.offset()).unwrap() + 1,
                "{} is at {next} of {room}, which is at {}",
                client.key.0,
                home.offset()
            );
        }
    }
    while !world.clients.is_empty() {
        world.lose(0);
    }
    world.rest();
    world.wait(2_001);
    world.rest();
    world.wait(60_001);
    world.rest();
    for shard in &world.shards {
        assert_eq!(shard.sessions.len(), 0);
        assert_eq!(shard.homes.rooms.len(), 0, "rooms without anybody");
        assert!(shard.hub.is_empty());
        assert_eq!(shard.outbound.pool.budget.held_bytes(), 0);
    }
}

#[test]
fn whatever_happens_everyone_sees_every_offset_or_is_told() {
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let range = first.map_or(0..seeds, |seed: u64| seed..seed + 1);
    for seed in range {
        let outcome = std::panic::catch_unwind(|| run(seed, 1_500));
        assert!(outcome.is_ok(), "seed {seed} (alone: SEED={seed})");
    }
}
