//! Sessions over nodes: the part of a fake Redis that keeps them, and what becomes of them there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::nodes::config;
use crate::clock::Moment;
use crate::room::broker::{Claim, Found, FromSessions, ToBroker, ToSessions};

/// A session, as the fake keeps it.
#[derive(Clone, Debug)]
struct Kept {
    node: usize,
    since: u64,
    /// When a node has taken it.
    taken_at: Moment,
    owner: Box<[u8]>,
    written: Box<[u8]>,
}

/// All of them, and who waits for which.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    kept: BTreeMap<[u8; 16], Kept>,
    /// Counts how often nodes have taken one.
    taken: u64,
    /// Who waits for which, and since when another node had it when it was asked.
    claims: BTreeMap<([u8; 16], usize), u64>,
    /// What nodes are told.
    told: Vec<(usize, FromSessions)>,
}

impl Sessions {
    /// What a node asks for; what it is answered at once.
    pub(super) fn execute(
        &mut self,
        node: usize,
        message: ToSessions,
        now: Moment,
        is_up: bool,
    ) -> Option<FromSessions> {
        match message {
            _ if !is_up => None,
            ToSessions::Keep { session, owner, since, written, wanted_by, .. } => {
                let mut own = since.at;
                let mut taken_at = self.kept.get(&session).map_or(now, |kept| kept.taken_at);
                if let Some(kept) = self.kept.get(&session).filter(|kept| kept.node != node) {
                    if let Some(came_at) = since.came_at.filter(|at| *at > kept.taken_at) {
                        self.taken += 1;
                        (own, taken_at) = (self.taken, came_at);
                    }
                    if own <= kept.since {
                        self.told.push((node, FromSessions::Lost { session, claim: None }));
                        return None;
                    }
                }
                let since = self.kept.get(&session).map_or(0, |kept| kept.since).max(own);
                self.kept.insert(session, Kept { node, since, taken_at, owner, written });
                wanted_by.and_then(|by| self.free(session, &by, now));
                None
            }
            ToSessions::Free { session, wanted_by } => self.free(session, &wanted_by, now),
            ToSessions::Fetch { session, owner, .. } => {
                let kept = self.kept.get(&session).filter(|kept| kept.owner == owner);
                match kept.map(|kept| (kept.node, kept.since)) {
                    Some((other, since)) if other != node => {
                        let claim = Some(Claim { node: node.to_string().into(), since });
                        self.claims.insert((session, node), since);
                        self.told.push((other, FromSessions::Lost { session, claim }));
                        None
                    }
                    found => {
                        let found = found.and_then(|_| self.take(session, node, now));
                        Some(FromSessions::Fetched { session, outcome: Ok(found) })
                    }
                }
            }
        }
    }

    fn free(&mut self, session: [u8; 16], by: &str, now: Moment) -> Option<FromSessions> {
        let node: usize = by.parse().expect("a node");
        let since = self.claims.remove(&(session, node))?;
        let is_taken = self.kept.get(&session).is_some_and(|kept| kept.since != since);
        let news = if is_taken {
            FromSessions::Taken { session }
        } else {
            FromSessions::Fetched { session, outcome: Ok(self.take(session, node, now)) }
        };
        self.told.push((node, news));
        None
    }

    /// A session is a node's from now on.
    fn take(&mut self, session: [u8; 16], node: usize, now: Moment) -> Option<Found> {
        self.taken += 1;
        let kept = self.kept.get_mut(&session)?;
        let is_own = std::mem::replace(&mut kept.node, node) == node;
        (kept.since, kept.taken_at) = (self.taken, now);
        Some(Found { is_own, since: kept.since, written: kept.written.clone() })
    }

    /// What nodes are told, and which.
    pub(super) fn told(&mut self) -> Vec<(usize, FromSessions)> {
        std::mem::take(&mut self.told)
    }
}

const NODES: usize = 2;

struct World {
    fleet: Fleet,
}

impl World {
    fn new() -> Self {
        let nodes = (0..NODES).map(|node| Cluster::of_node(2, config(), 3 + node as u64));
        let mut world = Self { fleet: Fleet::new(nodes, 0) };
        world.fleet.restore_all();
        world.fleet.carry();
        world
    }

    fn wait(&mut self, ms: u64) {
        self.fleet.wait(ms);
        self.fleet.carry();
    }

    fn ask(&mut self, node: usize, at: Address, command: &Value) -> Vec<Value> {
        self.fleet.nodes[node].send(at, &command.to_string());
        self.fleet.carry();
        self.fleet.nodes[node].read(at)
    }

    fn open(&mut self, node: usize, core: u16, session: Option<&str>) -> Address {
        self.fleet.nodes[node]
            .open_with(core, |opened| opened.session = session.map(|it| it.to_owned().into()))
    }

    fn come(&mut self, node: usize, core: u16, session: &str) -> (Address, Vec<Value>) {
        let at = self.open(node, core, Some(session));
        self.fleet.carry();
        (at, self.fleet.nodes[node].read(at))
    }
}

fn session(events: &[Value]) -> String {
    events.iter().find_map(|it| it["session"].as_str()).expect("a session").to_owned()
}

/// Somebody at a node, in a room, with a state; their session.
fn somebody(world: &mut World) -> (Address, String) {
    let at = world.open(0, 0, None);
    let session = session(&world.fleet.nodes[0].read(at));
    world.ask(0, at, &json!({"type": "join", "room": "sure:a", "id": 1}));
    world.ask(0, at, &json!({"type": "state.set", "data": {"a": 1}, "id": 2}));
    (at, session)
}

fn publish(world: &mut World, node: usize, at: Address, data: u64) {
    let publish = json!({"type": "publish", "room": "sure:a", "data": data, "id": 9});
    let answers = world.ask(node, at, &publish);
    assert!(answers.iter().any(|it| it["type"] == "ok"), "{answers:?}");
}

fn data(events: &[Value]) -> Vec<u64> {
    let messages = events.iter().filter(|it| it["type"] == "message");
    messages.map(|it| it["data"].as_u64().expect("a number")).collect()
}

#[test]
fn another_node_goes_on_with_what_a_dead_one_had_told() {
    for core in 0..2 {
        let mut world = World::new();
        let (at, session) = somebody(&mut world);
        let other = world.fleet.nodes[1].open(0);
        world.ask(1, other, &json!({"type": "join", "room": "sure:a", "id": 1}));
        world.wait(1_100);
        publish(&mut world, 1, other, 1);
        world.fleet.nodes[0].lose(at);
        world.fleet.carry();
        publish(&mut world, 1, other, 2);
        let (at, events) = world.come(1, core, &session);
        assert_eq!(events[0]["recovered"], true, "{events:?}");
        assert_eq!(events[0]["session"], session.as_str());
        assert_eq!(events[0]["rooms"][0]["room"], "sure:a");
        assert_eq!(data(&events), [1, 2], "{events:?}");
        let state = world.ask(1, at, &json!({"type": "state.get", "id": 3}));
        assert_eq!(state[0]["data"], json!({"a": 1}), "{state:?}");
    }
}

#[test]
fn a_connection_that_is_still_open_elsewhere_is_replaced_and_loses_nothing() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    world.wait(1_100);
    publish(&mut world, 0, at, 1);
    let ack = json!({"type": "ack", "room": "sure:a", "offset": 1, "id": 4});
    world.ask(0, at, &ack);
    publish(&mut world, 0, at, 2);
    // Nothing of this was told before it was asked for.
    let (_, events) = world.come(1, 1, &session);
    assert_eq!(events[0]["recovered"], true, "{events:?}");
    assert_eq!(data(&events), [2], "{events:?}");
    let last = world.fleet.nodes[0].read(at);
    assert!(last.iter().any(|it| it["reason"] == "replaced"), "{last:?}");
}

#[test]
fn a_session_that_has_just_begun_goes_over_to_the_last_moment() {
    let mut world = World::new();
    let (first, session) = somebody(&mut world);
    let (at, events) = world.come(1, 0, &session);
    assert_eq!(
        (&events[0]["recovered"], &events[0]["rooms"][0]["room"]),
        (&json!(true), &json!("sure:a"))
    );
    let state = world.ask(1, at, &json!({"type": "state.get", "id": 3}));
    assert_eq!(state[0]["data"], json!({"a": 1}));
    assert_eq!(world.fleet.nodes[0].read(first).last().expect("it is told")["reason"], "replaced");
}

#[test]
fn whoever_comes_back_where_it_was_gets_what_the_other_node_had() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    world.fleet.nodes[0].lose(at);
    world.fleet.carry();
    let (at, _) = world.come(1, 0, &session);
    world.ask(1, at, &json!({"type": "state.set", "data": 2, "id": 2}));
    world.ask(1, at, &json!({"type": "leave", "room": "sure:a", "id": 3}));
    world.fleet.nodes[1].lose(at);
    world.fleet.carry();
    let (at, events) = world.come(0, 1, &session);
    assert_eq!(events[0]["recovered"], true, "{events:?}");
    assert_eq!(events[0]["rooms"], json!([]));
    let state = world.ask(0, at, &json!({"type": "state.get", "id": 3}));
    assert_eq!(state[0]["data"], 2, "{state:?}");
}

#[test]
fn two_nodes_do_not_both_go_on_with_a_session() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    world.wait(1_100);
    world.fleet.nodes[0].lose(at);
    world.fleet.carry();
    let one = world.open(0, 1, Some(&session));
    let other = world.open(1, 0, Some(&session));
    world.fleet.carry();
    world.wait(3_000);
    let ends = [(0, one), (1, other)].map(|(node, at)| world.fleet.nodes[node].read(at));
    let holders = ends.iter().filter(|events| {
        events.iter().any(|it| it["session"] == session.as_str())
            && !events.iter().any(|it| it["reason"] == "replaced")
    });
    assert_eq!(holders.count(), 1, "{ends:?}");
}

#[test]
fn whoever_has_come_back_is_not_replaced_by_a_claim_from_before() {
    for is_idle in [false, true] {
        let mut world = World::new();
        let (at, session) = somebody(&mut world);
        world.wait(1_100);
        let id = *world.fleet.store.sessions.kept.keys().next().expect("it is kept");
        let claim = |world: &World| {
            let since = world.fleet.store.sessions.kept[&id].since;
            FromSessions::Lost { session: id, claim: Some(Claim { node: "1".into(), since }) }
        };
        let late = claim(&world);
        world.fleet.nodes[0].lose(at);
        world.fleet.carry();
        let (at, events) = world.come(0, 1, &session);
        assert_eq!(events[0]["recovered"], true, "{events:?}");
        if is_idle {
            world.fleet.nodes[0].lose(at);
            world.fleet.carry();
        }
        world.fleet.store.sessions.told.push((0, late));
        world.fleet.carry();
        let told = world.fleet.nodes[0].read(at);
        assert!(is_idle || told.is_empty(), "{told:?}");
        let (at, events) = if is_idle { world.come(0, 0, &session) } else { (at, events) };
        assert_eq!(events[0]["session"], session.as_str(), "{events:?}");
        // One that knows of that makes it let go.
        let now = claim(&world);
        world.fleet.store.sessions.told.push((0, now));
        world.fleet.carry();
        let told = world.fleet.nodes[0].read(at);
        assert!(told.iter().any(|it| it["reason"] == "replaced"), "{told:?}");
    }
}

#[test]
fn whoever_comes_back_goes_on_though_a_claim_from_before_comes_first() {
    for is_late in [true, false] {
        let mut world = World::new();
        let (at, session) = somebody(&mut world);
        world.wait(1_100);
        let id = *world.fleet.store.sessions.kept.keys().next().expect("it is kept");
        world.fleet.nodes[0].lose(at);
        world.fleet.carry();
        let since = if is_late { 0 } else { 1 };
        let claim = Some(Claim { node: "1".into(), since });
        let at = world.open(0, 1, Some(&session));
        world.fleet.store.sessions.told.push((0, FromSessions::Lost { session: id, claim }));
        world.fleet.spread();
        world.fleet.carry();
        let events = world.fleet.nodes[0].read(at);
        assert_eq!(events[0]["session"] == session.as_str(), is_late, "{events:?}");
    }
}

#[test]
fn without_the_broker_a_node_resumes_what_it_had_itself_and_nothing_else() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    world.fleet.nodes[0].lose(at);
    world.fleet.carry();
    (0..NODES).for_each(|node| world.fleet.cut(node, false));
    let (at, events) = world.come(0, 1, &session);
    assert_eq!(events[0]["recovered"], true, "{events:?}");
    world.fleet.nodes[0].lose(at);
    let (_, events) = world.come(1, 0, &session);
    assert_eq!(events[0]["recovered"], false, "{events:?}");
    assert_ne!(events[0]["session"], session.as_str());
}

/// Somebody who has moved to another node while theirs could not be asked to let go; their session, which
/// both have.
fn twofold(world: &mut World) -> (Address, Address, String) {
    let (at, session) = somebody(world);
    world.wait(1_100);
    let id = *world.fleet.store.sessions.kept.keys().next().expect("it is kept");
    world.fleet.cut(0, false);
    let other = world.open(1, 0, Some(&session));
    world.fleet.carry();
    let now = world.fleet.nodes[1].now.moment;
    world.fleet.store.sessions.free(id, "1", now);
    world.fleet.carry();
    let events = world.fleet.nodes[1].read(other);
    assert_eq!(events[0]["session"], session.as_str(), "{events:?}");
    (at, other, session)
}

fn is_replaced(world: &mut World, node: usize, at: Address) -> bool {
    let told = world.fleet.nodes[node].read(at);
    told.iter().any(|it| it["reason"] == "replaced")
}

#[test]
fn whoever_came_back_last_keeps_the_session_though_the_broker_could_not_be_asked() {
    for is_here_still in [false, true] {
        let mut world = World::new();
        let (before, other, session) = twofold(&mut world);
        if !is_here_still {
            world.fleet.nodes[0].lose(before);
        }
        world.wait(100);
        world.fleet.nodes[1].lose(other);
        let (at, events) = world.come(0, 1, &session);
        assert_eq!(events[0]["recovered"], true, "{events:?}");
        world.fleet.restore(0);
        world.wait(1_100);
        world.wait(1_100);
        assert!(!is_replaced(&mut world, 0, at), "by a node where they were before");
        assert_eq!(is_replaced(&mut world, 0, before), is_here_still);
        let state = json!({"type": "state.set", "data": 3, "id": 3});
        world.ask(0, at, &state);
        let (_, events) = world.come(1, 0, &session);
        assert_eq!(events[0]["session"], session.as_str(), "{events:?}");
        assert!(is_replaced(&mut world, 0, at), "by another node that they have come to");
    }
}

#[test]
fn whoever_has_moved_on_keeps_the_session_though_one_resumed_it_without_the_broker() {
    let mut world = World::new();
    let (before, other, session) = twofold(&mut world);
    world.fleet.nodes[0].lose(before);
    world.wait(100);
    world.fleet.nodes[1].lose(other);
    let (at, _) = world.come(0, 1, &session);
    world.wait(100);
    let (last, events) = world.come(1, 0, &session);
    assert_eq!(events[0]["session"], session.as_str(), "{events:?}");
    world.fleet.restore(0);
    world.wait(1_100);
    world.wait(1_100);
    assert!(is_replaced(&mut world, 0, at));
    assert!(!is_replaced(&mut world, 1, last));
}

#[test]
fn whoever_was_sent_out_and_came_anew_is_brought_back_by_their_session_on_any_node() {
    for resumes_at in 0..NODES {
        let mut world = World::new();
        let owner = world.fleet.nodes[0].user(0, "owner");
        let ann = world.fleet.nodes[1].open_as(1, "ann", |_| {});
        world.fleet.carry();
        let session = session(&world.fleet.nodes[1].read(ann));
        let join = json!({"type": "join", "room": "sure:a", "id": 1});
        world.ask(0, owner, &join);
        world.ask(1, ann, &join);
        let kick = json!({"type": "room.kick", "room": "sure:a", "user": "ann", "id": 2});
        assert_eq!(world.ask(0, owner, &kick)[0]["type"], "ok");
        let sent_out = world.fleet.nodes[1].read(ann);
        assert_eq!(sent_out[0]["reason"], "kicked", "{sent_out:?}");
        // A session that waits does not bring them back.
        for (comes, expected) in [(false, [].as_slice()), (true, &["sure:a"])] {
            let at = world.fleet.nodes[1].open_as(1, "ann", |opened| {
                opened.session = Some(session.clone().into());
            });
            world.fleet.carry();
            if comes {
                assert_eq!(world.ask(1, at, &join)[0]["type"], "welcome");
            }
            world.wait(1_100);
            world.fleet.nodes[1].lose(at);
            world.fleet.carry();
            let at = world.fleet.nodes[resumes_at].open_as(0, "ann", |opened| {
                opened.session = Some(session.clone().into());
            });
            world.fleet.carry();
            let welcome = world.fleet.nodes[resumes_at].read(at).remove(0);
            let rooms = welcome["rooms"].as_array().expect("a list");
            let rooms: Vec<_> = rooms.iter().map(|it| it["room"].as_str().unwrap()).collect();
            assert_eq!(rooms, expected, "{welcome}");
            world.fleet.nodes[resumes_at].lose(at);
            world.fleet.carry();
        }
    }
}

#[test]
fn a_session_that_comes_back_makes_no_room_that_was_deleted_meanwhile() {
    for (resumes_at, deletes_at) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new();
        let (at, session) = somebody(&mut world);
        let other = world.fleet.nodes[deletes_at].open_as(1, "owner", |_| {});
        let create = json!({"type": "room.create", "room": "sure:b", "id": 1});
        world.ask(deletes_at, other, &create);
        let join = json!({"type": "join", "room": "sure:b", "id": 2});
        assert!(world.ask(0, at, &join).iter().any(|it| it["type"] == "ok"));
        world.fleet.nodes[0].lose(at);
        world.fleet.carry();
        let delete = json!({"type": "room.delete", "room": "sure:b", "id": 3});
        let answers = world.ask(deletes_at, other, &delete);
        assert_eq!(answers.last().expect("it is answered")["type"], "ok");
        let (at, events) = world.come(resumes_at, 0, &session);
        assert_eq!(events[0]["rooms"][0]["room"], "sure:a", "{events:?}");
        assert_eq!(events[0]["rooms"].as_array().expect("a list").len(), 1);
        let left = (&events[1]["type"], &events[1]["room"], &events[1]["reason"]);
        assert_eq!(left, (&json!("left"), &json!("sure:b"), &json!("room_deleted")));
        let info = json!({"type": "room.info", "room": "sure:b", "id": 4});
        assert_eq!(world.ask(resumes_at, at, &info)[0]["code"], "not_found");
        world.fleet.nodes[resumes_at].lose(at);
        world.fleet.nodes[deletes_at].lose(other);
        world.wait(400_000);
        assert!(world.fleet.nodes.iter().all(Cluster::is_empty), "nothing is left of it");
    }
}

#[test]
fn a_session_keeps_a_room_that_began_while_redis_was_out_of_reach() {
    for (resumes_at, stays) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut world = World::new();
        world.fleet.cut(0, false);
        let at = world.open(0, 0, None);
        let session = session(&world.fleet.nodes[0].read(at));
        let other = world.fleet.nodes[0].open(1);
        for at in [Some(at), stays.then_some(other)].into_iter().flatten() {
            let joined = world.ask(0, at, &json!({"type": "join", "room": "c", "id": 1}));
            assert_eq!((&joined[0]["type"], &joined[0]["local"]), (&json!("ok"), &json!(true)));
        }
        world.fleet.restore(0);
        world.wait(1_100);
        world.fleet.nodes[0].lose(at);
        world.fleet.carry();
        let (_, events) = world.come(resumes_at, 1, &session);
        assert_eq!(events[0]["rooms"][0]["room"], "c", "{events:?}");
    }
}

#[test]
fn a_room_that_is_full_is_no_right_that_was_taken_back() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    let eve = world.fleet.nodes[1].user(1, "eve");
    let create = json!({"type": "room.create", "room": "b", "id": 1, "config": {"max_members": 1}});
    world.ask(1, eve, &create);
    let join = json!({"type": "join", "room": "b", "id": 2});
    assert!(world.ask(0, at, &join).iter().any(|it| it["type"] == "ok"));
    world.fleet.nodes[0].lose(at);
    world.wait(5_000);
    world.ask(1, eve, &join);
    let (_, events) = world.come(1, 1, &session);
    let refused = &events[1];
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("room_full")));
}

#[test]
fn sessions_that_begin_are_told_once_and_so_many_in_a_second() {
    let mut world = World::new();
    let kept = |world: &mut World| {
        let told = std::mem::take(&mut world.fleet.nodes[0].to_broker).into_iter();
        let is_kept = |it: &ToBroker| matches!(it, ToBroker::Session(ToSessions::Keep { .. }));
        told.filter(|(_, it)| is_kept(it)).count()
    };
    (0..4_500).for_each(|_| _ = world.fleet.nodes[0].open(0));
    assert_eq!(kept(&mut world), 1_000, "at once");
    for count in [1_000, 2_000, 500] {
        world.fleet.nodes[0].wait(1_000);
        assert!((count..count + 300).contains(&kept(&mut world)), "{count}, and some again");
    }
}

#[test]
fn nobody_has_gone_of_a_node_that_links_anew_later_than_others() {
    let mut world = World::new();
    let join = json!({"type": "join", "room": "sure:a", "presence": true, "id": 1});
    let watcher = world.fleet.nodes[0].user(0, "ann");
    world.ask(0, watcher, &join);
    let bob = world.fleet.nodes[1].user(0, "bob");
    world.ask(1, bob, &join);
    world.wait(1_100);
    world.fleet.nodes[0].read(watcher);
    // Another server, which knows of nobody.
    (0..NODES).for_each(|node| world.fleet.cut(node, false));
    world.fleet.store.empty();
    for (node, ms) in [(0, 8_000), (1, 10_000)] {
        world.fleet.restore(node);
        world.fleet.carry();
        world.wait(ms);
    }
    let told = world.fleet.nodes[0].read(watcher).into_iter();
    let told: Vec<_> = told.filter(|it| it["type"] == "presence").collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_session_that_has_moved_keeps_its_rooms_where_it_waits() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    world.fleet.nodes[0].lose(at);
    world.wait(3_000);
    for node in [1, 0, 1, 0] {
        let (at, events) = world.come(node, 1, &session);
        assert_eq!(events[0]["rooms"][0]["room"], "sure:a", "{events:?}");
        world.wait(3_000);
        world.fleet.nodes[node].lose(at);
        world.wait(3_000);
        assert!(is_kept(&world, node), "at {node}");
    }
}

fn is_kept(world: &World, node: usize) -> bool {
    let room = super::cluster::room("sure:a");
    world.fleet.nodes[node].shards.iter().any(|shard| shard.homes.rooms.contains_key(&room))
}

#[test]
fn a_session_that_waits_keeps_its_rooms_when_redis_has_lost_something() {
    let mut world = World::new();
    let (at, session) = somebody(&mut world);
    publish(&mut world, 0, at, 1);
    world.fleet.nodes[0].lose(at);
    world.wait(1_000);
    world.fleet.cut(0, false);
    world.fleet.store.empty();
    world.fleet.restore(0);
    world.fleet.carry();
    world.wait(30_000);
    assert!(is_kept(&world, 0));
    let (at, events) = world.come(0, 1, &session);
    assert_eq!(events[0]["rooms"][0]["room"], "sure:a", "{events:?}");
    world.fleet.nodes[0].lose(at);
    world.wait(400_000);
    assert!(world.fleet.nodes.iter().all(Cluster::is_empty), "nothing is left of it");
}
