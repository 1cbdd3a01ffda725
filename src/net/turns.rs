//! Whose turn it is to be written, when not everybody can be at once.
//!
//! A room of thousands takes milliseconds to write. Those it is owed to wait in a line of their own,
//! of which a tick writes a part, so that others are read and answered in between. Invariants: each
//! line is first in, first out; while a crowd waits it gets at least as much time as all others
//! together; who makes it longer while it is being written, or by much, reads on once that is written.

use std::collections::VecDeque;

use crate::id::ConnectionKey;
use crate::shard::Effects;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// This connection is written.
    Write(ConnectionKey),
    /// The reader of this connection goes on.
    Read(ConnectionKey),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Those who are owed something by themselves or with few others.
    Few,
    /// Those who are owed something with many others.
    Crowd,
}

/// All who wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    few: VecDeque<Turn>,
    crowd: VecDeque<Turn>,
    /// Readers that have brought something for a crowd which is not lined up yet.
    readers: Vec<ConnectionKey>,
}

impl Turns {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.crowd.is_empty() && self.readers.is_empty()
    }

    /// Whether a crowd is being written.
    pub(super) fn has_crowd(&self) -> bool {
        !self.crowd.is_empty()
    }

    /// Lines up whoever the engine has something for, and behind them who has brought it.
    pub(super) fn line_up(&mut self, effects: &mut Effects) {
        self.few.extend(effects.dirty.drain(..).map(Turn::Write));
        self.crowd.extend(effects.crowd.drain(..).map(Turn::Write));
        self.crowd.extend(self.readers.drain(..).map(Turn::Read));
    }

    /// A reader waits until what it has just brought is written to the crowd.
    pub(super) fn wait_for_crowd(&mut self, reader: ConnectionKey) {
        self.readers.push(reader);
    }

    /// Whose turn it is in a line.
    pub(super) fn next(&mut self, line: Line) -> Option<Turn> {
        match line {
            Line::Few => self.few.pop_front(),
            Line::Crowd => self.crowd.pop_front(),
        }
    }
}
