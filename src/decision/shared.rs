//! Decisions on their way between the control plane and the place where all nodes read them.

use super::Decision;

/// The longest line that is read.
pub const LINE_BYTES: usize = 4_096;

/// How far what all nodes have decided is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Names the notes; others begin where these were lost. Empty: there are none.
    pub life: Box<str>,
    /// The number of the last one in it.
    pub number: u64,
}

/// What the control plane wants of the bridge.
#[derive(Debug)]
pub enum Ask {
    /// That a decision is noted for all nodes.
    Note(Decision),
    /// What is noted behind this.
    Read(Mark),
}

/// What came of it.
#[derive(Debug)]
pub enum News {
    /// Whether a decision is noted.
    Noted(Decision, Noted),
    /// What was read.
    Read {
        /// How far.
        mark: Mark,
        /// Decisions, each as [`Decision::line`] has it, in their order.
        lines: Vec<Box<str>>,
        /// There is no more.
        is_all: bool,
    },
    /// It cannot be read now.
    Unread,
}

/// Whether a decision is noted for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is.
    Yes,
    /// Too many hold.
    TooMany,
    /// It is not, or that is not known.
    No,
}
