//! Delivery as clients see it, judged afterwards, in the manner of Jepsen: the real binary, clients
//! that come, go, stall, are cut and come back, a note of all they sent and received, and a verdict
//! that knows nothing but those notes.
//!
//! The long form, a minute for each number of cores:
//!
//!     cargo test --test delivery -- --ignored --nocapture --test-threads 1

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a run says what it amounted to")]

mod client;
mod doors;
mod history;
mod link;
mod nodes;
mod people;
mod proxy;
mod random;
mod reader;
mod restarts;
mod run;
mod server;
mod stay;
#[path = "../redis/store.rs"]
#[allow(dead_code, reason = "what is shared with the tests of Redis is not all used here")]
mod store;
mod trouble;
mod truth;
mod verdict;

mod planted;

use std::collections::BTreeMap;

use run::{Happening, Outcome, Size};
use server::Server;
use verdict::{Excuses, Tally};

/// Ten seconds, as CI has them.
fn short(cores: usize) {
    let size = Size {
        publishers: 8,
        rooms: 20,
        connections: 300,
        seconds: 10,
        pause_ms: 1_500,
        every_ms: 40,
        seed: 1,
    };
    on_cores(cores, &size);
}

/// One server, which has nothing to hide behind.
fn on_cores(cores: usize, size: &Size) {
    let mut server = Server::start(cores);
    let outcome = run::run(size, vec![server.address], Happening::Nothing);
    assert!(server.is_running(), "the server ended");
    println!("on {cores} cores");
    let tally = judged(size, &outcome, Excuses::default());
    for (room, (said, counted)) in outcome.present.iter().enumerate() {
        assert_eq!(said, counted, "users of room {room}: who says to be there, who is counted");
    }
    something_happened(&tally);
}

/// Of each kind.
const FAULTS_SHOWN: usize = 12;

/// What a run amounted to, if it was sound.
fn judged(size: &Size, outcome: &Outcome, excuses: Excuses) -> Tally {
    let (findings, tally) = verdict::verdict(&outcome.histories, &outcome.promises, excuses);
    println!("{size:?}\n{tally:?}");
    let mut kinds = BTreeMap::<_, Vec<_>>::new();
    for finding in &findings {
        kinds.entry(finding.kind()).or_default().push(finding);
    }
    for (kind, found) in kinds {
        let mut rounds = BTreeMap::<_, usize>::new();
        for finding in &found {
            *rounds.entry(finding.round).or_default() += 1;
        }
        println!("{} of {kind}, by restart: {rounds:?}", found.len());
        for finding in found.iter().take(FAULTS_SHOWN) {
            println!("  {finding:?}");
        }
        let first = found[0];
        if let Some(place) = first.fault.place() {
            verdict::show(&outcome.histories[first.client], place);
        }
    }
    assert!(findings.is_empty(), "{} faults; the first are above", findings.len());
    tally
}

/// A run in which nothing happened proves nothing.
fn something_happened(tally: &Tally) {
    for (what, count) in [
        ("published", tally.published),
        ("delivered", tally.delivered),
        ("gaps", tally.gaps),
        ("resumed", tally.resumed),
        ("recovered", tally.recovered),
        ("left", tally.left),
    ] {
        assert!(count > 0, "nothing was {what}");
    }
}

#[test]
fn on_one_core() {
    short(1);
}

#[test]
fn on_two_cores() {
    short(2);
}

#[test]
fn on_four_cores() {
    short(4);
}

#[test]
#[ignore = "three minutes, and a machine to itself"]
fn two_thousand_connections_for_a_minute() {
    for cores in [1, 2, 4] {
        let size = Size {
            publishers: 8,
            rooms: 20,
            connections: 2_000,
            seconds: 60,
            pause_ms: 5_000,
            every_ms: 80,
            seed: 2,
        };
        on_cores(cores, &size);
    }
}
