//! What nodes say of themselves to each other, and to the operator.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::hash::Seed;

/// The forms of messages between nodes that this program reads and writes: the oldest and the newest.
pub const FORMS: RangeInclusive<u8> = 1..=1;

/// The same, or what the test suite says in place of either; 0: nothing.
#[must_use]
pub fn forms(oldest: u8, newest: u8) -> RangeInclusive<u8> {
    let or = |said: u8, known: &u8| if said == 0 { *known } else { said };
    or(oldest, FORMS.start())..=or(newest, FORMS.end())
}

/// What tells a process, whose maps hash with `seed`, from all others.
#[must_use]
pub fn id(seed: Seed) -> u64 {
    seed.hash(&"node")
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Of the program.
    pub version: Box<str>,
    /// The forms of messages that it reads and writes: the oldest and the newest.
    pub forms: (u8, u8),
    /// Where clients reach it.
    pub addresses: Vec<Box<str>>,
    /// How many cores it has.
    pub cores: u16,
    /// How many connections it holds.
    pub connections: u64,
    /// The share of its cores' time that the process has used lately, from 0 to 1.
    pub load: f32,
    /// Whether it takes more.
    pub state: State,
    /// When it began, in Unix time.
    pub started_at_ms: u64,
}

/// Whether a node takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Up,
    /// It sends those that it has away.
    Draining,
    /// It has not been heard of for too long.
    Lost,
}

/// A node, as this one knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// What tells it from others.
    pub id: u64,
    /// What it says of itself.
    pub facts: Facts,
}
