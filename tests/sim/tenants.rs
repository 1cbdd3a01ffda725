//! Two tenants whose users, rooms, keys and everything else have the same names: whatever they do,
//! nothing of one comes to the other.
//!
//! `RINGROOM_SIM_OPERATIONS` says how many things they do.

use std::collections::BTreeMap;

use ringroom::id::ConnectionAddress;
use serde_json::{Value, json};

use crate::doors::Cluster;
use crate::{first_seed, number_of};

/// Operations of a test run.
const OPERATIONS: u64 = 30_000;
/// Operations of one cluster.
const ROUND: u64 = 2_000;
const USERS: [&str; 3] = ["u0", "u1", "u2"];
const ROOMS: [&str; 4] = ["room", "above", "above/room", "chat:room"];

struct Client {
    tenant: usize,
    at: ConnectionAddress,
}

/// What a tenant says bears its mark, and nobody else may hear it.
fn mark(tenant: usize) -> String {
    format!("said-in-t{tenant}")
}

struct Life {
    cluster: Cluster,
    clients: Vec<Client>,
    /// Sessions that were told, by tenant: each tries those of both.
    sessions: Vec<String>,
    epochs: Vec<(String, u64)>,
    heard: BTreeMap<String, u64>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::new(u16::try_from(seed % 4 + 1).expect("few"), seed);
        Self {
            cluster,
            clients: Vec::new(),
            sessions: Vec::new(),
            epochs: vec![("none".to_owned(), 0)],
            heard: BTreeMap::new(),
        }
    }

    fn open(&mut self) {
        let random = &mut self.cluster.random;
        let (tenant, user) = (random.below(2), *random.pick(&USERS));
        let session = match self.sessions.is_empty() || random.percent(50) {
            true => None,
            false => Some(random.pick(&self.sessions).clone()),
        };
        let at = self.cluster.open(&format!("t{tenant}/{user}/id"), session);
        self.clients.extend(at.map(|at| Client { tenant, at }));
    }

    fn command(&mut self, tenant: usize) -> Value {
        let random = &mut self.cluster.random;
        let (room, user, mark) = (*random.pick(&ROOMS), *random.pick(&USERS), mark(tenant));
        let (epoch, offset) = random.pick(&self.epochs).clone();
        let since = json!({ "epoch": epoch, "offset": offset });
        let publish = json!({ "type": "publish", "room": room, "data": mark, "key": "key" });
        match random.below(20) {
            0 => json!({ "type": "join", "room": room, "presence": true }),
            1 => json!({ "type": "join", "room": room, "since": since }),
            2 => json!({ "type": "leave", "room": room }),
            3..=6 => json!({ "type": "publish", "room": room, "data": mark }),
            7 => publish,
            8 => json!({ "type": "send", "to": { "user": user }, "data": mark }),
            9 => json!({ "type": "broadcast", "data": mark }),
            10 => json!({ "type": "history", "room": room, "limit": 10 }),
            11 => json!({ "type": "presence", "room": room }),
            12 => json!({ "type": "presence.set", "room": room, "info": mark }),
            13 => json!({ "type": "state.set", "data": mark }),
            14 => json!({ "type": "state.get" }),
            15 => json!({ "type": "subscribe", "pattern": "**" }),
            16 => json!({ "type": "room.create", "room": room,
                          "config": { "metadata": { "mark": mark }, "history_size": 20,
                                      "parent_inherit": room.contains('/') } }),
            17 => json!({ "type": "room.info", "room": room }),
            18 => json!({ "type": "room.members", "room": room }),
            _ => json!({ "type": "room.mute", "room": room, "user": user, "for_ms": 1,
                         "reason": mark }),
        }
    }

    /// Everything that a client was sent; what must not be among it is an error.
    fn hear(&mut self, index: usize) -> Result<(), String> {
        let Client { tenant, at } = self.clients[index];
        for message in self.cluster.hear(at) {
            let text = message.to_string();
            if text.contains(&mark(1 - tenant)) {
                return Err(format!("t{tenant} heard {text}"));
            }
            if message["type"] == "welcome" {
                if message["tenant"] != format!("t{tenant}") {
                    return Err(format!("t{tenant} was welcomed as another: {text}"));
                }
                self.sessions.extend(message["session"].as_str().map(str::to_owned));
                if self.sessions.len() > 20 {
                    self.sessions.remove(0);
                }
            }
            if let (Some(epoch), Some(offset)) =
                (message["epoch"].as_str(), message["offset"].as_u64())
            {
                self.epochs.truncate(10);
                self.epochs.insert(1, (epoch.to_owned(), offset));
            }
            let kind = message["type"].as_str().unwrap_or_default().to_owned();
            *self.heard.entry(kind).or_default() += 1;
        }
        Ok(())
    }

    fn run(mut self, operations: u64) -> Result<BTreeMap<String, u64>, String> {
        for _ in 0..operations {
            if self.clients.len() < 4 || (self.clients.len() < 16 && self.cluster.random.percent(5))
            {
                self.open();
                continue;
            }
            let index = self.cluster.random.below(self.clients.len());
            match self.cluster.random.below(20) {
                0 => {
                    self.hear(index)?;
                    let client = self.clients.swap_remove(index);
                    self.cluster.lose(client.at);
                }
                1..=9 => {
                    let tenant = self.clients[index].tenant;
                    let mut command = self.command(tenant);
                    command["id"] = json!(1);
                    self.cluster.say(self.clients[index].at, &command);
                }
                10..=14 => _ = self.cluster.step(),
                15 => self.cluster.wait(50),
                16 => self.cluster.rest(),
                _ => self.hear(index)?,
            }
        }
        self.cluster.rest();
        for index in 0..self.clients.len() {
            self.hear(index)?;
        }
        Ok(self.heard)
    }
}

#[test]
fn nothing_of_one_tenant_comes_to_the_other() {
    let (first, operations) =
        (first_seed(), number_of("RINGROOM_SIM_OPERATIONS").unwrap_or(OPERATIONS));
    let mut heard = BTreeMap::<String, u64>::new();
    for seed in first..first + operations.div_ceil(ROUND) {
        match Life::new(seed).run(ROUND) {
            Ok(kinds) => kinds.into_iter().for_each(|(kind, count)| {
                *heard.entry(kind).or_default() += count;
            }),
            Err(what) => panic!("seed {seed}: {what}"),
        }
    }
    for kind in ["welcome", "ok", "error", "message", "presence"] {
        assert!(heard.get(kind).is_some_and(|count| *count > 100), "too few of {kind}: {heard:?}");
    }
}
