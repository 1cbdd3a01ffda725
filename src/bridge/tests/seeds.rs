//! Runs.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::redis::Redis;
use super::transcript::{self, Transcript};
use super::trouble::Loss;
use super::world::World;
use crate::bridge::run::watched;
use crate::clock::Moment;
use crate::id::CoreId;
use crate::mesh;

/// After so many runs that fail there are no more.
const FAILURES_MAX: usize = 4;

pub(super) fn on_still_clock<R>(run: impl Future<Output = R>) -> R {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("the kernel gives descriptors"), run)
}

/// How a run begins.
type Begin = fn(u64, Loss) -> World;

/// A run; what it was like.
async fn run(begin: Begin, seed: u64) -> Vec<Transcript> {
    let loss = Loss::ALL[usize::try_from(seed % 4).expect("it is small")];
    transcript::begin(usize::try_from(given("RINGROOM_SIM_STEPS").unwrap_or(0)).unwrap_or(0));
    let mut world = begin(seed, loss);
    world.wait(1_000).await;
    world.read_all();
    for _ in 0..400 {
        world.step().await;
    }
    world.rest().await;
    world.end().await;
    let servers = world.servers.iter().map(Redis::transcript);
    servers.chain([world.told]).collect()
}

/// Runs, one for each seed; those that fail are told.
fn run_all(begin: Begin, seeds: std::ops::Range<u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        if catch_unwind(AssertUnwindSafe(|| on_still_clock(run(begin, seed)))).is_err() {
            let steps = transcript::last().join("\n");
            failed.push(format!("seed {seed}\n{steps}"));
            if failed.len() == FAILURES_MAX {
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} runs fail:\n{}", failed.len(), failed.join("\n"));
}

/// A number that the environment gives.
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds_at_length() -> std::ops::Range<u64> {
    let first = given("RINGROOM_SIM_SEED").unwrap_or(1_000);
    first..first + given("RINGROOM_SIM_SEEDS").unwrap_or(10_000)
}

#[test]
fn bridges_keep_nodes_in_step_whatever_redis_does() {
    run_all(World::new, 0..50);
}

#[test]
fn bridges_keep_nodes_in_step_while_slots_move() {
    run_all(World::on_moving_slots, 0..50);
}

#[test]
#[ignore = "the long form"]
fn bridges_keep_nodes_in_step_whatever_redis_does_at_length() {
    run_all(World::new, seeds_at_length());
}

#[test]
fn bridges_keep_patterns_whole_whatever_redis_does() {
    run_all(World::with_patterns, 0..12);
}

#[test]
#[ignore = "the long form"]
fn bridges_keep_patterns_whole_whatever_redis_does_at_length() {
    run_all(World::with_patterns, seeds_at_length());
}

#[test]
#[ignore = "the long form"]
fn bridges_keep_nodes_in_step_while_slots_move_at_length() {
    run_all(World::on_moving_slots, seeds_at_length());
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let begins: [Begin; 2] = [World::new, World::on_moving_slots];
    for (begin, seed) in begins.into_iter().flat_map(|begin| (6..10).map(move |seed| (begin, seed)))
    {
        let first = on_still_clock(run(begin, seed));
        assert!(first.iter().all(|transcript| transcript.lines > 100), "{first:?}");
        assert_eq!(first, on_still_clock(run(begin, seed)), "seed {seed}");
    }
}

#[test]
fn who_moves_hears_a_backend_from_each_node_that_they_come_to() {
    on_still_clock(async {
        let mut world = World::new(0, Loss::Nothing);
        world.wait(1_000).await;
        world.read_all();
        world.say(0, &json!({"type": "join", "room": "b", "id": "join b"}));
        world.wait(500).await;
        world.servers[0].hold_backends(1, Duration::from_secs(1));
        let said = world.say_from_outside("b");
        world.wait(400).await;
        world.read_all();
        world.move_to(0, 1);
        for nodes in [[0].as_slice(), &[0, 1]] {
            world.wait(400).await;
            world.read_all();
            assert!(world.witness.clients[0].places.contains_key("b"));
            assert_eq!(world.witness.foreign[&said][&0], nodes.iter().copied().collect());
        }
    });
}

#[test]
fn who_comes_back_to_a_node_without_redis_keeps_the_session_when_it_is_there_again() {
    on_still_clock(async {
        let mut world = World::new(0, Loss::Nothing);
        world.wait(2_500).await;
        world.read_all();
        let session = world.witness.clients[0].session.clone();
        world.servers[0].part(0, Duration::from_secs(3), false);
        // To one that passes over the first, back there, and after a while away again.
        for (node, ms) in [(1, 500), (0, 5_000), (2, 2_500)] {
            world.wait(100).await;
            world.move_to(0, node);
            world.wait(ms).await;
            // Nobody is replaced, or that would be found out.
            world.read_all();
            let client = &world.witness.clients[0];
            assert!(client.is_here, "they are welcomed by {node}");
            assert_eq!(client.session, session, "at {node}");
        }
    });
}

#[test]
fn a_bell_that_was_rung_is_heard_before_time_passes() {
    on_still_clock(async {
        let plan = mesh::Plan { parties: 2, inbox_batches: 1, backlog_bytes: 1 };
        let mut ports = mesh::build(plan).expect("the kernel gives descriptors");
        let bell = ports[1].doorbell_fd().try_clone_to_owned().and_then(watched);
        let bell = bell.expect("the runtime watches descriptors");
        assert!(ports[1].fall_asleep());
        let heard = tokio::task::spawn_local(async move {
            bell.readable().await.expect("it is watched").clear_ready();
            Instant::now()
        });
        tokio::task::yield_now().await;
        let rung = Instant::now();
        ports[0].post(CoreId(1), "a letter", 1).expect("it is there");
        assert_eq!(ports[0].deliver(Moment::default()).rings, 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(heard.await.expect("it does not panic"), rung);
    });
}
