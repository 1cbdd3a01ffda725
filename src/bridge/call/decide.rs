//! Decisions of the operator: one is noted for all nodes, and what all have noted is read.

use redis::{Cmd, Value};

use crate::bridge::answer::{number, text};
use crate::bridge::desk::Desk;
use crate::bridge::script::{self, Name};
use crate::decision::Decision;
use crate::decision::shared::{Ask, Mark, News, Noted};
use crate::room::broker::Fault;

use super::Call;

/// Decisions that are read at a time.
const PAGE: usize = 500;
/// Decisions that have run out and are taken out at a time, by one that finds no place.
const OVER_AT_ONCE: usize = 100;

/// The call that the control plane's wish is.
pub(in crate::bridge) fn of(ask: Ask, desk: &Desk) -> Box<dyn Call> {
    match ask {
        Ask::Note(decision) => Box::new(Note { decision, chance: desk.chance() }),
        Ask::Read(since) => Box::new(Read { since }),
    }
}

#[derive(Debug)]
struct Note {
    decision: Decision,
    chance: u64,
}

impl Call for Note {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Decide, &desk.keys.decisions());
        command.arg(self.decision.topic().name()).arg(self.decision.line());
        match &self.decision {
            Decision::Revoke { until_ms, .. } | Decision::Ban { until_ms, .. } => {
                command.arg(until_ms.max(&1))
            }
            Decision::Unban { .. } => command.arg(0),
            Decision::State { .. } => command.arg(""),
        };
        command.arg(desk.config.most_decisions());
        command.arg(script::fresh(&self.chance.to_be_bytes())).arg(OVER_AT_ONCE);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let noted = if number(&answer) == Some(1) { Noted::Yes } else { Noted::TooMany };
        desk.tell_decisions(News::Noted(self.decision, noted));
    }

    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.tell_decisions(News::Noted(self.decision, Noted::No));
    }
}

#[derive(Debug)]
struct Read {
    since: Mark,
}

impl Call for Read {
    fn command(&self, desk: &Desk) -> Cmd {
        let mut command = desk.scripts.call(Name::Decided, &desk.keys.decisions());
        command.arg(&*self.since.life).arg(self.since.number).arg(PAGE);
        command
    }

    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        let news = read(&answer, &self.since).unwrap_or(News::Unread);
        desk.tell_decisions(news);
    }

    fn fail(self: Box<Self>, _fault: Fault, desk: &mut Desk) {
        desk.tell_decisions(News::Unread);
    }
}

/// `[LIFE, NUMBER, WHAT IT SAYS, …]`
fn read(answer: &Value, since: &Mark) -> Option<News> {
    let Value::Array(items) = answer else { return None };
    let (life, items) = items.split_first()?;
    let life = text(life)?;
    let last = if *life == *since.life { since.number } else { 0 };
    let mut mark = Mark { life: life.into(), number: last };
    let mut lines = Vec::new();
    for pair in items.chunks_exact(2) {
        mark.number = text(&pair[0])?.parse().ok()?;
        lines.push(text(&pair[1])?.into());
    }
    let is_all = lines.len() < PAGE;
    Some(News::Read { mark, lines, is_all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_page_says_how_far_it_goes() {
        let since = Mark { life: "a".into(), number: 7 };
        let answer = |items: &[&str]| Value::Array(items.iter().map(|it| bulk(it)).collect());
        let found = |items: &[&str]| match read(&answer(items), &since) {
            Some(News::Read { mark, lines, is_all: true }) => Some((mark.number, lines.len())),
            _ => None,
        };
        assert_eq!(found(&["a"]), Some((7, 0)));
        assert_eq!(
            found(&["a", "9", "x", "1795800000000000", "y"]),
            Some((1_795_800_000_000_000, 2))
        );
        assert_eq!(found(&["b"]), Some((0, 0)), "another life begins anew");
        assert_eq!(found(&[""]), Some((0, 0)));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["a", "x", "y"]), None);
    }
}
