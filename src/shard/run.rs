//! Whole frames that many connections of this core are sent, and that count once against its budget.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that all outboxes of a core hold together, each shared byte counted once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Rc<Cell<u64>>);

impl Budget {
    pub(crate) fn held_bytes(&self) -> u64 {
        self.0.get()
    }

    fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes as u64);
    }

    fn sub(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes as u64);
    }
}

/// Whole frames, shared by the outboxes that wait to write them.
#[derive(Debug)]
pub(crate) struct Run {
    bytes: Box<[u8]>,
    budget: Budget,
}

impl Run {
    /// Frames in one piece.
    pub(crate) fn new(bytes: Box<[u8]>, budget: &Budget) -> Self {
        budget.add(bytes.len());
        Self { bytes, budget: budget.clone() }
    }

    /// What is written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.budget.sub(self.bytes.len());
    }
}
