//! Members of a guaranteed room on two nodes, step by step: where a place might be lost, or outlive
//! what it was for.

use std::sync::Arc;

use super::*;
use crate::room::bookmark::{Bookmark, BookmarkAsk, End, Note};
use crate::room::broker::ToBroker;
use crate::shard::tests::store::Link;

const BELOW: &str = "owed:a/b";

struct Pair {
    fleet: Fleet,
    /// Who owns the room, on the first node.
    ann: Address,
}

fn node(id: u64) -> Cluster {
    let mut config = config(0);
    config.redis.room_ttl_ms = 600_000;
    Cluster::of_node(2, config, id)
}

impl Pair {
    /// Ann is in the room on the first node.
    fn new(room: &str) -> Self {
        let mut nodes = [3, 4].map(node);
        let ann = nodes[0].user(0, "ann");
        let mut pair = Self { fleet: Fleet::new(nodes, 0), ann };
        pair.flow();
        pair.make(0, ann, room);
        pair
    }

    fn make(&mut self, node: usize, owner: Address, room: &str) {
        let config = json!({"persistent": true, "parent_inherit": true});
        self.ask(node, owner, &json!({"type": "room.create", "room": room, "config": config}));
        self.ask(node, owner, &json!({"type": "join", "room": room}));
    }

    /// Everything that is on its way arrives, and what waits for more is said.
    fn flow(&mut self) {
        self.fleet.restore_all();
        for _ in 0..3 {
            self.fleet.carry();
            self.fleet.wait(500);
        }
    }

    /// The link of a node ends, and nothing arrives that it has said last.
    fn cut(&mut self, node: usize) {
        self.fleet.nodes[node].to_broker.clear();
        self.fleet.cut(node, false);
    }

    /// The second node is linked again, and is not told what has been decided meanwhile.
    fn restore_without_decisions(&mut self) {
        self.fleet.restore(1);
        for _ in 0..100 {
            self.fleet.execute(1);
            self.fleet.links[1].fail_recalls();
            self.fleet.deliver(1);
        }
    }

    /// Another one takes the place of the second node, which was killed.
    fn replace(&mut self) {
        let now = self.fleet.nodes[1].now;
        self.fleet.nodes[1] = node(5);
        self.fleet.nodes[1].now = now;
        self.fleet.links[1] = Link::of(1);
        self.flow();
    }

    fn tell(&mut self, node: usize, at: Address, command: &Value) {
        self.fleet.nodes[node].send(at, &command.to_string());
        self.fleet.carry_of([node]);
        let told = self.fleet.nodes[node].read(at);
        let answer = told.iter().find(|it| it["id"] == 7).expect("it is answered");
        assert_eq!(answer["type"], "ok", "{command}: {answer}");
    }

    /// What is told to all reaches all.
    fn ask(&mut self, node: usize, at: Address, command: &Value) {
        let mut command = command.clone();
        command["id"] = 7.into();
        self.tell(node, at, &command);
        self.flow();
    }

    /// What is decided on the first node reaches nobody else yet.
    fn govern(&mut self, room: &str, what: &str, user: &str, role: Option<&str>) {
        let mut command = json!({"type": what, "id": 7, "room": room, "user": user});
        if let Some(role) = role {
            command["role"] = role.into();
        }
        self.tell(0, self.ann, &command);
    }

    fn publish(&mut self, room: &str, count: u32) {
        for _ in 0..count {
            self.tell(0, self.ann, &json!({"type": "publish", "id": 7, "room": room, "data": 0}));
        }
    }

    fn come(&mut self, node: usize, user: &str, room: &str) -> Address {
        let at = self.fleet.nodes[node].user(1, user);
        self.fleet.nodes[node].send(at, &json!({"type": "join", "room": room}).to_string());
        self.flow();
        at
    }

    fn leave(&mut self, node: usize, at: Address, room: &str) {
        self.ask(node, at, &json!({"type": "leave", "room": room}));
        self.fleet.nodes[node].lose(at);
        self.flow();
    }

    /// What somebody is sent who comes: offsets, and whether they are said to come again.
    fn owed(&mut self, node: usize, user: &str, room: &str) -> Vec<(i64, bool)> {
        let at = self.come(node, user, room);
        let came = self.fleet.nodes[node].read(at);
        let came = came.iter().filter(|it| it["type"] == "message");
        let owed = came.map(|it| (it["offset"].as_i64().unwrap(), it["redelivered"] == true));
        let owed = owed.collect();
        self.fleet.nodes[node].lose(at);
        self.flow();
        owed
    }

    fn mark(&self, room: &str, user: &str) -> Option<Bookmark> {
        self.fleet.store.mark(&crate::shard::tests::cluster::room(room), user)
    }
}

fn says_dismissed((_, message): &(crate::id::CoreId, ToBroker)) -> bool {
    let ToBroker::Bookmarks { ask: BookmarkAsk::Write { marks, .. }, .. } = message else {
        return false;
    };
    marks.iter().any(|(_, note)| *note == Note::Ended(End::Dismissed))
}

#[test]
fn who_leaves_before_anything_is_published_is_known_to_have_left() {
    let mut pair = Pair::new(ROOM);
    pair.govern(ROOM, "room.role", "bob", Some("member"));
    pair.flow();
    let bob = pair.come(0, "bob", ROOM);
    assert!(pair.mark(ROOM, "bob").expect("he is known").has_joined);
    pair.leave(0, bob, ROOM);
    let left = Bookmark { began: 0, acknowledged: 0, sent: Some(0), has_joined: false };
    assert_eq!(pair.mark(ROOM, "bob"), Some(left));
    pair.publish(ROOM, 2);
    assert_eq!(pair.owed(1, "bob", ROOM), [(1, false), (2, false)]);
}

#[test]
fn an_end_that_was_undone_while_a_node_was_cut_off_ends_nothing() {
    for (ban, fails) in [(false, false), (true, false), (false, true)] {
        let mut pair = Pair::new(ROOM);
        let dan = pair.come(1, "dan", ROOM);
        pair.govern(ROOM, "room.role", "bob", Some("member"));
        pair.flow();
        pair.publish(ROOM, 1);
        match ban {
            true => pair.govern(ROOM, "room.ban", "bob", None),
            false => pair.govern(ROOM, "room.role", "bob", Some("guest")),
        }
        // The other node hears of it, and its word is lost.
        while !pair.fleet.links[1].is_idle() {
            pair.fleet.deliver(1);
        }
        assert_eq!(pair.fleet.nodes[1].to_broker.iter().any(says_dismissed), !ban);
        pair.cut(1);
        if ban {
            pair.govern(ROOM, "room.unban", "bob", None);
        }
        pair.publish(ROOM, 1);
        pair.govern(ROOM, "room.role", "bob", Some("member"));
        pair.publish(ROOM, 2);
        if fails {
            pair.restore_without_decisions();
            // Something else is to be said.
            pair.fleet.nodes[1].read(dan);
            let ack = json!({"type": "ack", "room": ROOM, "offset": 4});
            pair.fleet.nodes[1].send(dan, &ack.to_string());
            pair.fleet.nodes[1].read(dan);
        }
        pair.flow();
        assert_eq!(pair.owed(1, "bob", ROOM), [(3, false), (4, false)], "{ban} {fails}");
    }
}

#[test]
fn all_are_asked_about_who_came_while_redis_was_out_of_reach() {
    let mut pair = Pair::new(ROOM);
    let _dan = pair.come(1, "dan", ROOM);
    pair.cut(1);
    for n in 0..300 {
        let at = pair.fleet.nodes[1].user(1, &format!("u{n}"));
        pair.fleet.nodes[1].send(at, &json!({"type": "join", "room": ROOM}).to_string());
    }
    let unread = |pair: &mut Pair| {
        let room = room();
        let home = pair.fleet.nodes[1].shards[0].home_core(&room).index();
        let home: Option<Vec<Arc<str>>> = pair.fleet.nodes[1].shards[home]
            .homes
            .get_mut(&room)
            .map(|home| home.unread_bookmarks(1_000));
        home.expect("it is there").len()
    };
    assert_eq!(unread(&mut pair), 300);
    pair.flow();
    assert_eq!(unread(&mut pair), 0);
}

#[test]
fn what_a_user_is_sent_alone_is_asked_for_in_time_like_any_room() {
    let mut pair = Pair::new(ROOM);
    pair.fleet.nodes[0].to_broker.clear();
    pair.fleet.nodes[0].wait(300_000);
    let opens = pair.fleet.nodes[0].to_broker.iter().filter_map(|(_, it)| match it {
        ToBroker::Open { room, .. } => Some(room.name.is_reserved()),
        _ => None,
    });
    let opens: Vec<_> = opens.collect();
    assert!(opens.contains(&true) && opens.contains(&false), "{opens:?}");
}

#[test]
fn a_place_that_outlived_a_role_is_not_taken_up() {
    for comes_to in 0..2 {
        let mut pair = Pair::new(ROOM);
        pair.govern(ROOM, "room.role", "bob", Some("member"));
        pair.publish(ROOM, 1);
        // They have left on a node that is no more, and on the other one they are known to be there.
        assert_eq!(pair.owed(0, "bob", ROOM), [(1, false)]);
        let bob = pair.come(1, "bob", ROOM);
        pair.leave(1, bob, ROOM);
        assert!(!pair.mark(ROOM, "bob").expect("a member").has_joined);
        pair.replace();
        pair.govern(ROOM, "room.role", "bob", Some("guest"));
        pair.flow();
        pair.publish(ROOM, 1);
        assert_eq!(pair.owed(comes_to, "bob", ROOM), []);
    }
}

#[test]
fn a_place_that_no_home_had_goes_with_the_role_in_the_room_above() {
    let mut pair = Pair::new(ROOM);
    let dan = pair.fleet.nodes[1].user(0, "dan");
    pair.make(1, dan, BELOW);
    pair.govern(ROOM, "room.role", "cat", Some("member"));
    pair.flow();
    assert!(pair.mark(BELOW, "cat").is_some());
    // Nobody has the room below.
    pair.replace();
    pair.govern(ROOM, "room.role", "cat", Some("guest"));
    pair.flow();
    let dan = pair.come(1, "dan", BELOW);
    pair.ask(1, dan, &json!({"type": "publish", "room": BELOW, "data": 0}));
    assert_eq!(pair.owed(1, "cat", BELOW), []);
    let cat = pair.mark(BELOW, "cat").expect("she did not leave");
    assert!(cat.has_joined && cat.began == 1, "{cat:?}");
}

#[test]
fn a_member_whom_a_node_does_not_know_as_one_yet_keeps_their_place() {
    let mut pair = Pair::new(ROOM);
    let _dan = pair.come(1, "dan", ROOM);
    pair.cut(1);
    pair.govern(ROOM, "room.role", "bob", Some("member"));
    pair.publish(ROOM, 1);
    pair.restore_without_decisions();
    let bob = pair.fleet.nodes[1].user(1, "bob");
    pair.fleet.nodes[1].send(bob, &json!({"type": "join", "room": ROOM}).to_string());
    pair.fleet.carry_of([1]);
    assert_eq!(pair.fleet.nodes[1].offsets(bob), [1]);
}

#[test]
fn somebody_who_has_left_elsewhere_is_owed_what_follows_when_they_become_a_member() {
    for (comes_to, above) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut pair = Pair::new(ROOM);
        let room = if above { BELOW } else { ROOM };
        pair.make(0, pair.ann, BELOW);
        assert_eq!(pair.owed(0, "bob", room), []);
        pair.publish(room, 1);
        let bob = pair.come(1, "bob", room);
        pair.leave(1, bob, room);
        assert_eq!(pair.mark(room, "bob"), None);
        pair.replace();
        pair.govern(ROOM, "room.role", "bob", Some("member"));
        pair.publish(room, 2);
        pair.flow();
        assert_eq!(pair.owed(comes_to, "bob", room), [(2, false), (3, false)]);
    }
}
