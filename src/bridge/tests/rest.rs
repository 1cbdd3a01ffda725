//! Everything heals: all answer, all agree, and nothing is left of anything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::redis::Redis;
use super::world::{NODES, ROOMS, World};
use crate::id::TenantId;
use crate::metrics::LinkState;

impl World {
    /// Everything heals, and everything is so.
    pub(super) async fn rest(&mut self) {
        while let Some(moved) = self.moves.join_next().await {
            moved.expect("a slot is moved");
        }
        for round in 0..5 {
            self.servers.iter().for_each(Redis::heal);
            self.nodes.iter().for_each(super::node::Node::heal);
            self.wait(500).await;
            self.read_all();
            for who in 0..self.witness.clients.len() {
                for room in ROOMS {
                    if !Self::may_join(who, room) {
                        continue;
                    }
                    if !self.witness.clients[who].places.contains_key(room) {
                        let join =
                            json!({"type": "join", "room": room, "id": format!("join {room}")});
                        self.say(who, &join);
                    } else if round < 4 {
                        self.publish_in(who, room);
                    }
                }
            }
            self.wait(2_500).await;
            self.read_all();
        }
        assert!(!self.servers.iter().any(Redis::has_overflown), "a full server has taken more");
        // Another node may load the scripts before what comes next.
        let servers = &self.servers;
        self.witness.doubt_order(|data| servers.iter().any(|redis| redis.has_refused(data)));
        self.witness.check_rest();
        if self.temper.is_harmless() {
            assert_eq!(self.witness.refused, 0, "publishes are refused, and nothing is wrong");
        }
        for _ in 0..3 {
            self.check_arrival().await;
        }
        for (place, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.metrics.link(), LinkState::Up, "node {place}");
        }
        self.check_receivers();
        self.check_presence().await;
        self.check_places();
        self.check_sessions().await;
        self.check_backends().await;
    }

    /// Somebody comes to a room that their node has not followed, while others publish there: nothing falls
    /// between, though nothing follows that would show it.
    async fn check_arrival(&mut self) {
        let (who, room) = self.somebody();
        let there = |world: &Self, is_same: bool| -> Vec<usize> {
            let all = world.witness.clients.iter().enumerate();
            let node = world.witness.clients[who].node;
            let all =
                all.filter(|(_, it)| it.places.contains_key(room) && (it.node == node) == is_same);
            all.map(|(who, _)| who).collect()
        };
        let (own, others) = (there(self, true), there(self, false));
        let Some(&publisher) = others.first() else { return };
        for &who in &own {
            self.say(who, &json!({"type": "leave", "room": room, "id": format!("leave {room}")}));
        }
        self.wait(2_000).await;
        self.read_all();
        for &who in &own {
            for _ in 0..self.below(3) {
                self.publish_in(publisher, room);
                self.wait_us(3_000).await;
            }
            self.say(who, &json!({"type": "join", "room": room, "id": format!("join {room}")}));
            self.wait_us(1_000).await;
            self.publish_in(publisher, room);
        }
        self.wait(1_500).await;
        self.read_all();
        self.witness.check_rest();
    }

    /// Redis counts as many connections of each user as there are.
    fn check_places(&self) {
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        for who in 0..self.witness.clients.len() {
            *there.entry(Self::user(who)).or_default() += 1;
        }
        let [until, facts] = self.keys.nodes();
        for (user, count) in there {
            let key = self.keys.places(TenantId::DEFAULT, &user);
            assert_eq!(
                Redis::places(&self.servers, &key, [&until, &facts]),
                count,
                "connections of {user}"
            );
        }
    }

    /// Whoever comes to another node goes on there with their session.
    async fn check_sessions(&mut self) {
        let sessions: Vec<_> = self.witness.clients.iter().map(|it| it.session.clone()).collect();
        for who in 0..sessions.len() {
            let to = (self.witness.clients[who].node + 1) % NODES;
            self.move_to(who, to);
        }
        self.wait(1_500).await;
        self.read_all();
        for (client, session) in self.witness.clients.iter().zip(sessions) {
            assert!(client.is_here && client.session == session, "{session} goes on");
        }
    }

    /// Whoever asks is told who is there: everybody.
    async fn check_presence(&mut self) {
        let mut there: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for who in 0..self.witness.clients.len() {
            for room in ROOMS.into_iter().filter(|room| Self::may_join(who, room)) {
                *there.entry(room).or_default().entry(Self::user(who)).or_default() += 1;
                assert!(self.witness.clients[who].places.contains_key(room), "{who} in {room}");
                self.say(
                    who,
                    &json!({"type": "presence", "room": room, "id": format!("presence {room}")}),
                );
            }
        }
        self.wait(1_000).await;
        self.read_all();
        for who in 0..self.witness.clients.len() {
            for room in ROOMS.into_iter().filter(|room| Self::may_join(who, room)) {
                let told = self.witness.presence.get(&(who, room)).expect("it is answered");
                let users = told.as_array().expect("a list").iter();
                let one = |user: &Value| {
                    (
                        user["user"].as_str().unwrap_or("").to_owned(),
                        user["connections"].as_u64().unwrap_or(0),
                    )
                };
                let users: BTreeMap<_, _> = users.map(one).collect();
                assert_eq!(users, there[room], "as {who} is told of {room}");
            }
        }
    }

    /// What a backend says is heard by all.
    async fn check_backends(&mut self) {
        let said = self.say_from_outside(ROOMS[0]);
        self.wait(1_000).await;
        self.read_all();
        let heard = self.witness.foreign.get(&said).map_or(0, BTreeMap::len);
        assert_eq!(heard, self.witness.clients.len(), "hear {said}");
    }

    /// All go; then nothing is left of them, here or in Redis.
    pub(super) async fn end(&mut self) {
        for client in &self.witness.clients {
            self.nodes[client.node].with(|cluster| cluster.lose(client.at));
        }
        for receiver in std::mem::take(&mut self.receivers) {
            self.nodes[receiver.node].with(|cluster| cluster.lose(receiver.at));
        }
        self.wait(self.stay_ms).await;
        let left = self.servers.iter().flat_map(|it| it.keys_of(&["s", "h", "p", "d", "a"]));
        let left: Vec<_> = left.collect();
        assert!(left.is_empty(), "rooms are left in Redis: {left:?}");
        for (place, node) in self.nodes.iter().enumerate() {
            node.with(|cluster| assert!(cluster.is_empty(), "node {place}"));
        }
        for node in std::mem::take(&mut self.nodes) {
            node.end().await.check_is_idle();
        }
    }
}
