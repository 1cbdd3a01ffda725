//! The nodes on this Redis: which there are, and which are no more.
//!
//! A node is believed to live for a while after each of its beats; all is told by Redis' clock. Who is
//! missing in a beat's answer is no more, if that beat was sent after the node was last heard of, and
//! if this node's own beats have been answered for as long as a living one would need to be heard of
//! again: whatever keeps this node from beating may keep the others from it.
//!
//! Invariants: a node that keeps beating, or is kept from it with all others, is not taken for one that is
//! no more; one that has stopped is found by every other within `redis.lease_ms`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::node::{Facts, Known, State};

use super::time;

/// Other nodes that are looked after.
const NODES_MAX: usize = 4_096;

/// A node as it stands in Redis.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) node: u64,
    pub(super) lives: bool,
    /// Its link, by its own count.
    pub(super) link: u64,
    pub(super) facts: Option<Facts>,
}

/// A beat that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Which, of all of this process.
    pub(super) number: u64,
    pub(super) at: Instant,
}

/// What is known of them.
#[derive(Debug)]
pub(super) struct Nodes {
    own: u64,
    lease_ms: u64,
    /// What this node says of itself, once it is known.
    facts: Option<Facts>,
    beats: u64,
    /// Since when beats are answered over the present link.
    steady_since: Instant,
    /// When the last one was sent that was answered.
    answered: Option<Instant>,
    /// Its beats were not answered for long, and all links stayed.
    has_paused: bool,
    /// Redis did not know of it any more, over a link by which it had beaten.
    is_forgotten: bool,
    /// Counts links to any server.
    links: u64,
    /// The one over which all places of this node's users were told: what was told over those before it
    /// is void.
    held: u64,
    /// The links of all nodes that live, as the last beat told.
    living: BTreeMap<u64, u64>,
    /// Other nodes of whom something may be about, and the first beat that may say that they are no
    /// more.
    expected: BTreeMap<u64, u64>,
    /// As the last beat told.
    known: Vec<Known>,
}

impl Nodes {
    pub(super) fn new(own: u64, lease_ms: u64) -> Self {
        Self {
            own,
            lease_ms,
            facts: None,
            beats: 0,
            steady_since: time::now(),
            answered: None,
            has_paused: false,
            is_forgotten: false,
            links: 0,
            held: 0,
            living: BTreeMap::new(),
            expected: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    /// How often a beat is due.
    pub(super) fn beat_every(lease_ms: u64) -> Duration {
        Duration::from_millis(lease_ms / 8)
    }

    /// How long a beat is worth. The rest of the lease is for those who have to find out.
    pub(super) fn believed_ms(&self) -> u64 {
        self.lease_ms * 3 / 4
    }

    /// There is a link to another server that has what nodes say of themselves. It may have lost some
    /// of it.
    pub(super) fn are_elsewhere(&mut self) {
        self.is_forgotten = false;
        self.steady_since = time::now();
        self.answered = None;
    }

    /// There is a link that was not there before.
    pub(super) fn next_link(&mut self) {
        self.links += 1;
        self.living.insert(self.own, self.held);
    }

    /// All places of this node's users are told over the present link.
    pub(super) fn hold(&mut self) {
        self.held = self.links;
        self.living.insert(self.own, self.held);
    }

    pub(super) fn link(&self) -> u64 {
        self.links
    }

    /// Whether all places of this node's users are told over the present link.
    pub(super) fn is_held(&self) -> bool {
        self.held == self.links
    }

    /// Whether its beats were not answered for long since the last call, though no link has ended: others
    /// may have taken it for one that is no more.
    pub(super) fn take_pause(&mut self) -> bool {
        std::mem::take(&mut self.has_paused)
    }

    /// Redis had not heard of this node before a beat.
    pub(super) fn heed_loss(&mut self) {
        self.is_forgotten |= self.answered.is_some();
    }

    /// Whether Redis has lost since the last call that this node is there.
    pub(super) fn take_loss(&mut self) -> bool {
        std::mem::take(&mut self.is_forgotten)
    }

    /// The same of all nodes that live.
    pub(super) fn links(&self) -> Vec<String> {
        self.living.iter().map(|(node, link)| format!("{}.{link}", node_name(*node))).collect()
    }

    /// Whether every node that lives has had the time to be heard of since this one could beat again.
    pub(super) fn is_sure(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.steady_since) >= Duration::from_millis(self.lease_ms)
    }

    /// A beat was answered. If the one before it was sent long ago, others may have lapsed meanwhile for
    /// the same reason, and since each had its last beat a little earlier, sooner than this node.
    fn heed_pause(&mut self, sent: Instant, now: Instant) {
        let usual = Duration::from_millis(self.lease_ms / 2);
        let is_late = |last: Instant| now.saturating_duration_since(last) > usual;
        self.has_paused |= self.answered.is_some_and(is_late);
        if self.answered.is_none_or(is_late) {
            self.steady_since = now;
        }
        self.answered = self.answered.max(Some(sent));
    }

    /// All that live, this one among them, as the last beat told.
    pub(super) fn living(&self) -> impl Iterator<Item = u64> {
        self.living.keys().copied()
    }

    pub(super) fn say(&mut self, facts: Facts) {
        self.facts = Some(facts);
    }

    pub(super) fn state(&self) -> Option<State> {
        self.facts.as_ref().map(|facts| facts.state)
    }

    pub(super) fn says(&self) -> String {
        // A node of which nothing is known yet lives all the same.
        let facts = self.facts.as_ref().map(serde_json::to_string);
        format!("{} {}", self.held, facts.and_then(Result::ok).unwrap_or_default())
    }

    pub(super) fn next_beat(&mut self) -> Sent {
        self.beats += 1;
        Sent { number: self.beats, at: time::now() }
    }

    /// These nodes have said something that may still be about.
    pub(super) fn heard_of(&mut self, nodes: impl IntoIterator<Item = u64>) {
        for node in nodes {
            if node != self.own && self.expected.len() < NODES_MAX {
                self.expected.entry(node).or_insert(self.beats + 1);
            }
        }
    }

    /// A beat was answered: the nodes that are no more, each once.
    pub(super) fn take(&mut self, beat: Sent, now: Instant, heard: Vec<Heard>) -> Vec<u64> {
        self.heed_pause(beat.at, now);
        let living: BTreeMap<_, _> =
            heard.iter().filter(|it| it.lives).map(|it| (it.node, it.link)).collect();
        let is_sure = self.is_sure(now);
        let mut lapsed = Vec::new();
        self.expected.retain(|node, first| {
            let is_gone = is_sure && beat.number >= *first && !living.contains_key(node);
            if is_gone {
                lapsed.push(*node);
            }
            !is_gone
        });
        self.heard_of(living.keys().copied());
        if is_sure {
            self.living = living;
        } else {
            // Those that were there before have to be heard of yet.
            self.living.extend(living);
        }
        self.living.insert(self.own, self.held);
        self.known = heard.into_iter().filter_map(known).collect();
        lapsed
    }

    pub(super) fn known(&self) -> &[Known] {
        &self.known
    }
}

fn known(heard: Heard) -> Option<Known> {
    let mut facts = heard.facts?;
    if !heard.lives {
        facts.state = State::Lost;
    }
    Some(Known { id: heard.node, facts })
}

/// How a node is called in Redis.
pub(super) fn node_name(node: u64) -> String {
    format!("{node:016x}")
}

/// Which node is called so; none if none of ours could be.
pub(super) fn node_number(name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() == 16)?;
    u64::from_str_radix(name, 16).ok().filter(|node| node_name(*node) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(nodes: &[(u64, bool)]) -> Vec<Heard> {
        nodes.iter().map(|&(node, lives)| Heard { node, lives, link: 1, facts: None }).collect()
    }

    fn beat(nodes: &mut Nodes, all: &[(u64, bool)]) -> Vec<u64> {
        let sent = nodes.next_beat();
        nodes.take(sent, Instant::now(), heard(all))
    }

    #[test]
    fn who_stops_beating_is_no_more_and_is_told_once() {
        let mut nodes = Nodes::new(1, 0);
        assert_eq!(beat(&mut nodes, &[(1, true), (2, true), (3, true), (4, false)]), [0; 0]);
        assert_eq!(beat(&mut nodes, &[(1, true), (2, false), (3, true)]), [2]);
        assert_eq!(beat(&mut nodes, &[(1, true), (2, false)]), [3]);
        assert_eq!(beat(&mut nodes, &[]), [0; 0], "a node does not bury itself");
        nodes.heard_of([2]);
        assert_eq!(beat(&mut nodes, &[(2, false)]), [2], "it has left something in another room");
    }

    #[test]
    fn a_beat_that_was_sent_before_a_node_was_heard_of_says_nothing_of_it() {
        let mut nodes = Nodes::new(1, 0);
        let sent = nodes.next_beat();
        nodes.heard_of([2]);
        assert_eq!(nodes.take(sent, sent.at, heard(&[])), [0; 0]);
        assert_eq!(beat(&mut nodes, &[]), [2]);
    }

    #[test]
    fn after_an_outage_all_have_time_to_come_back() {
        let mut nodes = Nodes::new(1, 8_000);
        let began = Instant::now();
        let at = |nodes: &mut Nodes, ms, lives| {
            let (number, now) = (nodes.next_beat().number, began + Duration::from_millis(ms));
            nodes.take(Sent { number, at: now }, now, heard(&[(1, true), (2, lives)]))
        };
        for ms in (0..=9_000).step_by(1_000) {
            assert_eq!(at(&mut nodes, ms, true), [0; 0]);
        }
        // It is back at once, and knows nothing.
        nodes.are_elsewhere();
        for ms in (10_000..18_000).step_by(1_000) {
            assert_eq!(at(&mut nodes, ms, false), [0; 0], "{ms}");
        }
        assert_eq!(at(&mut nodes, 18_000, false), [2], "it did not come back");
    }

    #[test]
    fn after_beats_were_refused_all_have_time_to_beat_again() {
        let mut nodes = Nodes::new(1, 8_000);
        let began = Instant::now();
        let mut at = |ms, lives| {
            let (number, now) = (nodes.next_beat().number, began + Duration::from_millis(ms));
            let lapsed = nodes.take(Sent { number, at: now }, now, heard(&[(1, true), (2, lives)]));
            (lapsed, nodes.living().collect::<Vec<_>>(), nodes.is_sure(now))
        };
        for ms in (0..=9_000).step_by(1_000) {
            assert_eq!(at(ms, true), (vec![], vec![1, 2], ms >= 8_000), "{ms}");
        }
        // The other one's last beat came up to one beat before this one's, and is believed for 6 s.
        for ms in (14_100..22_000).step_by(1_000) {
            assert_eq!(at(ms, false), (vec![], vec![1, 2], false), "{ms}");
        }
        assert_eq!(at(22_100, false), (vec![2], vec![1], true), "it did not come back");
        assert_eq!(at(26_000, false), (vec![], vec![1], true), "some beats were late");
        assert!(nodes.take_pause() && !nodes.take_pause());
    }

    #[test]
    fn a_link_is_told_when_all_places_are_held() {
        let mut nodes = Nodes::new(1, 8_000);
        nodes.next_link();
        assert_eq!((nodes.links(), nodes.says()), (vec![written(0)], "0 ".to_owned()));
        nodes.hold();
        nodes.next_link();
        beat(&mut nodes, &[(1, true)]);
        assert_eq!((nodes.links(), nodes.is_held()), (vec![written(1)], false));
        nodes.hold();
        assert_eq!((nodes.links(), nodes.says()), (vec![written(2)], "2 ".to_owned()));
    }

    fn written(link: u64) -> String {
        format!("{}.{link}", node_name(1))
    }

    #[test]
    fn names_of_nodes_read_back() {
        for node in [0, 1, u64::MAX] {
            assert_eq!(node_number(node_name(node).as_bytes()), Some(node));
        }
        for bad in [
            "",
            "1",
            "00000000000000000",
            "000000000000000X",
            "00000000000000AB",
            "+000000000000001",
        ] {
            assert_eq!(node_number(bad.as_bytes()), None, "{bad}");
        }
    }
}
