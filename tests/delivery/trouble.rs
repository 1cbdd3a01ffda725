//! What befalls a Redis while nodes work with it, and how soon all is well again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::link::{Arrival, Codec, Link};
use crate::proxy::Proxy;
use crate::run::Run;
use crate::store::Store;

const PASSWORD: &str = "a-password-that-no-node-has";

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// Redis is killed, and started again after so many milliseconds.
    Kill(u64),
    /// Redis stands still.
    Stop(u64),
    /// One node's link is cut.
    Cut(u64),
    /// Nothing comes through one node's link.
    Swallow(u64),
    /// Everything on one node's link is late by so much, for a while.
    Delay(u64, u64),
    /// A password is asked for that the nodes do not have.
    Password(u64),
    /// It is somebody's replica.
    Replica(u64),
    /// It has no memory left.
    Full(u64),
    /// Everything in it is gone.
    Empty,
}

/// A Redis in trouble.
pub(crate) struct Trouble {
    pub(crate) store: Store,
    /// By which each node reaches it.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) events: Vec<Event>,
    /// Which namespace the rooms of the run are in.
    pub(crate) namespace: &'static str,
    /// How long it took after each event until all nodes were at the same places.
    pub(crate) healed: Vec<(Event, Duration)>,
}

/// Lets it all happen, one after another.
pub(crate) async fn befall(trouble: &mut Trouble, run: &Run) {
    for (round, event) in trouble.events.clone().into_iter().enumerate() {
        happen(trouble, event, round % trouble.proxies.len()).await;
        let healed = Instant::now();
        run.is_paused.set(true);
        // Others would have to answer pings meanwhile.
        let mut inspectors = Vec::new();
        for address in &run.addresses {
            inspectors.push(Inspector::new(*address).await);
        }
        let least = settled(&mut inspectors, run, trouble.namespace).await;
        trouble.healed.push((event, healed.elapsed()));
        println!("{event:?}: all nodes at the same places after {:?} {least:?}", healed.elapsed());
        run.is_paused.set(false);
        sleep(Duration::from_millis(700)).await;
    }
}

async fn happen(trouble: &mut Trouble, event: Event, node: usize) {
    let pause = |ms| sleep(Duration::from_millis(ms));
    let Trouble { store, proxies, .. } = trouble;
    match event {
        Event::Kill(ms) => {
            store.kill();
            pause(ms).await;
            store.run();
        }
        Event::Stop(ms) => {
            store.signal("STOP");
            pause(ms).await;
            store.signal("CONT");
        }
        Event::Cut(ms) => {
            proxies[node].cut();
            pause(ms).await;
            proxies[node].heal();
        }
        Event::Swallow(ms) => {
            proxies[node].swallow();
            pause(ms).await;
            proxies[node].heal();
        }
        Event::Delay(by, ms) => {
            proxies[node].delay(by);
            pause(ms).await;
            proxies[node].heal();
        }
        Event::Password(ms) => {
            assert_eq!(store.say(&["CONFIG", "SET", "requirepass", PASSWORD]), "+OK");
            let kill = ["CLIENT", "KILL", "SKIPME", "yes"];
            store.say_as(PASSWORD, &kill);
            pause(ms).await;
            assert_eq!(store.say_as(PASSWORD, &["CONFIG", "SET", "requirepass", ""]), "+OK");
        }
        Event::Replica(ms) => {
            // Of nobody who is there.
            assert_eq!(store.say(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
            pause(ms).await;
            assert_eq!(store.say(&["REPLICAOF", "NO", "ONE"]), "+OK");
        }
        Event::Full(ms) => {
            assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "1"]), "+OK");
            pause(ms).await;
            assert_eq!(store.say(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
        }
        Event::Empty => assert_eq!(store.say(&["FLUSHALL"]), "+OK"),
    }
}

/// Somebody at one node who asks.
struct Inspector {
    link: Link,
    last_id: u64,
}

impl Inspector {
    async fn new(address: std::net::SocketAddr) -> Self {
        Self { link: Link::open(address, Codec::Json, None, false).await.unwrap(), last_id: 0 }
    }

    async fn ask(&mut self, mut command: Value) -> Value {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.link.send(&command).await.unwrap();
        loop {
            let Arrival::Value(value) = self.link.receive().await else { panic!("the end came") };
            if value["id"] == self.last_id {
                return value;
            }
        }
    }
}

/// Waits until every node publishes again, and all say the same of every room. How long it took
/// until each node published.
async fn settled(inspectors: &mut [Inspector], run: &Run, namespace: &str) -> Vec<Duration> {
    let (began, probe) = (Instant::now(), format!("{namespace}:probe"));
    let mut publish = Vec::new();
    for inspector in &mut *inspectors {
        inspector.ask(json!({ "type": "join", "room": probe })).await;
        let command = json!({ "type": "publish", "room": probe, "data": 0 });
        while inspector.ask(command.clone()).await["type"] != "ok" {
            assert!(began.elapsed() < run.patience, "a node does not publish any more");
            sleep(Duration::from_millis(10)).await;
        }
        publish.push(began.elapsed());
    }
    loop {
        let mut said = Vec::new();
        for inspector in &mut *inspectors {
            let mut places = Vec::new();
            for room in run.rooms.iter().map(|room| room.name.as_str()).chain([probe.as_str()]) {
                let info = inspector.ask(json!({ "type": "room.info", "room": room })).await;
                places.push((info["epoch"].clone(), info["offset"].clone()));
            }
            said.push(places);
        }
        if said.iter().all(|places| *places == said[0]) {
            return publish;
        }
        assert!(began.elapsed() < run.patience, "the nodes do not agree: {said:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
