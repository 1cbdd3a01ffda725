//! Two nodes and the notes, step by step.
#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::decision::{Credentials, Whom};

/// The notes as Redis keeps them.
#[derive(Default)]
struct Notes {
    life: Box<str>,
    lines: Vec<(u64, Decision)>,
    last: u64,
}

impl Notes {
    fn note(&mut self, decision: Decision) {
        if self.life.is_empty() {
            self.life = format!("life {}", self.last).into();
        }
        self.last += 1;
        self.lines.retain(|(_, it)| it.topic() != decision.topic());
        self.lines.push((self.last, decision));
    }

    fn read(&self, since: &Mark) -> News {
        let number = if since.life == self.life { since.number } else { 0 };
        let found: Vec<_> = self.lines.iter().filter(|(at, _)| *at > number).take(2).collect();
        let mark =
            Mark { life: self.life.clone(), number: found.last().map_or(number, |(at, _)| *at) };
        let lines = found.iter().map(|(_, it)| it.line().into()).collect::<Vec<_>>();
        News::Read { mark, is_all: lines.len() < 2, lines }
    }
}

struct Node {
    spread: Spread,
    ledger: Ledger,
}

const NOW_MS: u64 = 1_000;

impl Node {
    fn new(standing: Vec<Decision>) -> Self {
        let ledger = Ledger::new(standing, 8, None).unwrap();
        Self { spread: Spread::new(ledger.clone(), 8), ledger }
    }

    fn decides(&mut self, decision: Decision) -> oneshot::Receiver<Noted> {
        drop(self.ledger.note(&decision, NOW_MS));
        self.spread.owe(decision)
    }

    /// Asks until there is nothing left to ask; returns what was carried out.
    fn settle(&mut self, notes: &mut Notes) -> Vec<Decision> {
        let mut carried = Vec::new();
        for _ in 0..8 {
            for ask in self.spread.asks(Instant::now()) {
                let news = match ask {
                    Ask::Note(decision) => {
                        notes.note(decision.clone());
                        News::Noted(decision, Noted::Yes)
                    }
                    Ask::Read(since) => notes.read(&since),
                };
                for decision in self.spread.hear(news, NOW_MS) {
                    drop(self.ledger.note(&decision, NOW_MS));
                    carried.push(decision);
                }
            }
        }
        carried
    }

    fn bans(&self) -> Vec<u64> {
        self.ledger.bans(NOW_MS).into_iter().map(|(_, until_ms)| until_ms).collect()
    }
}

fn address() -> Whom {
    Whom::Address("192.0.2.1".parse().unwrap())
}

fn ban(until_ms: u64) -> Decision {
    Decision::Ban { whom: address(), until_ms }
}

fn revoke(user: &str, issued_before_ms: u64, until_ms: u64) -> Decision {
    let what = Credentials::User(user.into());
    Decision::Revoke { tenant: "a".into(), what, issued_before_ms, until_ms }
}

#[test]
fn what_one_decides_the_other_carries_out_once() {
    let (mut notes, mut a, mut b) = (Notes::default(), Node::new(vec![]), Node::new(vec![]));
    let mut told = a.decides(ban(5_000));
    assert!(a.settle(&mut notes).is_empty(), "its own is carried out already");
    assert_eq!(told.try_recv(), Ok(Noted::Yes));
    assert_eq!(b.settle(&mut notes), [ban(5_000)]);
    assert!(b.settle(&mut notes).is_empty());
    drop(b.decides(Decision::Unban { whom: address() }));
    b.settle(&mut notes);
    a.settle(&mut notes);
    assert!(a.bans().is_empty() && b.bans().is_empty());
}

#[test]
fn of_two_that_decide_at_once_the_later_note_counts_for_both() {
    let (mut notes, mut a, mut b) = (Notes::default(), Node::new(vec![]), Node::new(vec![]));
    drop((a.decides(ban(5_000)), b.decides(ban(6_000))));
    b.settle(&mut notes);
    a.settle(&mut notes);
    b.settle(&mut notes);
    assert_eq!((a.bans(), b.bans()), (vec![5_000], vec![5_000]));
}

#[test]
fn the_stricter_revocation_is_noted_again_and_no_more_often() {
    let (mut notes, mut a, mut b) = (Notes::default(), Node::new(vec![]), Node::new(vec![]));
    drop((a.decides(revoke("ann", 10, 9_000)), b.decides(revoke("ann", 20, 5_000))));
    for _ in 0..3 {
        a.settle(&mut notes);
        b.settle(&mut notes);
    }
    let both = revoke("ann", 20, 9_000);
    let both = std::slice::from_ref(&both);
    assert_eq!(a.ledger.standing(NOW_MS), both);
    assert_eq!(b.ledger.standing(NOW_MS), both);
    let last = notes.last;
    b.settle(&mut notes);
    a.settle(&mut notes);
    assert_eq!(notes.last, last);
}

#[test]
fn what_stands_and_is_not_noted_is_noted_and_what_was_lifted_stays_lifted() {
    let others = [revoke("ann", 1, 9_000), revoke("bob", 1, 9_000), revoke("cat", 1, 9_000)];
    let mut notes = Notes::default();
    // One comes with what it had on disk, another with nothing.
    let mut a = Node::new([vec![ban(5_000)], others.to_vec()].concat());
    let mut b = Node::new(vec![]);
    a.settle(&mut notes);
    assert_eq!(b.settle(&mut notes).len(), 4);
    drop(b.decides(Decision::Unban { whom: address() }));
    b.settle(&mut notes);
    // The first is started again with its old file.
    let mut a = Node::new(vec![ban(5_000)]);
    a.settle(&mut notes);
    assert!(a.bans().is_empty());
    assert_eq!(a.ledger.standing(NOW_MS), others);
    // The notes are lost.
    notes = Notes { last: 100, ..Notes::default() };
    for node in [&mut a, &mut b] {
        drop(node.settle(&mut notes));
    }
    assert_eq!(notes.lines.len(), 3);
}

#[test]
fn without_notes_it_is_asked_again_and_those_who_wait_are_told() {
    let (mut notes, mut a) = (Notes::default(), Node::new(vec![]));
    let mut told = a.decides(ban(5_000));
    for ask in a.spread.asks(Instant::now()) {
        let news = match ask {
            Ask::Note(decision) => News::Noted(decision, Noted::No),
            Ask::Read(_) => News::Unread,
        };
        assert!(a.spread.hear(news, NOW_MS).is_empty());
    }
    assert_eq!(told.try_recv(), Ok(Noted::No));
    a.settle(&mut notes);
    assert_eq!(notes.lines.len(), 1);
    // What has run out meanwhile is not noted any more.
    drop(a.decides(ban(NOW_MS)));
    let asks = a.spread.asks(Instant::now());
    assert!(matches!(asks[0], Ask::Note(_)));
    a.spread.hear(News::Noted(ban(NOW_MS), Noted::No), NOW_MS);
    assert!(a.spread.owed.is_empty());
}

#[test]
fn what_waits_is_bounded_and_what_is_no_decision_is_passed_over() {
    let mut a = Node::new(vec![]);
    for user in 0..20 {
        drop(a.decides(revoke(&user.to_string(), 1, 9_000)));
    }
    assert_eq!(a.spread.owed.len(), 8);
    let mut told = a.spread.owe(ban(5_000));
    assert_eq!(told.try_recv(), Ok(Noted::TooMany));
    let mut told = a.spread.owe(revoke("0", 1, 9_000));
    a.spread.hear(News::Noted(revoke("0", 1, 9_000), Noted::TooMany), NOW_MS);
    assert_eq!(told.try_recv(), Ok(Noted::TooMany));
    assert_eq!(a.spread.owed.len(), 7, "it is not asked again");
    let mut b = Node::new(vec![]);
    let long = format!(r#"{{"unban":{{"whom":{{"address":"{}"}}}}}}"#, "1".repeat(LINE_BYTES));
    let lines = ["", "{}", "[", long.as_str(), "{\"revoke\":null}"].map(Into::into).to_vec();
    let mark = Mark { life: "x".into(), number: 5 };
    assert!(b.spread.hear(News::Read { mark, lines, is_all: true }, NOW_MS).is_empty());
}

#[test]
fn what_was_forgotten_is_noted_by_and_by_and_what_somebody_waits_for_goes_before_it() {
    const ALL: usize = 1_000;
    let standing = (0..ALL).map(|user| revoke(&user.to_string(), 1, 9_000)).collect();
    let ledger = Ledger::new(standing, 2 * ALL, None).unwrap();
    let mut spread = Spread::new(ledger, 2 * ALL);
    let begin = Instant::now();
    let asks = spread.asks(begin);
    assert!(matches!(asks[..], [Ask::Read(_)]));
    let empty = News::Read { mark: Mark::default(), lines: Vec::new(), is_all: true };
    spread.hear(empty, NOW_MS);
    let notes = |spread: &mut Spread, at: Instant| -> Vec<Decision> {
        let asks = spread.asks(at).into_iter();
        let notes = asks.filter_map(|ask| match ask {
            Ask::Note(decision) => Some(decision),
            Ask::Read(_) => None,
        });
        notes.collect()
    };
    let first = notes(&mut spread, begin);
    assert_eq!(first.len(), NOTES_MAX);
    assert_eq!(notes(&mut spread, begin), [], "these are not answered yet");
    // A link that takes nothing: none is lost, and it is not asked again at once.
    for decision in first {
        spread.hear(News::Noted(decision, Noted::No), NOW_MS);
    }
    assert!(!spread.is_behind());
    let mut told = spread.owe(ban(5_000));
    let second = notes(&mut spread, begin);
    assert_eq!((second.len(), &second[0]), (NOTES_MAX, &ban(5_000)));
    // A link that loses them.
    let later = begin + LOST_AFTER + Duration::from_millis(1);
    let mut asked = notes(&mut spread, later);
    assert_eq!(asked.len(), NOTES_MAX);
    let mut noted = Vec::new();
    while !asked.is_empty() {
        assert!(asked.len() <= NOTES_MAX);
        for decision in asked {
            spread.hear(News::Noted(decision.clone(), Noted::Yes), NOW_MS);
            noted.push(decision.topic());
        }
        assert_eq!(spread.is_behind(), !spread.owed.is_empty(), "the next go at once");
        asked = notes(&mut spread, later);
    }
    assert_eq!(told.try_recv(), Ok(Noted::Yes));
    let count = noted.len();
    noted.sort_unstable();
    noted.dedup();
    assert_eq!((count, noted.len()), (ALL + 1, ALL + 1), "each once");
    assert!(spread.owed.is_empty() && spread.line.is_empty() && spread.on_way.is_empty());
}
