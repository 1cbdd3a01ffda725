//! Several nodes on one Redis: as sound as one, also while that Redis is in trouble.
//!
//! The long forms, a minute and ten minutes, on a machine to themselves:
//!
//!     cargo test --test delivery nodes -- --ignored --nocapture --test-threads 1

use std::time::Duration;

use crate::proxy::Proxy;
use crate::run::{self, Happening, Size};
use crate::server::Server;
use crate::store::{Store, is_missing};
use crate::trouble::{Event, Trouble};
use crate::verdict::{Excuses, Tally};

const NODES: usize = 3;
/// What acknowledges no message before it is on the disk.
const ALWAYS: [&str; 2] = ["appendonly yes", "appendfsync always"];
const EVERY_SECOND: [&str; 2] = ["appendonly yes", "appendfsync everysec"];

fn size(connections: usize, seconds: u64) -> Size {
    Size {
        publishers: 8,
        rooms: 20,
        connections,
        seconds,
        pause_ms: if connections > 1_000 { 5_000 } else { 1_500 },
        every_ms: if connections > 1_000 { 80 } else { 60 },
        seed: 3,
    }
}

fn start(urls: &[String], settings: &[&str]) -> Vec<Server> {
    urls.iter().map(|url| Server::node(url, settings)).collect()
}

/// A run on a Redis that is as it should be.
fn sound(size: &Size) {
    let store = Store::start(&[]);
    let mut servers = start(&vec![store.url(); NODES], &[]);
    let addresses = servers.iter().map(|server| server.address).collect();
    let outcome = run::run(size, addresses, Happening::Nothing);
    assert!(servers.iter_mut().all(Server::is_running), "a node ended");
    let tally = super::judged(size, &outcome, Excuses::default());
    super::something_happened(&tally);
}

/// A run in which this befalls Redis, in rooms of this namespace.
fn troubled(
    size: &Size,
    (redis, namespace): (&[&str], &'static str),
    events: &[Event],
) -> (Tally, Trouble) {
    let store = Store::start(redis);
    let proxies: Vec<_> = (0..NODES).map(|_| Proxy::to(store.port)).collect();
    let urls: Vec<_> = proxies.iter().map(Proxy::url).collect();
    let mut servers = start(&urls, &[]);
    let addresses = servers.iter().map(|server| server.address).collect();
    let (events, healed) = (events.to_vec(), Vec::new());
    let mut trouble = Trouble { store, proxies, events, namespace, healed };
    let outcome = run::run(size, addresses, Happening::Trouble(&mut trouble));
    assert!(servers.iter_mut().all(Server::is_running), "a node ended");
    let is_emptied = trouble.events.iter().any(|event| matches!(event, Event::Empty));
    let excuses = Excuses { refusals: true, recovery: true, epochs: is_emptied };
    let tally = super::judged(size, &outcome, excuses);
    assert!(tally.published > 0 && tally.delivered > 0 && tally.resumed > 0, "nothing happened");
    assert!(!is_emptied || tally.reborn > 0, "nobody was told that the rooms' lives ended");
    (tally, trouble)
}

#[test]
fn three_nodes_are_as_sound_as_one() {
    if !is_missing() {
        sound(&size(300, 10));
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_trouble() {
    if !is_missing() {
        let events = [
            Event::Kill(300),
            Event::Stop(1_500),
            Event::Cut(300),
            Event::Kill(0),
            Event::Swallow(1_500),
            Event::Delay(50, 1_000),
            Event::Password(400),
            Event::Replica(400),
            Event::Full(400),
        ];
        let (tally, _) = troubled(&size(120, 1), (&ALWAYS, "safe"), &events);
        assert!(tally.refused > 0, "no publish met any of it");
    }
}

#[test]
fn everybody_is_told_that_redis_was_emptied() {
    if !is_missing() {
        troubled(&size(120, 1), (&ALWAYS, "safe"), &[Event::Empty, Event::Kill(100), Event::Empty]);
    }
}

#[test]
#[ignore = "a minute, and a machine to itself"]
fn two_thousand_connections_over_three_nodes() {
    sound(&size(2_000, 60));
}

#[test]
#[ignore = "five minutes, and a machine to itself"]
fn nothing_acknowledged_is_lost_in_twenty_of_each() {
    let mut events = Vec::new();
    for round in 0..20 {
        events.push(Event::Kill(round * 50));
        events.push(Event::Cut(100 + round * 50));
        events.push(Event::Swallow(1_000 + round * 50));
        if round % 4 == 0 {
            events.push(Event::Stop(5_000 + round * 1_500));
            events.extend([Event::Delay(50, 2_000), Event::Password(500)]);
            events.extend([Event::Replica(500), Event::Full(500)]);
        }
    }
    let (_, trouble) = troubled(&size(300, 1), (&ALWAYS, "safe"), &events);
    let slow = trouble.healed.iter().filter(|(_, took)| *took > Duration::from_secs(5));
    let slow: Vec<_> = slow.collect();
    assert!(slow.is_empty(), "not at the same places within 5 s: {slow:?}");
}

/// A Redis that writes every second may lose what it has acknowledged only when the machine ends,
/// not when its process does: what it has given to the kernel is written.
#[test]
#[ignore = "a minute, and a machine to itself"]
fn a_kill_takes_nothing_from_a_redis_that_writes_every_second() {
    let events = [Event::Kill(200); 20];
    troubled(&size(300, 1), (&EVERY_SECOND, "soon"), &events);
}
