//! The audit trail: the last deeds in memory, and all of them as JSON lines in a file or on stdout.
//!
//! Invariants: what is in memory is bounded, and so is what waits to be written; what was not
//! written is counted and told in the file itself; nobody ever waits for a file.

mod journal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::config;
use crate::record::{Deed, Record};

use journal::Journal;

/// Records of a page, at most.
pub(super) const PAGE_MAX: usize = 1_000;

/// The trail; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Trail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    last: Mutex<Last>,
    journal: Option<Journal>,
}

/// The last records.
#[derive(Debug)]
struct Last {
    entries: VecDeque<Arc<Entry>>,
    most: usize,
    /// The number of the next one.
    next: u64,
    /// Records that never came here.
    lost: u64,
}

/// A record with its number.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// From 1, without a hole.
    pub(super) number: u64,
    #[serde(flatten)]
    record: Record,
}

/// Which records are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Those behind this number.
    pub(super) after: u64,
    /// So many.
    pub(super) limit: usize,
    /// Those of a tenant.
    pub(super) tenant: Option<String>,
    /// Those of a kind.
    pub(super) deed: Option<Deed>,
}

/// Some records, the oldest first.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    pub(super) records: Vec<Arc<Entry>>,
    /// Ask for those behind this number; none: there are no more yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
    /// The number of the oldest one in memory.
    oldest: u64,
    /// Records that were dropped before they came here, because too many came at once.
    lost: u64,
}

impl Trail {
    /// A trail with nothing in it.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(config: &config::Audit) -> io::Result<Self> {
        let journal = match &config.file {
            Some(file) => Some(Journal::file(file)?),
            None if config.stdout => Some(Journal::stdout()?),
            None => None,
        };
        let most = config.records as usize;
        let last = Last { entries: VecDeque::new(), most, next: 1, lost: 0 };
        Ok(Self(Arc::new(Inner { last: Mutex::new(last), journal })))
    }

    /// Adds a record.
    pub(super) fn add(&self, record: Record) {
        let entry = {
            let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = Arc::new(Entry { number: last.next, record });
            last.next += 1;
            if last.entries.len() >= last.most {
                last.entries.pop_front();
            }
            last.entries.push_back(Arc::clone(&entry));
            entry
        };
        if let Some(journal) = &self.0.journal {
            journal.write(&entry);
        }
    }

    /// Notes that a core had to drop some.
    pub(super) fn lose(&self, count: u64) {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).lost += count;
        if let Some(journal) = &self.0.journal {
            journal.lose(count);
        }
    }

    /// The records that are wanted, as far as they are in memory.
    pub(super) fn page(&self, wanted: &Wanted) -> Page {
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = last.entries.front().map_or(last.next, |entry| entry.number);
        let skipped = usize::try_from((wanted.after + 1).saturating_sub(oldest));
        let mut page = Page { records: Vec::new(), next: None, oldest, lost: last.lost };
        for entry in last.entries.iter().skip(skipped.unwrap_or(usize::MAX)) {
            let record = &entry.record;
            let fits =
                wanted.tenant.as_deref().is_none_or(|it| record.tenant.as_deref() == Some(it))
                    && wanted.deed.is_none_or(|deed| record.deed == deed);
            if !fits {
                continue;
            }
            if page.records.len() == wanted.limit.min(PAGE_MAX) {
                page.next = page.records.last().map(|last| last.number);
                break;
            }
            page.records.push(Arc::clone(entry));
        }
        page
    }

    /// Opens the file again, which may have been moved away.
    pub(super) fn reopen(&self) {
        if let Some(journal) = &self.0.journal {
            journal.reopen();
        }
    }

    /// Waits a moment for what is still to be written.
    pub(super) fn finish(&self) {
        if let Some(journal) = &self.0.journal {
            journal.finish();
        }
    }
}
