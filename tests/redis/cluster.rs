//! A Redis Cluster of real processes, and a primary with a replica and Sentinels.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::server::eventually;
use crate::store::Store;

/// Three primaries, each with a replica.
pub(crate) struct Cluster {
    pub(crate) stores: Vec<Store>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more settings of every server.
    pub(crate) fn with(more: &[&str]) -> Self {
        let usual =
            ["cluster-enabled yes", "cluster-node-timeout 1500", "repl-diskless-sync-delay 0"];
        let settings = [&usual, more].concat();
        let stores: Vec<_> = (0..6).map(|_| Store::start(&settings)).collect();
        let cluster = Self { stores };
        for (at, range) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].iter().enumerate()
        {
            let said = cluster.stores[at].say(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]);
            assert_eq!(said, "+OK");
            let epoch = (at + 1).to_string();
            assert_eq!(cluster.stores[at].say(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "+OK");
        }
        let first = cluster.stores[0].port.to_string();
        for store in &cluster.stores[1..] {
            assert_eq!(store.say(&["CLUSTER", "MEET", "127.0.0.1", &first]), "+OK");
        }
        for at in 3..6 {
            let primary = cluster.stores[at - 3].read(&["CLUSTER", "MYID"]);
            let follow = ["CLUSTER", "REPLICATE", primary.trim()];
            eventually("a replica follows", || cluster.stores[at].say(&follow) == "+OK");
        }
        cluster.is_whole();
        cluster
    }

    /// Waits until every slot is served, every server knows it, and every primary has a replica.
    pub(crate) fn is_whole(&self) {
        eventually("the cluster is whole", || {
            let is_ok = |store: &Store| {
                store.read(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && store.read(&["CLUSTER", "NODES"]).lines().count() == 6
                    && (store.fact("replication", "role") != "master"
                        || store.fact("replication", "slave0").contains("state=online"))
            };
            self.stores.iter().all(is_ok) && self.primaries().len() == 3
        });
    }

    /// Waits until the replica of a primary that was killed has taken over, as all others see it.
    pub(crate) fn replaced(&self, victim: usize) {
        eventually("its replica takes over", || {
            let alive = &self.stores[(victim + 1) % self.stores.len()];
            let nodes = alive.read(&["CLUSTER", "NODES"]);
            let primaries = nodes.lines().filter(|line| line.contains("master"));
            let (failed, well): (Vec<_>, Vec<_>) = primaries.partition(|it| it.contains("fail"));
            failed.len() == 1 && well.len() == 3
        });
    }

    /// The places of those that are primaries by their own word.
    fn primaries(&self) -> Vec<usize> {
        let is = |at: &usize| self.stores[*at].fact("replication", "role") == "master";
        (0..self.stores.len()).filter(is).collect()
    }

    /// All of them, as the setting has them.
    pub(crate) fn url(&self) -> String {
        let urls: Vec<_> = self.stores.iter().map(Store::url).collect();
        format!("redis.url={}", urls.join(","))
    }

    /// Which primary has the slot of a room.
    pub(crate) fn owner(&self, room: &str) -> usize {
        let slot = self.slot(room);
        let primaries = self.primaries();
        let owns =
            |at: &usize| self.stores[*at].say(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) != ":0";
        let found = primaries.iter().copied().find(owns);
        found.unwrap_or(primaries[0])
    }

    /// The slot of a room.
    pub(crate) fn slot(&self, room: &str) -> String {
        let name = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let tag = format!("{{{}.{}}}", name("default"), name(room));
        self.stores[0].read(&["CLUSTER", "KEYSLOT", &tag]).trim().to_owned()
    }

    /// Moves the slot of a room to another primary, as an operator does.
    pub(crate) fn move_slot(&self, room: &str) {
        let (slot, from) = (self.slot(room), self.owner(room));
        let to = self.primaries().into_iter().find(|at| *at != from).unwrap();
        let (from, to) = (&self.stores[from], &self.stores[to]);
        let id = |store: &Store| store.read(&["CLUSTER", "MYID"]).trim().to_owned();
        let set = |store: &Store, words: [&str; 2]| {
            let said = store.say(&["CLUSTER", "SETSLOT", &slot, words[0], words[1]]);
            assert_eq!(said, "+OK");
        };
        set(to, ["IMPORTING", &id(from)]);
        set(from, ["MIGRATING", &id(to)]);
        std::thread::sleep(std::time::Duration::from_millis(100));
        loop {
            let keys = from.read(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            let keys: Vec<_> = keys.split_whitespace().collect();
            if keys.is_empty() {
                break;
            }
            let port = to.port.to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(&keys);
            let said = from.say(&words);
            assert!(said == "+OK" || said == "+NOKEY", "{said}");
        }
        set(to, ["NODE", &id(to)]);
        set(from, ["NODE", &id(to)]);
    }

    /// The last of the first three primaries takes all slots of the first, whose keys are lost, and which
    /// is no primary any more.
    pub(crate) fn retire_first(&self) {
        eventually("its slots are the other's", || {
            for verb in ["DELSLOTSRANGE", "ADDSLOTSRANGE"] {
                // What the first says of itself may come in between.
                self.stores[2].say(&["CLUSTER", verb, "0", "5460"]);
            }
            self.primaries() == [1, 2]
        });
    }
}

/// A primary, its replica, and three Sentinels.
pub(crate) struct Watched {
    pub(crate) stores: Vec<Store>,
    pub(crate) sentinels: Vec<Store>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let settings = ["repl-diskless-sync-delay 0"];
        let primary = Store::start(&settings);
        let replica =
            Store::start(&[settings[0], &format!("replicaof 127.0.0.1 {}", primary.port)]);
        eventually("the replica follows", || {
            primary.fact("replication", "slave0").contains("state=online")
        });
        let sentinels: Vec<_> = (0..3).map(|_| Store::sentinel(&primary)).collect();
        let watched = Self { stores: vec![primary, replica], sentinels };
        watched.is_whole();
        watched
    }

    /// Waits until all Sentinels know of the others and of a replica.
    pub(crate) fn is_whole(&self) {
        eventually("the Sentinels know the replica", || {
            self.sentinels.iter().all(|sentinel| {
                let said = sentinel.read(&["SENTINEL", "MASTER", "main"]);
                let lines: Vec<_> = said.lines().collect();
                let fact = |name| {
                    let at = lines.iter().position(|line| *line == name).unwrap_or(0);
                    lines.get(at + 1).copied().unwrap_or_default()
                };
                fact("num-other-sentinels") == "2" && fact("num-slaves") == "1"
            }) && self
                .stores
                .iter()
                .any(|store| store.fact("replication", "slave0").contains("state=online"))
        });
    }

    /// Where the primary is, by its own word and that of the first Sentinel.
    pub(crate) fn primary(&self) -> usize {
        let said = self.sentinels[0].read(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        let port = said.lines().nth(1).unwrap_or_default().to_owned();
        self.stores.iter().position(|store| store.port.to_string() == port).unwrap()
    }

    /// The settings of a node.
    pub(crate) fn settings(&self) -> [String; 2] {
        let urls: Vec<_> = self.sentinels.iter().map(Store::url).collect();
        [format!("redis.sentinels={}", urls.join(",")), "redis.master=main".to_owned()]
    }
}
