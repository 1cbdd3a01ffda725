//! Connections of one user on several nodes, where their number is limited.

use super::cluster::{Address, Cluster};
use super::fleet::Fleet;
use crate::config::{Config, UserOverflow};
use crate::room::broker::ToBroker;

struct World {
    fleet: Fleet,
}

fn world(overflow: UserOverflow) -> World {
    let node = |id| {
        let mut config = Config::default();
        config.redis.url = Some("redis://fake".to_owned());
        config.limits.connections_per_user = 2;
        config.limits.user_overflow = overflow;
        config.heartbeat.interval_ms = 0;
        Cluster::of_node(2, config, id)
    };
    let mut world = World { fleet: Fleet::new((3..5).map(node), 0) };
    world.fleet.restore_all();
    world
}

impl World {
    fn carry(&mut self) {
        for _ in 0..2 {
            self.fleet.carry();
            for (node, at) in std::mem::take(&mut self.fleet.store.displaced) {
                let there = self.fleet.nodes.iter().position(|it| it.id() == node).unwrap();
                self.fleet.links[there].displace(at);
            }
        }
    }

    /// Ann comes to a node; what she is told first.
    fn come(&mut self, node: usize, core: u16) -> (Address, String) {
        let at = self.fleet.nodes[node].open_as(core, "ann", |_| {});
        self.carry();
        (at, self.told(node, at))
    }

    fn told(&mut self, node: usize, at: Address) -> String {
        let told = self.fleet.nodes[node].read(at);
        let first = told.first().map(|it| it["reason"].as_str().or(it["type"].as_str()));
        first.flatten().unwrap_or("nothing").to_owned()
    }
}

#[test]
fn one_too_many_over_all_nodes_is_refused_until_one_goes() {
    let mut world = world(UserOverflow::Refuse);
    let (first, told) = world.come(0, 0);
    assert_eq!(told, "welcome");
    assert_eq!(world.come(1, 1).1, "welcome");
    assert_eq!(world.come(0, 1).1, "connection_limit");
    assert_eq!(world.come(1, 0).1, "connection_limit");
    world.fleet.nodes[0].lose(first);
    world.carry();
    assert_eq!(world.come(1, 0).1, "welcome");
}

#[test]
fn one_too_many_takes_the_place_of_the_oldest_on_whichever_node() {
    let mut world = world(UserOverflow::ReplaceOldest);
    let (first, _) = world.come(0, 0);
    let (second, _) = world.come(1, 0);
    let (_, told) = world.come(1, 1);
    assert_eq!((told, world.told(0, first)), ("welcome".to_owned(), "replaced".to_owned()));
    let (_, told) = world.come(0, 0);
    assert_eq!((told, world.told(1, second)), ("welcome".to_owned(), "replaced".to_owned()));
}

#[test]
fn who_is_the_oldest_is_known_over_another_link_too() {
    for is_cut in [false, true] {
        let mut world = world(UserOverflow::ReplaceOldest);
        // In another order than their addresses have.
        let (first, _) = world.come(0, 1);
        world.fleet.wait(1);
        if is_cut {
            world.fleet.cut(0, false);
        }
        assert_eq!(world.come(0, 0).1, "welcome");
        world.fleet.wait(1);
        world.fleet.restore(0);
        world.fleet.relink(0);
        world.carry();
        let (_, told) = world.come(1, 0);
        assert_eq!((told, world.told(0, first)), ("welcome".to_owned(), "replaced".to_owned()));
    }
}

#[test]
fn while_the_broker_is_out_of_reach_a_node_counts_its_own_and_tells_of_them_later() {
    let mut world = world(UserOverflow::Refuse);
    assert_eq!(world.come(0, 0).1, "welcome");
    let asked = world.fleet.nodes[0].open_as(1, "ann", |_| {});
    world.fleet.cut(0, false);
    assert_eq!(world.told(0, asked), "welcome", "what was asked is decided here");
    assert_eq!(world.come(0, 0).1, "connection_limit");
    world.fleet.restore(0);
    world.carry();
    assert_eq!(world.come(1, 0).1, "connection_limit");
    world.fleet.nodes[0].lose(asked);
    world.carry();
    assert_eq!(world.come(1, 0).1, "welcome");
}

#[test]
fn over_each_link_a_node_tells_of_all_that_are_there() {
    let mut world = world(UserOverflow::Refuse);
    assert_eq!(world.come(0, 0).1, "welcome");
    // This one is asked over the link before, and answered when there is another.
    let asked = world.fleet.nodes[0].open_as(1, "ann", |_| {});
    world.fleet.execute(0);
    world.fleet.relink(0);
    world.carry();
    assert_eq!(world.told(0, asked), "welcome");
    assert_eq!(world.come(1, 0).1, "connection_limit");
    world.fleet.relink(0);
    world.carry();
    assert_eq!(world.come(1, 0).1, "connection_limit");
    world.fleet.nodes[0].lose(asked);
    world.carry();
    assert_eq!(world.come(1, 0).1, "welcome");
}

#[test]
fn those_who_stay_are_told_of_again_before_redis_forgets_them() {
    let mut world = world(UserOverflow::Refuse);
    let (at, _) = world.come(0, 0);
    let half_ms = Config::default().redis.room_ttl_ms / 2;
    let held = |world: &mut World| {
        let told = std::mem::take(&mut world.fleet.nodes[0].to_broker).into_iter();
        let places = told.filter_map(|(_, message)| match message {
            ToBroker::Hold { places, all_of: None } => Some(places),
            _ => None,
        });
        places.flatten().map(|(place, _)| place.at.key).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        for ms in [half_ms - 1_000, 999] {
            world.fleet.nodes[0].wait(ms);
            assert_eq!(held(&mut world), []);
        }
        world.fleet.nodes[0].wait(1);
        assert_eq!(held(&mut world).len(), 1);
    }
    world.fleet.nodes[0].lose(at);
}
