//! Clients that publish and hear while something happens to Redis, and what they must find after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::outage::{accounted, publish_at_last};
use crate::server::Server;
use crate::talk::Talk;

/// A publish that was acknowledged.
struct Acknowledged {
    room: String,
    epoch: Value,
    offset: Value,
    data: Value,
}

/// For each node, a publisher in each room, and a receiver in all.
pub(crate) struct Load {
    rooms: Vec<String>,
    /// They listen all the time: who is silent for long is ended.
    receivers: Vec<JoinHandle<Talk>>,
    publishers: Vec<JoinHandle<Vec<Acknowledged>>>,
    is_over: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) acknowledged: usize,
    /// Those of them that some receiver never got, by room.
    pub(crate) lost: BTreeMap<String, usize>,
    /// Those of them that are in no history any more.
    pub(crate) forgotten: BTreeMap<String, usize>,
}

impl Load {
    pub(crate) fn start(nodes: &[Server], rooms: &[String]) -> Self {
        let joined = |node| {
            let mut talk = Talk::to(node);
            for room in rooms {
                talk.ok(json!({"type": "join", "room": room}));
            }
            talk
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let receivers = nodes.iter().map(joined).map(|mut talk| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    talk.ask(json!({"type": "ping"}));
                    std::thread::sleep(Duration::from_millis(20));
                }
                talk
            })
        });
        let receivers = receivers.collect();
        let pairs =
            nodes.iter().enumerate().flat_map(|node| rooms.iter().map(move |it| (node, it)));
        let publishers = pairs.map(|((at, node), room)| {
            let (mut talk, room) = (Talk::joined(node, room), room.clone());
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                for n in 0.. {
                    let data = json!([at, n]);
                    let answer = publish_at_last(&mut talk, &room, &data);
                    let (epoch, offset) = (answer["epoch"].clone(), answer["offset"].clone());
                    kept.push(Acknowledged { room: room.clone(), epoch, offset, data });
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                kept
            })
        });
        Self { rooms: rooms.to_vec(), receivers, publishers: publishers.collect(), is_over }
    }

    /// Ends it: every receiver was told every offset of every room once, all the same, and each
    /// acknowledged publication that is not there was announced as lost to all.
    pub(crate) fn end(self) -> Found {
        self.is_over.store(true, Ordering::Relaxed);
        let mut kept = Vec::new();
        for publisher in self.publishers {
            kept.append(&mut publisher.join().unwrap());
        }
        let receivers = self.receivers.into_iter().map(|receiver| receiver.join().unwrap());
        let mut receivers: Vec<Talk> = receivers.collect();
        for room in &self.rooms {
            publish_at_last(&mut receivers[0], room, &json!("last"));
        }
        let told: Vec<_> = receivers.iter_mut().map(|talk| told(talk, &self.rooms)).collect();
        let mut found = Found { acknowledged: kept.len(), ..Found::default() };
        for room in &self.rooms {
            let places: Vec<_> = told.iter().map(|told| accounted(&told[room])).collect();
            assert!(places.iter().all(|place| *place == places[0]), "{room}: {places:?}");
            let forgotten = forgotten(&kept, room, &mut receivers[0]);
            found.forgotten.insert(room.clone(), forgotten);
            for told in &told {
                let lost = lost(&kept, room, &told[room]);
                let is_told = told[room].iter().any(|event| event["reason"] == "epoch_changed");
                let gone = lost + forgotten;
                assert!(gone == 0 || is_told, "{gone} lost in {room}, and nobody says so");
                let most = found.lost.entry(room.clone()).or_default();
                *most = lost.max(*most);
            }
        }
        println!("{found:?}");
        found
    }
}

/// What was acknowledged in a room and never came.
fn lost(kept: &[Acknowledged], room: &str, told: &[Value]) -> usize {
    let came: std::collections::HashSet<String> = told
        .iter()
        .filter(|event| event["type"] == "message")
        .map(|event| json!([event["epoch"], event["offset"], event["data"]]).to_string())
        .collect();
    let of_room = kept.iter().filter(|it| it.room == room);
    of_room.filter(|it| !came.contains(&json!([it.epoch, it.offset, it.data]).to_string())).count()
}

/// What was acknowledged in a room and is not in its history.
fn forgotten(kept: &[Acknowledged], room: &str, talk: &mut Talk) -> usize {
    let mut there = std::collections::HashSet::new();
    let mut page = json!({"type": "history", "room": room, "limit": 1_000});
    loop {
        let answer = talk.ok(page.clone());
        let messages = answer["messages"].as_array().unwrap();
        there.extend(messages.iter().map(|it| it["data"].to_string()));
        let Some(last) = messages.last() else { break };
        page["since"] = json!({"epoch": answer["epoch"], "offset": last["offset"]});
    }
    let of_room = kept.iter().filter(|it| it.room == room);
    of_room.filter(|it| !there.contains(&it.data.to_string())).count()
}

/// What a client was told of each room, until the last word in each.
fn told(talk: &mut Talk, rooms: &[String]) -> BTreeMap<String, Vec<Value>> {
    let mut told: BTreeMap<String, Vec<Value>> =
        rooms.iter().map(|room| (room.clone(), Vec::new())).collect();
    let (mut open, began) = (rooms.len(), Instant::now());
    while open > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{open} rooms have no last word");
        let id = talk.send(json!({"type": "ping"}));
        talk.answer(id);
        for event in talk.heard.drain(..) {
            let Some(told) = event["room"].as_str().and_then(|room| told.get_mut(room)) else {
                continue;
            };
            open -= usize::from(event["data"] == "last");
            if event["type"] == "message" || event["type"] == "gap" {
                told.push(event);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    told
}
