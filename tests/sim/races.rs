//! A mute, a ban or a revocation, by a room's moderator or by the operator, raced against what it
//! forbids. Once it is answered nothing more of whom it is about is published, wherever it was on its
//! way, and whom the operator has shut out does not come in again. Where that is about what was made
//! before a moment, a credential of that moment is good, and all that is asked by it is answered.
//!
//! `RINGROOM_SIM_RACES` says how many races there are.

use ringroom::auth::ban::Banned;
use ringroom::auth::{Revocation, Revoked};
use ringroom::id::ConnectionAddress;
use ringroom::shard::Edict;
use serde_json::json;

use crate::doors::{Cluster, address_of};
use crate::{first_seed, number_of};

/// Races of a test run.
const RACES: u64 = 1_500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Mute,
    Ban,
    RevokeToken,
    RevokeUser,
    RevokeAll,
    Suspend,
    ShutOutUser,
    ShutOutAddress,
}

const DECISIONS: [Decision; 8] = [
    Decision::Mute,
    Decision::Ban,
    Decision::RevokeToken,
    Decision::RevokeUser,
    Decision::RevokeAll,
    Decision::Suspend,
    Decision::ShutOutUser,
    Decision::ShutOutAddress,
];

/// Who talks.
const TALKER: &str = "t0/bob/b";

/// A room with its moderator and somebody who talks, on several connections.
struct Race {
    cluster: Cluster,
    moderator: ConnectionAddress,
    talkers: Vec<ConnectionAddress>,
    room: &'static str,
    /// Cores that have not been told of the edict.
    untold: Vec<usize>,
    /// Credentials are taken back that were made before that, as those of all who are there.
    issued_before_ms: u64,
}

impl Race {
    fn new(seed: u64) -> Self {
        let mut cluster = Cluster::new(u16::try_from(seed % 4 + 1).expect("few"), seed);
        // One that inherits asks another room first, so what is asked of it may have to wait.
        let room = *cluster.random.pick(&["room", "above/room"]);
        let moderator = cluster.open("t0/ann/a", None).expect("she is let in");
        cluster.rest();
        let config = json!({ "persistent": true, "parent_inherit": room.contains('/') });
        cluster.say(moderator, &json!({ "type": "room.create", "room": room, "config": config }));
        cluster.rest();
        let talkers: Vec<_> = (0..cluster.random.between(1, 3))
            .map(|_| cluster.open(TALKER, None).expect("he is let in"))
            .collect();
        cluster.rest();
        for at in &talkers {
            cluster.say(*at, &json!({ "type": "join", "room": room }));
        }
        cluster.rest();
        cluster.hear(moderator);
        let issued_before_ms = *cluster.random.pick(&[cluster.now_ms(), u64::MAX]);
        Self { cluster, moderator, talkers, room, untold: Vec::new(), issued_before_ms }
    }

    fn talk(&mut self) {
        let at = *self.cluster.random.pick(&self.talkers);
        let publish = json!({ "type": "publish", "room": self.room, "data": 1 });
        self.cluster.say(at, &publish);
    }

    fn decide(&mut self, decision: Decision) {
        let kind = match decision {
            Decision::Mute => "room.mute",
            Decision::Ban => "room.ban",
            _ => {
                if decision == Decision::Suspend {
                    let tenant = self.cluster.tenants.find("t0").expect("there is one");
                    self.cluster.tenants.get(tenant).suspend(true);
                }
                self.untold = (0..self.cluster.cores()).collect();
                return;
            }
        };
        let command = json!({ "type": kind, "id": 7, "room": self.room, "user": "bob" });
        self.cluster.say(self.moderator, &command);
    }

    fn edict(&self, decision: Decision) -> Edict {
        let tenant = self.cluster.tenants.find("t0").expect("there is one");
        let what = match decision {
            Decision::RevokeToken => Revoked::Token("b".into()),
            Decision::RevokeUser => Revoked::User("bob".into()),
            Decision::RevokeAll => Revoked::Tenant,
            Decision::ShutOutUser => {
                return Edict::Ban(Banned::User(tenant, "bob".into()), u64::MAX);
            }
            Decision::ShutOutAddress => {
                return Edict::Ban(Banned::address(address_of(TALKER)), u64::MAX);
            }
            _ => return Edict::Suspend(tenant),
        };
        let (issued_before_ms, until_ms) = (self.issued_before_ms, u64::MAX);
        Edict::Revoke(Revocation { tenant, what, issued_before_ms, until_ms })
    }

    /// Whether the decision has been answered.
    fn is_answered(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Mute | Decision::Ban => {
                let heard = self.cluster.hear(self.moderator);
                heard.iter().any(|message| message["id"] == 7 && message["type"] == "ok")
            }
            _ => self.cluster.carried == self.cluster.cores(),
        }
    }

    fn run(mut self, decision: Decision) -> Result<u64, String> {
        let before = self.cluster.random.below(12);
        for _ in 0..before {
            self.chance();
        }
        self.decide(decision);
        for _ in 0..10_000 {
            if self.is_answered(decision) {
                let base = self.cluster.published();
                for _ in 0..5 {
                    self.chance();
                }
                self.cluster.rest();
                let after = self.cluster.published();
                // What a moderator decides is about the room alone.
                let is_operator_s = !matches!(decision, Decision::Mute | Decision::Ban);
                for _ in 0..self.cluster.cores() {
                    if is_operator_s && self.cluster.open(TALKER, None).is_some() {
                        return Err(format!("{decision:?}: they came in again"));
                    }
                }
                if after != base {
                    return Err(format!("{decision:?}: {} passed after the ok", after - base));
                }
                let is_of_age = matches!(decision, Decision::RevokeUser | Decision::RevokeAll);
                if is_of_age && self.issued_before_ms < u64::MAX {
                    self.come_anew().map_err(|what| format!("{decision:?}: {what}"))?;
                }
                return Ok(base);
            }
            if !self.untold.is_empty() && self.cluster.random.percent(20) {
                let at = self.cluster.random.below(self.untold.len());
                let core = self.untold.swap_remove(at);
                let edict = self.edict(decision);
                self.cluster.edict(core, &edict);
            }
            self.chance();
        }
        Err(format!("{decision:?}: it was never answered"))
    }

    /// Somebody comes with a credential that is just not old enough to be taken back.
    fn come_anew(&mut self) -> Result<(), String> {
        self.cluster.wait(1);
        let Some(at) = self.cluster.open(TALKER, None) else {
            return Err("who was made later is kept out, too".to_owned());
        };
        self.cluster.rest();
        self.cluster.hear(at);
        let publish = json!({ "type": "publish", "id": 2, "room": self.room, "data": 1 });
        self.cluster.say(at, &json!({ "type": "join", "id": 1, "room": self.room }));
        self.cluster.say(at, &publish);
        self.cluster.rest();
        let heard = self.cluster.hear(at);
        let answers = heard.iter().filter(|it| it["id"].is_number());
        let answers: Vec<_> = answers.map(|it| (&it["id"], &it["type"])).collect();
        let is_answered = answers == [(&json!(1), &json!("ok")), (&json!(2), &json!("ok"))];
        if is_answered { Ok(()) } else { Err(format!("who came anew heard {heard:?}")) }
    }

    /// Something happens: somebody talks, or something arrives.
    fn chance(&mut self) {
        if self.cluster.random.percent(40) {
            self.talk();
        } else {
            self.cluster.step();
        }
    }
}

#[test]
fn nothing_passes_after_the_answer_to_a_decision() {
    let (first, count) = (first_seed(), number_of("RINGROOM_SIM_RACES").unwrap_or(RACES));
    let mut published = 0;
    for seed in first..first + count {
        for decision in DECISIONS {
            match Race::new(seed).run(decision) {
                Ok(before) => published += before,
                Err(what) => panic!("seed {seed}: {what}"),
            }
        }
    }
    assert!(published > count, "they did talk before: {published}");
}
