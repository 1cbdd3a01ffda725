//! What happens in a run: some of what can go wrong, now and then, while clients do what they do.

use std::time::Duration;

use super::redis::{Mood, Redis, Restart};
use super::transcript::tell;
use super::world::{NODES, ROOMS, World};
use crate::shard::tests::{Counting, cluster};

/// What Redis may lose in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Nothing,
    /// Everything at once.
    Everything,
    /// What had not come to its replica.
    Failover,
    /// What came after a copy of it was made.
    Copies,
}

impl Loss {
    pub(super) const ALL: [Self; 4] =
        [Self::Nothing, Self::Everything, Self::Failover, Self::Copies];
}

/// Which troubles there are in a run; the fewer there are, the more of the others happens.
#[derive(Debug)]
pub(super) struct Temper {
    loss: Loss,
    troubles: Vec<Trouble>,
}

type Trouble = (&'static str, fn(&mut World));

/// Those of which nobody notices anything.
const HARMLESS: [&str; 2] = ["scripts", MOVE.0];

const MOVE: Trouble = ("slots move", World::move_slots);

const TROUBLES: [Trouble; 14] = [
    ("cut", |world| {
        let (node, arrives) = (world.below(NODES), world.coin());
        world.server().cut(node, arrives);
    }),
    ("fuse", light_fuse),
    ("fuse", light_fuse),
    ("part", |world| {
        let (node, time, hangs) = (world.below(NODES), world.up_to_ms(2_500), world.coin());
        world.server().part(node, time, hangs);
    }),
    ("hang", |world| {
        let time = world.up_to_ms(1_500);
        world.server().hang(time);
    }),
    ("mood", |world| {
        let mood = [Mood::Loading, Mood::ReadOnly, Mood::Full][world.below(3)];
        let time = world.up_to_ms(1_500);
        world.server().set_mood(mood, time);
    }),
    ("scripts", |world| world.server().forget_scripts()),
    ("slow", |world| {
        let is_slow = world.coin();
        world.server().set_slow(is_slow);
    }),
    ("lag", |world| {
        let time = world.up_to_ms(2_000);
        world.server().lag(time);
    }),
    ("node hangs", |world| {
        let (node, time) = (world.below(NODES), world.up_to_ms(1_500));
        world.nodes[node].hang(time);
    }),
    ("node killed", |world| {
        if world.below(4) == 0 {
            world.replace_node();
        }
    }),
    ("client moves", World::move_client),
    ("lose", lose),
    ("lose", lose),
];

fn light_fuse(world: &mut World) {
    let (node, arrives) = (world.below(NODES), world.coin());
    world.server().light_fuse(node, arrives);
}

fn lose(world: &mut World) {
    // In a cluster, only one that has what nodes say of themselves is found out to be emptied.
    let is_restart = world.coin() || world.servers.len() > 1;
    world.witness.may_begin_anew = true;
    match world.temper.loss {
        Loss::Nothing => world.server().restart(Restart::Whole),
        Loss::Everything if is_restart => world.server().restart(Restart::Empty),
        Loss::Everything => world.server().empty(),
        Loss::Failover => {
            world.check_replica();
            world.server().restart(Restart::Replica);
        }
        Loss::Copies if is_restart => world.server().restart(Restart::Copy),
        Loss::Copies => world.server().make_copy(),
    }
}

impl World {
    /// What was acknowledged in rooms that ask for a replica is there, or was there until its life ended.
    fn check_replica(&self) {
        let acknowledged = self.witness.acknowledged.keys();
        for (room, epoch, offset) in acknowledged.filter(|(room, ..)| room.starts_with("twice:")) {
            let state = self.keys.room(&cluster::room(room)).state();
            let up_to = Redis::of(&self.servers, &state).has_come_on_replica(&state, epoch);
            assert!(up_to >= *offset, "{room} {epoch} {offset} is not on the replica: {up_to}");
        }
    }
}

impl Temper {
    pub(super) fn draw(loss: Loss, random: &mut Counting) -> Self {
        let mut troubles: Vec<_> = TROUBLES.into_iter().filter(|_| random.below(3) > 0).collect();
        if random.below(4) == 0 {
            troubles = TROUBLES.into_iter().filter(|_| random.below(8) == 0).collect();
        }
        if random.below(8) == 0 {
            troubles.retain(|(name, _)| HARMLESS.contains(name));
        }
        Self { loss, troubles }
    }

    /// Most of what happens is that slots move.
    pub(super) fn move_slots(&mut self) {
        let count = self.troubles.len() + 1;
        self.troubles.extend(std::iter::repeat_n(MOVE, count));
    }

    /// Whether nobody notices anything.
    pub(super) fn is_harmless(&self) -> bool {
        self.troubles.iter().all(|(name, _)| HARMLESS.contains(name))
    }
}

impl World {
    /// Something happens.
    pub(super) async fn step(&mut self) {
        if !self.receivers.is_empty() && self.below(40) == 0 {
            self.replace_receiver();
        }
        match self.below(40) {
            0 | 1 => {
                let at = self.below(self.temper.troubles.len().max(1));
                if let Some((name, trouble)) = self.temper.troubles.get(at) {
                    tell(|| format!("---- {name}"));
                    trouble(self);
                }
            }
            2 => {
                let ms = 50 + self.below(1_500) as u64;
                self.wait(ms).await;
            }
            3..=6 => self.come_or_go(),
            7 | 8 => self.server().replicate_now(),
            9 => {
                let room = ROOMS[self.below(ROOMS.len())];
                self.say_from_outside(room);
            }
            10..=12 => self.publish_at_once(),
            13..=25 => self.publish(),
            _ => self.read_all(),
        }
        let pause_us = [0, 200, 2_000, 20_000][self.below(4)];
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
    }
}
