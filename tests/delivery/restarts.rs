//! Hot restarts: two ports over one Redis, at each of which one process after another takes over from
//! the one before, which drains; everybody goes on with their session wherever they come in.
//!
//! The long form, on a machine to itself:
//!
//!     RESTARTS=100 cargo test --test delivery restarts -- --nocapture

use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::run::{self, Run, Size};
use crate::server::Server;
use crate::store::{Store, is_missing};
use crate::verdict::Excuses;

const PORTS: usize = 2;
const WINDOW_MS: u64 = 500;
/// Between two restarts: some of those sent away have come back, some have not.
const PAUSE: Duration = Duration::from_millis(700);

/// What is to be restarted.
pub(crate) struct Restarts {
    url: String,
    count: usize,
    nodes: Vec<Server>,
    /// How long each drain took.
    took: Vec<Duration>,
}

impl Restarts {
    fn node(url: &str, port: u16) -> Server {
        let window = format!("drain.window_ms={WINDOW_MS}");
        // How soon Redis answers on a machine that is busy is not what is tried here.
        let patient = "redis.timeout_ms=5000";
        // Some come back to a room after minutes, and what they missed has to fit into their queue: else
        // the room is not recovered, and says so.
        let roomy = "limits.outbox_bytes=16777216";
        Server::node_at(port, url, &["tcp.share_port=true", patient, roomy, &window])
    }
}

/// Takes over the ports in turn.
pub(crate) async fn restart(restarts: &mut Restarts, run: &Run) {
    for round in 0..restarts.count {
        run.round.set(round + 1);
        let node = &mut restarts.nodes[round % PORTS];
        let (url, port) = (restarts.url.clone(), node.address.port());
        let new = spawn_blocking(move || Restarts::node(&url, port)).await.unwrap();
        let mut old = std::mem::replace(node, new);
        let took = spawn_blocking(move || {
            let began = Instant::now();
            assert_eq!(old.terminated(), Some(0), "how a drain ended");
            began.elapsed()
        });
        restarts.took.push(took.await.unwrap());
        sleep(PAUSE).await;
    }
}

#[test]
fn nothing_is_lost_while_processes_take_over_from_each_other() {
    if is_missing() {
        return;
    }
    let count = std::env::var("RESTARTS").map_or(2, |count| count.parse().unwrap());
    let size = Size {
        publishers: 8,
        rooms: 20,
        connections: 200,
        seconds: 1,
        pause_ms: 1_500,
        every_ms: 60,
        seed: 4,
    };
    let store = Store::start(&[]);
    let nodes: Vec<_> = (0..PORTS).map(|_| Restarts::node(&store.url(), 0)).collect();
    let addresses = nodes.iter().map(|node| node.address).collect();
    let mut restarts = Restarts { url: store.url(), count, nodes, took: Vec::new() };
    let outcome = run::run(&size, addresses, run::Happening::Restarts(&mut restarts));
    assert!(restarts.nodes.iter_mut().all(Server::is_running), "a node ended");
    let slowest = restarts.took.iter().max();
    println!("{count} restarts, the slowest drain {slowest:?}: {:?}", outcome.knocks);
    let tally = crate::judged(&size, &outcome, Excuses::default());
    // In a few seconds hardly anybody leaves a room and joins it again from where they stood.
    if count >= 10 {
        crate::something_happened(&tally);
    }
    assert_eq!(outcome.knocks.refused, 0, "nobody listened");
    let sent_away = count * (size.connections / PORTS) / 2;
    assert!(tally.resumed > sent_away as u64, "few of those sent away came back");
}
