//! The links that are up, and which of them leads to which slot.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::config::RedisUrl;
use crate::metrics::LinkState;
use crate::room::broker::Kept;

use super::link::Link;
use super::map::Map;
use super::refusal::Refusal;
use super::way::{Pace, Way, Ways};

/// A link, and its ways: what waits for each of its connections for commands.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) url: RedisUrl,
    pub(super) link: Link,
    pub(super) refusal: Refusal,
    /// It has answered a probe.
    pub(super) is_proven: bool,
    pub(super) ways: Ways,
}

impl Line {
    pub(super) fn new(url: RedisUrl, link: Link) -> Self {
        let (refusal, ways) = (Refusal::default(), Ways::new());
        Self { url, link, refusal, is_proven: false, ways }
    }

    pub(super) fn way(&mut self, pace: Pace) -> &mut Way {
        self.ways.of(pace)
    }
}

/// All of them, by their numbers, which no two ever share.
#[derive(Debug, Default)]
pub(super) struct Lines {
    map: Map,
    lines: BTreeMap<u64, Line>,
    /// The line of each primary of the map.
    owners: Vec<Option<u64>>,
}

impl Lines {
    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    /// The servers are others; how it was before.
    pub(super) fn set_map(&mut self, map: Map) -> Map {
        let before = std::mem::replace(&mut self.map, map);
        self.settle();
        before
    }

    pub(super) fn insert(&mut self, number: u64, line: Line) {
        self.lines.insert(number, line);
        self.settle();
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Line> {
        let line = self.lines.remove(&number)?;
        self.settle();
        Some(line)
    }

    fn settle(&mut self) {
        let line =
            |url: &RedisUrl| self.lines.iter().find(|(_, line)| line.url == *url).map(|it| *it.0);
        self.owners = self.map.primaries().iter().map(line).collect();
    }

    /// The line to a slot.
    pub(super) fn of(&self, slot: u16) -> Option<u64> {
        self.owners.get(self.map.owner(slot)?).copied().flatten()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Line> {
        self.lines.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Line> {
        self.lines.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Line)> {
        self.lines.iter().map(|(number, line)| (*number, line))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.lines.values_mut()
    }

    /// The numbers of all.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.lines.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Servers to which there is no line.
    pub(super) fn missing(&self) -> Vec<RedisUrl> {
        let pairs = self.map.primaries().iter().zip(&self.owners);
        pairs.filter(|(_, owner)| owner.is_none()).map(|(url, _)| url.clone()).collect()
    }

    /// Whether there is a line to every server, and each has answered a probe.
    pub(super) fn are_proven(&self) -> bool {
        !self.owners.contains(&None) && self.lines.values().all(|line| line.is_proven)
    }

    /// Lines to what is no primary any more.
    pub(super) fn needless(&self) -> Vec<u64> {
        let is_needless = |url: &RedisUrl| !self.map.primaries().contains(url);
        self.iter().filter(|(_, line)| is_needless(&line.url)).map(|(number, _)| number).collect()
    }

    /// How it is as a whole, now; `trouble` is what was wrong last.
    pub(super) fn state(&self, trouble: LinkState, now: Instant) -> LinkState {
        if self.lines.is_empty() {
            trouble
        } else if !self.map.is_whole() {
            LinkState::ClusterDown
        } else if self.owners.contains(&None) {
            LinkState::Partial
        } else {
            let refused = self.lines.values().find_map(|line| line.refusal.state(now));
            refused.unwrap_or(LinkState::Up)
        }
    }

    /// How safe all of them keep things.
    pub(super) fn kept(&self) -> Kept {
        self.lines.values().map(|line| line.link.kept).reduce(Kept::and).unwrap_or_default()
    }
}
