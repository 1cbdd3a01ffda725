//! Decisions that hold on every node: what is decided here is noted for all, and what all have noted
//! is read.
//!
//! Invariants: every node goes through the notes in their one order, so that of two decisions on a
//! topic the same one counts everywhere; what is decided here is asked to be noted until it is; what
//! stands here and is not in the notes, as after they were lost, is noted anew; a read that fails
//! begins at the beginning again; what is owed is either on its way to be noted or in the line for it,
//! and so many are on their way at most.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ledger::Ledger;
use crate::decision::shared::{Ask, LINE_BYTES, Mark, News, Noted};
use crate::decision::{Decision, Topic};

/// How often the notes are read.
pub(super) const READ_EVERY: Duration = Duration::from_millis(300);
/// The same until they are read for the first time, for which clients wait.
pub(super) const READ_FIRST_EVERY: Duration = Duration::from_millis(10);
/// For so long at most, as clients do.
pub(super) const READ_FIRST_FOR: Duration = Duration::from_secs(10);
/// Decisions that are on their way to be noted at once: what a Redis has forgotten comes by and by.
const NOTES_MAX: usize = 128;
/// After so long a question is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Says whether a decision is noted for all nodes; none: there are no others.
pub(super) type Told = Option<oneshot::Receiver<Noted>>;

/// What is under way between this node's decisions and those of all.
#[derive(Debug)]
pub(super) struct Spread {
    ledger: Ledger,
    /// How many decisions may wait to be noted.
    most: usize,
    /// How far the notes are read.
    mark: Mark,
    /// What was found in them, until they are read to their end for the first time.
    found: Option<BTreeSet<Topic>>,
    /// They were read to their end once.
    is_read: bool,
    /// When they were last asked for, if there is no answer yet.
    asked: Option<Instant>,
    owed: BTreeMap<Topic, Owed>,
    /// Which of them are asked for next, in this order.
    line: VecDeque<Topic>,
    /// The others, and when they were asked for.
    on_way: BTreeMap<Topic, Instant>,
    /// The last one was noted, so that the next need not wait.
    flows: bool,
}

/// A decision that is not noted yet.
#[derive(Debug)]
struct Owed {
    decision: Decision,
    waiting: Vec<oneshot::Sender<Noted>>,
}

impl Spread {
    pub(super) fn new(ledger: Ledger, most: usize) -> Self {
        Self {
            ledger,
            most,
            mark: Mark::default(),
            found: Some(BTreeSet::new()),
            is_read: false,
            asked: None,
            owed: BTreeMap::new(),
            line: VecDeque::new(),
            on_way: BTreeMap::new(),
            flows: false,
        }
    }

    /// A decision was made here: somebody waits for it, so it goes before others.
    pub(super) fn owe(&mut self, decision: Decision) -> oneshot::Receiver<Noted> {
        let (topic, (sender, receiver)) = (decision.topic(), oneshot::channel());
        if self.owed.len() >= self.most && !self.owed.contains_key(&topic) {
            // There is somebody who waits: its other end is here.
            let _ = sender.send(Noted::TooMany);
            return receiver;
        }
        let mut waiting = self.owed.remove(&topic).map_or_else(Vec::new, |owed| owed.waiting);
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        if self.owed.insert(topic.clone(), Owed { decision, waiting }).is_some() {
            self.on_way.remove(&topic);
            self.line.retain(|other| *other != topic);
        }
        self.line.push_front(topic);
        receiver
    }

    /// The same of what nobody waits for.
    fn owe_in_turn(&mut self, decision: Decision) {
        let topic = decision.topic();
        if self.owed.len() >= self.most || self.owed.contains_key(&topic) {
            return;
        }
        self.owed.insert(topic.clone(), Owed { decision, waiting: Vec::new() });
        self.line.push_back(topic);
    }

    /// What is to be asked of the bridge now.
    pub(super) fn asks(&mut self, now: Instant) -> Vec<Ask> {
        let is_due = |at: Instant| now.duration_since(at) > LOST_AFTER;
        for (topic, _) in self.on_way.extract_if(.., |_, at| is_due(*at)) {
            self.line.push_back(topic);
        }
        let mut asks = Vec::new();
        while self.on_way.len() < NOTES_MAX {
            let Some(topic) = self.line.pop_front() else { break };
            if let Some(owed) = self.owed.get(&topic) {
                asks.push(Ask::Note(owed.decision.clone()));
                self.on_way.insert(topic, now);
            }
        }
        asks.extend(self.ask_to_read(now));
        asks
    }

    /// The question what more is noted, unless it has been put.
    pub(super) fn ask_to_read(&mut self, now: Instant) -> Option<Ask> {
        if self.asked.is_some_and(|at| now.duration_since(at) <= LOST_AFTER) {
            return None;
        }
        self.asked = Some(now);
        Some(Ask::Read(self.mark.clone()))
    }

    /// What the bridge answers; returns what is to be carried out here.
    pub(super) fn hear(&mut self, news: News, now_unix_ms: u64) -> Vec<Decision> {
        match news {
            News::Noted(decision, noted) => {
                self.noted(&decision, noted, now_unix_ms);
                Vec::new()
            }
            News::Unread => {
                self.asked = None;
                self.begin_anew();
                Vec::new()
            }
            News::Read { mark, lines, is_all } => {
                self.asked = None;
                if mark.life != self.mark.life {
                    self.begin_anew();
                }
                self.mark = mark;
                let decisions = lines.iter().filter_map(|line| read(line));
                let decisions = decisions.filter_map(|it| self.read(it, now_unix_ms)).collect();
                if is_all {
                    self.is_read = true;
                    self.note_what_is_missing(now_unix_ms);
                }
                decisions
            }
        }
    }

    /// Whether what all nodes had decided was known here at some time.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether more is to be read or noted at once.
    pub(super) fn is_behind(&self) -> bool {
        let reads = self.asked.is_none() && self.found.is_some() && self.mark != Mark::default();
        let notes = self.flows && self.on_way.is_empty() && !self.line.is_empty();
        reads || notes
    }

    fn begin_anew(&mut self) {
        self.mark = Mark::default();
        self.found = Some(BTreeSet::new());
    }

    fn noted(&mut self, decision: &Decision, noted: Noted, now_unix_ms: u64) {
        let topic = decision.topic();
        // Another one may have come since on the same topic, which is asked for by itself.
        let Some(owed) = self.owed.get_mut(&topic).filter(|owed| owed.decision == *decision) else {
            return;
        };
        self.on_way.remove(&topic);
        self.flows = noted == Noted::Yes;
        for waiting in owed.waiting.drain(..) {
            // Who does not wait any more was told that it is not known.
            let _ = waiting.send(noted);
        }
        let says_something =
            decision.stands(now_unix_ms) || matches!(decision, Decision::Unban { .. });
        match noted {
            Noted::No if says_something => self.line.push_back(topic),
            Noted::No | Noted::Yes => drop(self.owed.remove(&topic)),
            Noted::TooMany => {
                tracing::warn!(
                    "too many decisions hold on all nodes: one holds on this node alone"
                );
                self.owed.remove(&topic);
            }
        }
    }

    /// A decision was read; returns it if it changes something here.
    fn read(&mut self, decision: Decision, now_unix_ms: u64) -> Option<Decision> {
        let topic = decision.topic();
        if let Some(found) = &mut self.found {
            found.insert(topic.clone());
        }
        if self.owed.contains_key(&topic) {
            // What was decided here comes later in the notes, and counts.
            return None;
        }
        let (before, after) = self.ledger.with(&decision, now_unix_ms);
        if let Some(stricter) = after.clone().filter(|after| *after != decision) {
            drop(self.owe(stricter));
        }
        (before != after).then_some(decision)
    }

    /// The notes are read to their end.
    fn note_what_is_missing(&mut self, now_unix_ms: u64) {
        let Some(found) = self.found.take() else { return };
        for decision in self.ledger.standing(now_unix_ms) {
            let topic = decision.topic();
            if !found.contains(&topic) {
                self.owe_in_turn(decision);
            }
        }
    }
}

/// A line of the notes. What cannot be read was written by another version, or not by a node.
fn read(line: &str) -> Option<Decision> {
    let decision = (line.len() <= LINE_BYTES).then(|| serde_json::from_str(line).ok()).flatten();
    if decision.is_none() {
        tracing::warn!("a decision of another node cannot be read, and does not hold here");
    }
    decision
}
