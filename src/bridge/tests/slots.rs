//! A slot moves while something of it is on its way.

use std::time::Duration;

use serde_json::json;

use super::seeds::on_still_clock;
use super::trouble::Loss;
use super::world::World;
use crate::bridge::map;
use crate::bridge::nodes::node_name;

/// Nodes on a cluster, and some clients in a room.
async fn with(clients: &[usize], room: &str) -> World {
    let mut world = World::on_moving_slots(0, Loss::Nothing);
    world.wait(1_000).await;
    world.read_all();
    for &who in clients {
        world.say(who, &json!({"type": "join", "room": room, "id": format!("join {room}")}));
        world.wait(200).await;
    }
    world.wait(1_000).await;
    world.read_all();
    world
}

#[test]
fn what_waits_for_a_replica_where_the_slot_was_is_not_overtaken() {
    on_still_clock(async {
        let mut world = with(&[0, 1], "twice:c").await;
        let from = world.owner("twice:c");
        world.servers[from].lag(Duration::from_secs(2));
        // The first waits for the replica, the second for the first.
        for _ in 0..2 {
            world.publish_in(0, "twice:c");
            world.wait(20).await;
        }
        world.move_room("twice:c").await;
        world.wait(100).await;
        world.publish_in(0, "twice:c");
        world.wait(2_000).await;
        world.read_all();
        assert_eq!(world.witness.acknowledged.len(), 2, "all but what was on no replica");
        world.witness.check_rest();
    });
}

#[test]
fn what_a_home_has_said_where_the_slot_was_is_said_again_when_that_line_ends() {
    on_still_clock(async {
        let mut world = with(&[0, 1], "b").await;
        let from = world.owner("b");
        world.servers[from].hold_commands(0, Duration::from_secs(3));
        world.say(3, &json!({"type": "join", "room": "b", "id": "join b"}));
        world.wait(20).await;
        world.move_room("b").await;
        world.wait(200).await;
        world.servers[from].cut_ears(0);
        world.wait(5_000).await;
        world.say(1, &json!({"type": "presence", "room": "b", "id": "presence b"}));
        world.wait(500).await;
        world.read_all();
        let there = world.witness.presence[&(1, "b")].as_array().expect("a list").len();
        assert_eq!(there, 3, "as another node has heard");
    });
}

#[test]
fn a_link_stays_when_the_slot_moves_on_which_a_node_hears_itself() {
    on_still_clock(async {
        let world = with(&[0, 1], "b").await;
        let node = world.nodes[0].with(|cluster| cluster.id());
        let slot = map::slot(world.keys.node(&node_name(node)).as_bytes());
        let before = world.nodes[0].metrics.connects.get();
        // It says something to itself before it listens where the slot is now.
        for redis in &world.servers {
            redis.hold_ears(0, Duration::from_millis(700));
        }
        world.move_slot(slot).await;
        world.wait(5_000).await;
        assert_eq!(world.nodes[0].metrics.connects.get(), before);
    });
}
