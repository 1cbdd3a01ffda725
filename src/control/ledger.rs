//! What the operator has decided and still holds: in memory, and in a file over a restart.
//!
//! Invariants: the file has a line for each decision, and is read before anybody is let in; a
//! decision is in the file when that is said, or it is said that it is not; the file is replaced as a
//! whole once most of its lines say nothing any more; what is kept is bounded.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::decision::{Decision, Topic, Whom};

use file::StateFile;

/// Lines that the file may have beyond twice those that say something.
const SPARE_LINES: usize = 1_024;

/// The decisions that hold; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    file: Option<StateFile>,
}

#[derive(Debug)]
struct Book {
    standing: BTreeMap<Topic, Decision>,
    most: usize,
    /// Lines of the file.
    lines: usize,
}

/// Says whether a decision is in the file; none: there is no file.
pub(super) type Written = Option<oneshot::Receiver<bool>>;

/// What a state file holds that still says something. The file is made if there is none, and what
/// says nothing any more is taken out of it.
///
/// # Errors
/// Names the file, the line, and what is wrong.
pub fn standing(path: &Path, now_unix_ms: u64) -> io::Result<Vec<Decision>> {
    let mut standing = BTreeMap::new();
    for decision in file::read(path)? {
        apply(&mut standing, decision, now_unix_ms);
    }
    file::replace(path, &text(&standing)).map_err(|error| file::named(path, &error))?;
    Ok(standing.into_values().collect())
}

fn apply(standing: &mut BTreeMap<Topic, Decision>, decision: Decision, now_unix_ms: u64) {
    let topic = decision.topic();
    let decision = match standing.remove(&topic) {
        Some(earlier) => decision.after(&earlier),
        None => decision,
    };
    if decision.stands(now_unix_ms) {
        standing.insert(topic, decision);
    }
}

fn text(standing: &BTreeMap<Topic, Decision>) -> String {
    standing.values().map(line).collect()
}

fn line(decision: &Decision) -> String {
    let mut line = decision.line();
    line.push('\n');
    line
}

impl Ledger {
    /// Begins with what [`standing`] has found; `most` decisions are kept.
    ///
    /// # Errors
    /// There is no thread to write the file.
    pub(super) fn new(
        standing: Vec<Decision>,
        most: usize,
        path: Option<&Path>,
    ) -> io::Result<Self> {
        let lines = standing.len();
        let standing = standing.into_iter().map(|it| (it.topic(), it)).collect();
        let file = path.map(StateFile::open).transpose()?;
        let book = Mutex::new(Book { standing, most, lines });
        Ok(Self(Arc::new(Inner { book, file })))
    }

    /// Notes a decision. What is one too many is not noted; the cores say so, too.
    pub(super) fn note(&self, decision: &Decision, now_unix_ms: u64) -> Written {
        let mut book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = decision.topic();
        if !book.standing.contains_key(&topic) && book.standing.len() >= book.most {
            book.standing.retain(|_, decision| decision.stands(now_unix_ms));
            if book.standing.len() >= book.most {
                return None;
            }
        }
        apply(&mut book.standing, decision.clone(), now_unix_ms);
        let file = self.0.file.as_ref()?;
        book.lines += 1;
        // Within the lock, so that the file has them in the order in which they were made.
        if book.lines > 2 * book.standing.len() + SPARE_LINES {
            book.standing.retain(|_, decision| decision.stands(now_unix_ms));
            book.lines = book.standing.len();
            return Some(file.replace(text(&book.standing)));
        }
        Some(file.append(line(decision)))
    }

    /// What stands on the topic of a decision, and what would once that was made as well.
    pub(super) fn with(
        &self,
        decision: &Decision,
        now_unix_ms: u64,
    ) -> (Option<Decision>, Option<Decision>) {
        let book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = |it: &Decision| it.stands(now_unix_ms);
        let before = book.standing.get(&decision.topic()).cloned().filter(stands);
        let after = match &before {
            Some(before) => decision.clone().after(before),
            None => decision.clone(),
        };
        (before, Some(after).filter(stands))
    }

    /// All that stands.
    pub(super) fn standing(&self, now_unix_ms: u64) -> Vec<Decision> {
        let book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.standing.values().filter(|it| it.stands(now_unix_ms)).cloned().collect()
    }

    /// Who is shut out, and until when.
    pub(super) fn bans(&self, now_unix_ms: u64) -> Vec<(Whom, u64)> {
        let book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let bans = book.standing.values().filter(|decision| decision.stands(now_unix_ms));
        bans.filter_map(|decision| match decision {
            Decision::Ban { whom, until_ms } => Some((whom.clone(), *until_ms)),
            _ => None,
        })
        .collect()
    }
}
