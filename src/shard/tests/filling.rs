//! Rooms on two nodes that keep more than they did: their histories are filled with what Redis has.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use crate::id::CoreId;
use crate::room::broker::ToBroker;

const ACK_TIMEOUT_MS: u64 = 1_000_000;
/// Longer than between two times that a node asks for all of a room.
const PAUSE_MS: u64 = 11_000;

struct Pair {
    fleet: Fleet,
    /// Who owns the room, on the first node.
    ann: Address,
    /// Who is there on the second one.
    bob: Address,
}

fn node(id: u64, history_bytes: Option<u64>) -> Cluster {
    let mut config = super::store::config();
    config.rooms.history_bytes = history_bytes.unwrap_or(config.rooms.history_bytes);
    config.heartbeat.interval_ms = 86_400_000;
    config.rooms.ack_timeout_ms = ACK_TIMEOUT_MS;
    Cluster::of_node(2, config, id)
}

impl Pair {
    /// Both are in a room of that mode that keeps so many.
    fn new(mode: &str, size: u32) -> Self {
        Self::within(mode, size, None)
    }

    /// The same, on nodes whose rooms hold so many bytes of history together.
    fn within(mode: &str, size: u32, history_bytes: Option<u64>) -> Self {
        let mut nodes = [3, 4].map(|id| node(id, history_bytes));
        let (ann, bob) = (nodes[0].user(0, "ann"), nodes[1].user(1, "bob"));
        let mut pair = Self { fleet: Fleet::new(nodes, 0), ann, bob };
        pair.fleet.restore_all();
        let config = json!({"mode": mode, "history_size": size, "history_ttl_ms": 86_400_000});
        pair.say(&json!({"type": "room.create", "room": "r", "config": config}));
        pair.say(&json!({"type": "join", "room": "r"}));
        pair.fleet.nodes[1].send(bob, &json!({"type": "join", "room": "r"}).to_string());
        pair.fleet.carry();
        pair.fleet.nodes[1].read(bob);
        pair
    }

    /// Ann says something, and all that comes of it on the first node is done.
    fn say(&mut self, command: &Value) {
        let mut command = command.clone();
        command["id"] = 7.into();
        self.fleet.nodes[0].send(self.ann, &command.to_string());
        self.fleet.carry_of([0]);
        let told = self.fleet.nodes[0].read(self.ann);
        let answer = told.iter().find(|it| it["id"] == 7).expect("it is answered");
        assert_eq!(answer["type"], "ok", "{command}: {answer}");
    }

    fn publish(&mut self, count: u32) {
        (0..count).for_each(|_| self.publish_data(&json!(0)));
    }

    fn publish_data(&mut self, data: &Value) {
        self.say(&json!({"type": "publish", "room": "r", "data": data}));
    }

    /// The room keeps so many from now on, and the second node knows.
    fn keep(&mut self, size: u32) {
        let config = json!({"history_size": size});
        self.say(&json!({"type": "room.update", "room": "r", "config": config}));
        while !self.fleet.links[1].is_idle() {
            self.fleet.deliver(1);
        }
    }

    /// How often the second node asks for all of the room now.
    fn asked_for_all(&self) -> usize {
        let is_one = |(_, message): &&(CoreId, ToBroker)| {
            matches!(message, ToBroker::Open { all: true, .. })
        };
        self.fleet.nodes[1].to_broker.iter().filter(is_one).count()
    }

    /// Offsets and ends of gaps that bob is told.
    fn told(&mut self) -> Vec<i64> {
        self.fleet.nodes[1].offsets(self.bob)
    }

    /// What bob finds of the history.
    fn history(&mut self) -> Vec<u64> {
        let ask = json!({"type": "history", "id": 1, "room": "r", "limit": 100});
        let page = self.fleet.nodes[1].ask(self.bob, &ask.to_string());
        let messages = page["messages"].as_array().unwrap().iter();
        messages.map(|it| it["offset"].as_u64().unwrap()).collect()
    }
}

#[test]
fn all_of_a_room_is_asked_for_once_in_a_while() {
    let mut pair = Pair::new("reliable", 100);
    pair.publish(5);
    pair.fleet.carry();
    for round in 0..5 {
        // Twice, before there is an answer.
        for _ in 0..2 {
            pair.keep(1);
            pair.keep(100);
        }
        assert_eq!(pair.asked_for_all(), usize::from(round == 0));
        pair.fleet.carry();
    }
    assert_eq!(pair.history(), [5]);
    pair.fleet.wait(PAUSE_MS);
    assert_eq!(pair.asked_for_all(), 1);
    pair.fleet.carry();
    assert_eq!(pair.history(), [1, 2, 3, 4, 5]);
    pair.fleet.wait(PAUSE_MS);
    assert_eq!(pair.asked_for_all(), 0, "there is no more");
}

#[test]
fn a_history_is_filled_though_there_are_news_meanwhile() {
    for is_heard in [false, true] {
        let mut pair = Pair::new("reliable", 100);
        pair.publish(5);
        pair.fleet.carry();
        assert_eq!(pair.told(), [1, 2, 3, 4, 5]);
        pair.keep(1);
        assert_eq!(pair.history(), [5]);
        pair.keep(100);
        // The answer is made before what is told of next, and may come behind it.
        while !pair.fleet.nodes[1].to_broker.is_empty() {
            pair.fleet.execute(1);
        }
        pair.publish(2);
        if is_heard {
            pair.fleet.links[1].deliver_part(&mut pair.fleet.nodes[1], true);
        }
        pair.fleet.carry();
        assert_eq!(pair.told(), [6, 7]);
        assert_eq!(pair.history(), [1, 2, 3, 4, 5, 6, 7], "{is_heard}");
    }
}

#[test]
fn who_has_not_acknowledged_is_told_what_a_filled_history_lacks_and_sent_the_rest() {
    for is_told_before in [false, true] {
        let mut pair = Pair::new("guaranteed", 3);
        pair.publish(5);
        pair.fleet.carry();
        assert_eq!(pair.told(), [1, 2, 3, 4, 5]);
        pair.keep(1);
        let mut expected = vec![-1, -2, 3, 4, 5];
        if is_told_before {
            pair.fleet.wait(ACK_TIMEOUT_MS + 1);
            pair.fleet.carry();
            assert_eq!(pair.told(), [-1, -4, 5]);
            expected = vec![3, 4, 5];
        }
        pair.keep(100);
        pair.fleet.carry();
        assert_eq!(pair.history(), [3, 4, 5]);
        pair.fleet.wait(ACK_TIMEOUT_MS + 1);
        pair.fleet.carry();
        assert_eq!(pair.told(), expected, "{is_told_before}");
    }
}

#[test]
fn a_history_is_filled_as_far_as_all_of_them_may_hold() {
    for (mode, most) in [("reliable", 5), ("guaranteed", 7)] {
        // Each of two cores has half of it, and one room may take all of it.
        let mut pair = Pair::within(mode, 100, Some(10_000));
        (0..20).for_each(|_| pair.publish_data(&json!("x".repeat(1_000))));
        pair.fleet.carry();
        pair.told();
        pair.keep(1);
        pair.keep(100);
        pair.fleet.carry();
        let found = pair.history();
        assert_eq!(found.last(), Some(&20));
        assert!((most - 1..=most).contains(&found.len()), "{mode}: {found:?}");
    }
}
