//! What clients know of their sessions, which outlive their connections.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stay::Stay;
use crate::truth::{Interest, Reader, RoomId};

/// What a session was left with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Who had it.
    pub(crate) reader: Reader,
    pub(crate) stays: BTreeMap<RoomId, Stay>,
    /// Rooms that it may be in or not.
    pub(crate) unsure: BTreeSet<RoomId>,
    /// Up to where it has said that it had taken rooms in.
    pub(crate) claimed: BTreeMap<RoomId, u64>,
    /// Patterns that it may receive; none: unknown.
    pub(crate) patterns: Option<Vec<(String, Interest)>>,
    /// What its connections were called; none: unknown.
    pub(crate) names: Option<Vec<String>>,
    /// Several connections had a hand in it, so nobody knows where it is.
    pub(crate) is_vague: bool,
    /// None: unknown.
    pub(crate) state: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) person: (u32, Option<String>),
    /// The connection that was welcomed with it last.
    pub(crate) holder: usize,
    /// When that one was lost, and what it left.
    pub(crate) lost: Option<(u64, Kept)>,
    /// Connections that asked for it and were not welcomed yet.
    pub(crate) askers: BTreeSet<usize>,
    /// Rooms that those asked for on their way who went without a welcome.
    pub(crate) paths: BTreeSet<RoomId>,
    /// More than one has asked at a time, so nobody knows who gets it.
    pub(crate) contested: bool,
    /// One that asked went without a welcome: what it left is anyone's guess but the rooms.
    pub(crate) aborted: bool,
}

/// All sessions, by their secrets.
pub(crate) type Sessions = BTreeMap<String, Session>;
