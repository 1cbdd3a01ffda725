//! All that was said in a run, as one number: two runs that are the same have the same. The last of it is
//! kept as text where the environment asks for it (`RINGROOM_SIM_STEPS`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::Hash;

use tokio::time::Instant;

use crate::hash::Seed;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript {
    sum: u64,
    pub(super) lines: u64,
}

impl Transcript {
    pub(super) fn note(&mut self, line: &impl Hash) {
        self.sum = Seed(self.sum, self.lines).hash(line);
        self.lines += 1;
    }
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { most: 0, began: None, lines: VecDeque::new() }) };
}

struct Last {
    most: usize,
    began: Option<Instant>,
    lines: VecDeque<String>,
}

/// A run begins; so many of its last lines are kept.
pub(super) fn begin(most: usize) {
    let (began, lines) = (Some(Instant::now()), VecDeque::new());
    LAST.set(Last { most, began, lines });
}

/// Keeps a line, if any are kept.
pub(super) fn tell(line: impl FnOnce() -> String) {
    LAST.with_borrow_mut(|last| {
        if last.most > 0 {
            let ms = last.began.map_or(0, |began| began.elapsed().as_millis());
            last.lines.push_back(format!("{ms:6} {}", line()));
            if last.lines.len() > last.most {
                last.lines.pop_front();
            }
        }
    });
}

/// The last lines of the last run.
pub(super) fn last() -> Vec<String> {
    LAST.with_borrow_mut(|last| std::mem::take(&mut last.lines).into())
}
