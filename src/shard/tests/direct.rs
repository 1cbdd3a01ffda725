//! Messages for connections of other nodes: the part of a fake Redis that carries them, and what becomes of
//! them.

use serde_json::{Value, json};

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use super::nodes::config;
use crate::auth::ban::Banned;
use crate::id::{ConnectionName, CoreId, NodeTag, TenantId};
use crate::room::broker::{DirectAsk, DirectNews, Fault, ToBroker};
use crate::shard::Input;
use crate::shard::edict::Edict;

/// Where something is said: a core of a node.
type Spot = (u64, CoreId);

/// What nodes have asked, and where.
#[derive(Debug, Default)]
pub(super) struct Directs(Vec<(Spot, DirectAsk)>);

impl Directs {
    pub(super) fn ask(&mut self, by: Spot, ask: DirectAsk) {
        self.0.push((by, ask));
    }

    /// What is said because of that, and where, if these are the nodes and these hear.
    pub(super) fn told(&mut self, nodes: &[(u64, bool)]) -> Vec<(Spot, DirectNews)> {
        let told = self.0.drain(..).map(|(by, ask)| match ask {
            DirectAsk::Answer { to, delivered } => {
                let news = DirectNews::Answered { ticket: to.ticket, outcome: Ok(delivered) };
                ((to.node, CoreId(to.core)), news)
            }
            DirectAsk::Send { ticket, to, tenant, wire } => {
                match nodes.iter().find(|(node, _)| NodeTag::of(*node) == to.node) {
                    Some(&(node, true)) => ((node, to.core), DirectNews::Sent { to, tenant, wire }),
                    Some(_) => (by, DirectNews::Answered { ticket, outcome: Err(Fault::NodeAway) }),
                    None => (by, DirectNews::Answered { ticket, outcome: Ok(None) }),
                }
            }
        });
        told.collect()
    }
}

struct World {
    fleet: Fleet,
    ann: Address,
    bob: Address,
    /// What bob's connection is called.
    name: String,
}

impl World {
    /// Ann at one node, bob at another one.
    fn new() -> Self {
        let nodes = (0..2).map(|node| Cluster::of_node(2, config(), 3 + node));
        let mut fleet = Fleet::new(nodes, 0);
        fleet.restore_all();
        fleet.carry();
        let (ann, bob) = (fleet.nodes[0].user(0, "ann"), fleet.nodes[1].open_as(1, "bob", |_| {}));
        fleet.carry();
        let welcome = fleet.nodes[1].read(bob).remove(0);
        fleet.nodes[0].read(ann);
        let name = welcome["connection"].as_str().expect("a name").to_owned();
        Self { fleet, ann, bob, name }
    }

    fn send(&mut self, name: &str) {
        let send = json!({"type": "send", "id": 1, "to": {"connection": name}, "data": 7});
        self.fleet.nodes[0].send(self.ann, &send.to_string());
    }

    /// What ann is told.
    fn answer(&mut self) -> Value {
        let mut events = self.fleet.nodes[0].read(self.ann);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn ask(&mut self, name: &str) -> Value {
        self.send(name);
        self.fleet.carry();
        self.answer()
    }

    fn heard(&mut self) -> Vec<Value> {
        self.fleet.nodes[1].read(self.bob)
    }
}

#[test]
fn it_reaches_that_connection_wherever_it_is_and_says_so() {
    let mut world = World::new();
    let another = world.fleet.nodes[1].user(1, "bob");
    world.fleet.carry();
    world.fleet.nodes[1].read(another);
    let name = world.name.clone();
    assert_eq!(world.ask(&name)["delivered"], 1);
    let message = world.heard().remove(0);
    assert_eq!((&message["room"], &message["data"]), (&json!("@user/bob"), &json!(7)));
    assert_eq!((&message["from"]["user"], message.get("offset")), (&json!("ann"), None));
    assert!(world.fleet.nodes[1].read(another).is_empty(), "it has another name");
    // And back, by the name that the message has told.
    let name = message["from"]["connection"].as_str().expect("a name");
    let back = json!({"type": "send", "id": 2, "to": {"connection": name}, "data": 8});
    world.fleet.nodes[1].send(world.bob, &back.to_string());
    world.fleet.carry();
    assert_eq!(world.answer()["data"], 8);
    assert_eq!(world.heard().remove(0)["delivered"], 1);
}

#[test]
fn one_that_is_not_there_is_not_found() {
    let mut world = World::new();
    let name = ConnectionName::parse(&world.name).expect("a name");
    let others = [
        ConnectionName { secret: name.secret ^ 1, ..name },
        ConnectionName { index: name.index + 1, ..name },
        ConnectionName { core: CoreId(0), ..name },
        ConnectionName { node: NodeTag::of(77), ..name },
    ];
    for other in others {
        assert_eq!(world.ask(&other.to_text())["code"], "not_found", "{other:?}");
    }
    world.fleet.nodes[1].lose(world.bob);
    assert_eq!(world.ask(&name.to_text())["code"], "not_found", "it has gone");
}

#[test]
fn nobody_waits_for_ever_for_what_became_of_one() {
    let mut world = World::new();
    let name = world.name.clone();
    world.fleet.cut(1, false);
    assert_eq!(world.ask(&name)["code"], "unavailable", "its node hears nothing");
    world.fleet.restore(1);
    world.fleet.carry();
    world.send(&name);
    world.fleet.wait(1_001);
    assert_eq!(world.answer()["code"], "timeout", "nobody says anything");
    world.fleet.carry();
    assert!(world.fleet.nodes[0].read(world.ann).is_empty(), "that came too late");
    world.heard();
    world.send(&name);
    world.fleet.cut(0, true);
    assert_eq!(world.answer()["code"], "timeout", "the link ends");
    let refused = world.ask(&name);
    assert_eq!(
        (&refused["code"], &refused["retry_after_ms"]),
        (&json!("unavailable"), &json!(1_000))
    );
    assert!(world.heard().is_empty());
}

#[test]
fn one_of_another_tenant_is_not_found() {
    let mut world = World::new();
    world.send(&world.name.clone());
    let asked = world.fleet.nodes[0].to_broker.iter_mut();
    let sends: Vec<_> = asked
        .filter_map(|(_, asked)| match asked {
            ToBroker::Direct(DirectAsk::Send { tenant, .. }) => Some(tenant),
            _ => None,
        })
        .collect();
    assert_eq!(sends.len(), 1);
    sends.into_iter().for_each(|tenant| *tenant = TenantId(1));
    world.fleet.carry();
    assert_eq!(world.answer()["code"], "not_found");
    assert!(world.heard().is_empty());
}

#[test]
fn who_is_banned_sends_nothing_more_once_that_is_carried_out() {
    let mut world = World::new();
    let from: std::net::IpAddr = "192.0.2.1".parse().expect("an address");
    world.ann = world.fleet.nodes[0].open_as(0, "ann", |opened| opened.address = Some(from));
    world.fleet.carry();
    world.fleet.nodes[0].read(world.ann);
    world.send(&world.name.clone());
    for core in 0..2 {
        let at = Address { core: CoreId(core), ..world.ann };
        let edict = Edict::Ban(Banned::address(from), u64::MAX);
        world.fleet.nodes[0].input(at, Input::Edict { number: 1, edict });
    }
    let carried = |world: &World| -> usize {
        world.fleet.nodes[0].effects.iter().map(|it| it.carried.len()).sum()
    };
    assert_eq!(carried(&world), 1, "what is on its way may still arrive");
    world.fleet.carry();
    assert_eq!((carried(&world), world.heard().len()), (2, 1));
}
