//! The two ends of a stay, raced against what is published: where a recovery meets the live stream
//! there is no gap and no repeat, and after the answer to a leave there is nothing at all.
//!
//! `RINGROOM_SIM_SEAMS` says how often somebody comes back and leaves.

use ringroom::id::ConnectionAddress;
use serde_json::{Value, json};

use crate::doors::Cluster;
use crate::{Checked, first_seed, number_of};

/// Stays of a test run.
const SEAMS: u64 = 2_000;
/// Stays in one room, before another cluster begins.
const STAYS: u64 = 50;
/// Publications that the room keeps: fewer than may be missed, so that some are trimmed.
const KEPT: u64 = 30;

/// A room that is published to all the time, and somebody who comes and goes.
struct Seam {
    cluster: Cluster,
    author: ConnectionAddress,
    reader: ConnectionAddress,
    /// The last that the reader has seen.
    seen: u64,
    epoch: Value,
    /// What was recovered, what was not, and what came live.
    counts: [u64; 3],
}

impl Seam {
    fn new(seed: u64) -> Self {
        let mut cluster = Cluster::new(u16::try_from(seed % 4 + 1).expect("few"), seed);
        let author = cluster.open("t0/ann/a", None).expect("she is let in");
        let reader = cluster.open("t0/bob/b", None).expect("he is let in");
        cluster.rest();
        let config = json!({ "mode": "reliable", "history_size": KEPT });
        cluster.say(author, &json!({ "type": "room.create", "room": "r", "config": config }));
        cluster.rest();
        cluster.say(author, &json!({ "type": "join", "id": 1, "room": "r" }));
        cluster.rest();
        let heard = cluster.hear(author);
        let joined = heard.iter().find(|it| it["id"] == 1).expect("it is answered");
        let epoch = joined["epoch"].clone();
        cluster.hear(reader);
        Self { cluster, author, reader, seen: 0, epoch, counts: [0; 3] }
    }

    /// Something is published, or something that is on its way arrives.
    fn chance(&mut self) {
        if self.cluster.random.percent(35) {
            // Slowly enough for the author's rate.
            self.cluster.wait(20);
            self.cluster.say(self.author, &json!({ "type": "publish", "room": "r", "data": 1 }));
        } else {
            self.cluster.step();
        }
    }

    fn some_chances(&mut self, most: u64) {
        for _ in 0..self.cluster.random.between(0, most) {
            self.chance();
        }
    }

    /// What the reader is told until its command is answered, and a little longer.
    fn ask(&mut self, message: &Value) -> Checked<Vec<Value>> {
        self.cluster.say(self.reader, message);
        let mut heard = Vec::new();
        for _ in 0..10_000 {
            self.chance();
            heard.extend(self.cluster.hear(self.reader));
            if heard.iter().any(|it| it["id"] == message["id"]) {
                self.some_chances(20);
                heard.extend(self.cluster.hear(self.reader));
                return Ok(heard);
            }
        }
        Err("it was never answered".into())
    }

    /// Comes back, stays a little, leaves: everything in order.
    fn stay(&mut self) -> Checked {
        self.some_chances(40);
        let since = json!({ "epoch": self.epoch, "offset": self.seen });
        let heard = self.ask(&json!({ "type": "join", "id": 2, "room": "r", "since": since }))?;
        let joined = heard.iter().position(|it| it["id"] == 2).ok_or("no answer")?;
        if joined > 0 {
            return Err(format!("{} comes before the answer to the join", heard[0]));
        }
        let last = heard[0]["offset"].as_u64().ok_or_else(|| heard[0].to_string())?;
        let mut next = self.seen + 1;
        if heard[0]["recovered"] == true {
            self.counts[0] += 1;
        } else {
            if last <= self.seen + KEPT {
                return Err(format!("not recovered from {} of {last}", self.seen));
            }
            self.counts[1] += 1;
            next = last + 1;
        }
        self.take(&heard[1..], &mut next)?;
        let heard = self.ask(&json!({ "type": "leave", "id": 3, "room": "r" }))?;
        let left = heard.iter().position(|it| it["id"] == 3).ok_or("no answer")?;
        self.take(&heard[..left], &mut next)?;
        self.seen = next - 1;
        self.cluster.rest();
        let mut late = heard[left + 1..].to_vec();
        late.extend(self.cluster.hear(self.reader));
        self.cluster.hear(self.author);
        if late.is_empty() { Ok(()) } else { Err(format!("after the ok of the leave: {late:?}")) }
    }

    fn take(&mut self, heard: &[Value], next: &mut u64) -> Checked {
        for message in heard {
            if message["type"] != "message" || message["offset"] != *next {
                return Err(format!("{message} in place of {next}"));
            }
            self.counts[2] += 1;
            *next += 1;
        }
        Ok(())
    }
}

#[test]
fn a_recovery_meets_the_live_stream_and_a_leave_ends_it() {
    let (first, count) = (first_seed(), number_of("RINGROOM_SIM_SEAMS").unwrap_or(SEAMS));
    let mut counts = [0; 3];
    for seed in first..first + count.div_ceil(STAYS) {
        let mut seam = Seam::new(seed);
        for stay in 0..STAYS {
            if let Err(what) = seam.stay() {
                panic!("seed {seed}, stay {stay}: {what}");
            }
        }
        counts = std::array::from_fn(|at| counts[at] + seam.counts[at]);
    }
    assert!(counts.iter().all(|it| *it > count / 20), "all of it is to be tried: {counts:?}");
}
