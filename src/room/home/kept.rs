//! How many sessions that wait for a connection keep a room, each from when its connection was gone until it
//! comes back or will not.
//!
//! Invariant: each counts for the life of the room in which it was; of lives that the room has not had here
//! nothing is counted.

use std::sync::Arc;

/// Lives before the present one.
const BEFORE_MAX: usize = 8;

/// All of them. Negative for a moment, when a session has come back before the news that it had gone.
#[derive(Debug, Default)]
pub(super) struct Kept {
    now: i64,
    /// By the lives before, the latest last.
    before: Vec<(Arc<str>, i64)>,
}

impl Kept {
    /// Whether no session keeps the room.
    pub(super) fn is_none(&self) -> bool {
        self.now <= 0 && self.before.iter().all(|(_, count)| *count <= 0)
    }

    /// One more, or one less, of that life; which one is the present?
    pub(super) fn count(&mut self, life: &str, present: &str, by: i64) {
        if life == present {
            self.now += by;
        } else if let Some((_, count)) = self.before.iter_mut().find(|(it, _)| **it == *life) {
            *count += by;
        }
    }

    /// Another life begins.
    pub(super) fn begin_life(&mut self, former: &Arc<str>) {
        self.before.push((Arc::clone(former), std::mem::take(&mut self.now)));
        let over = self.before.len().saturating_sub(BEFORE_MAX);
        self.before.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_for_its_life_and_those_that_were_not_here_for_none() {
        let mut kept = Kept::default();
        kept.count("a", "a", 1);
        kept.begin_life(&"a".into());
        assert!(!kept.is_none(), "it waits for the room");
        kept.count("x", "b", 1);
        kept.count("b", "b", -1);
        kept.count("a", "b", -1);
        assert!(kept.is_none());
        kept.count("b", "b", 1);
        kept.count("a", "b", 1);
        assert!(!kept.is_none(), "its connection has gone from the life before");
        kept.count("a", "b", -1);
        assert!(kept.is_none());
        for n in 0..BEFORE_MAX + 3 {
            kept.begin_life(&n.to_string().into());
        }
        assert_eq!(kept.before.len(), BEFORE_MAX);
        kept.count("a", "z", 1);
        assert!(kept.is_none(), "that is long ago");
    }
}
