//! Clients that receive rooms by patterns: each is told everything that is published after its answer, on
//! whichever node, as a message or by a gap. Whoever is closed, because they may have missed something,
//! comes again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::transcript::tell;
use super::world::{NODES, World};
use crate::shard::tests::cluster::Address;

const PATTERNS: [&str; 3] = ["**", "sure:*", "b"];

/// One of them.
pub(super) struct Receiver {
    pub(super) node: usize,
    pub(super) at: Address,
    pattern: &'static str,
    /// What had been published when it was answered; none: it has not been.
    since: Option<u64>,
    /// What it was told last, of each life of each room.
    last: BTreeMap<(String, String), u64>,
    told: BTreeSet<(String, String, u64)>,
    is_closed: bool,
}

fn matches(pattern: &str, room: &str) -> bool {
    match pattern {
        "**" => true,
        "sure:*" => room.starts_with("sure:"),
        literal => literal == room,
    }
}

impl World {
    /// Somebody comes to a node, for a pattern.
    pub(super) fn receive(&mut self, node: usize) {
        let (core, pattern) = (u16::from(self.coin()), PATTERNS[self.below(PATTERNS.len())]);
        let user = format!("receiver {node}");
        let at = self.nodes[node].with(|cluster| cluster.open_as(core, &user, |_| {}));
        self.receivers.push(Receiver {
            node,
            at,
            pattern,
            since: None,
            last: BTreeMap::new(),
            told: BTreeSet::new(),
            is_closed: false,
        });
    }

    /// One goes, and another one comes.
    pub(super) fn replace_receiver(&mut self) {
        let (who, node) = (self.below(self.receivers.len()), self.below(NODES));
        let Receiver { node: from, at, .. } = self.receivers.swap_remove(who);
        self.nodes[from].with(|cluster| cluster.lose(at));
        self.receive(node);
    }

    /// Those of a node go with it.
    pub(super) fn replace_receivers_of(&mut self, node: usize) {
        let gone = self.receivers.extract_if(.., |it| it.node == node).count();
        (0..gone).for_each(|_| self.receive((node + 1) % NODES));
    }

    /// What all of them were told.
    pub(super) fn read_receivers(&mut self) {
        for who in 0..self.receivers.len() {
            let Receiver { node, at, pattern, .. } = self.receivers[who];
            for event in self.nodes[node].with(|cluster| cluster.read(at)) {
                tell(|| format!("receiver {who} of {pattern} on {node} hears {event}"));
                if event["type"] == "welcome" {
                    let subscribe = json!({"type": "subscribe", "id": 1, "pattern": pattern});
                    self.nodes[node].with(|cluster| cluster.send(at, &subscribe.to_string()));
                } else {
                    self.receivers[who].take(&event, self.witness.published);
                }
            }
        }
        let closed: Vec<_> = self.receivers.extract_if(.., |it| it.is_closed).collect();
        for Receiver { node, at, .. } in closed {
            self.nodes[node].with(|cluster| cluster.lose(at));
            self.receive(node);
        }
    }

    /// All are at rest: everyone was told what Redis has acknowledged and not lost since.
    pub(super) fn check_receivers(&self) {
        for ((room, epoch, offset), data) in &self.witness.acknowledged {
            let there = self.witness.clients.iter().filter_map(|it| it.places.get(room));
            if there.map(|standing| &standing.epoch).next() != Some(epoch) {
                continue;
            }
            let number: u64 = data.split(' ').next().and_then(|it| it.parse().ok()).expect("one");
            let place = (room.to_string(), epoch.clone(), *offset);
            for (who, it) in self.receivers.iter().enumerate() {
                let since = it.since.expect("they are answered");
                if matches(it.pattern, room) && since < number {
                    assert!(
                        it.told.contains(&place),
                        "receiver {who} of {}: {place:?}",
                        it.pattern
                    );
                }
            }
        }
    }
}

impl Receiver {
    fn take(&mut self, event: &Value, published: u64) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| event[field].as_u64().unwrap_or_default();
        let (from, to) = match event["type"].as_str().expect("a word") {
            "ok" => {
                self.since = Some(published);
                return;
            }
            "error" | "disconnect" => {
                let is_due = event["code"] == "unavailable" || event["reason"] == "overloaded";
                assert!(is_due, "{event}");
                self.is_closed = true;
                return;
            }
            "gap" => (number("from"), number("to")),
            "message" if event["offset"].is_u64() => (number("offset"), number("offset")),
            "message" => return,
            other => panic!("{other}: {event}"),
        };
        let life = (text("room"), text("epoch"));
        let last = self.last.insert(life.clone(), to);
        assert!(last.is_none_or(|last| from > last), "was told up to {last:?}: {event}");
        self.told.extend((from..=to).map(|offset| (life.0.clone(), life.1.clone(), offset)));
    }
}
