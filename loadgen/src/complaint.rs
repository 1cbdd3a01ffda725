//! Causes that are told to the user: each of them once, and how often it was met.
//!
//! However much goes wrong, what is kept of it is bounded.

use std::collections::BTreeMap;

/// Different causes that are kept.
const CAUSES_MAX: usize = 8;
/// Letters of a server's own words that are told: as many as a close frame has bytes for.
const WORDS_MAX: usize = 123;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    causes: BTreeMap<String, u64>,
    /// Met when there was no room for another cause.
    others: u64,
}

impl Complaints {
    /// Notes a cause that was met.
    pub fn add(&mut self, cause: String) {
        self.add_times(cause, 1);
    }

    /// Takes in what somebody else has noted.
    pub fn merge(&mut self, other: Self) {
        self.others += other.others;
        for (cause, times) in other.causes {
            self.add_times(cause, times);
        }
    }

    /// A line for each cause, what was met most often first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        let mut lines: Vec<_> = causes
            .into_iter()
            .map(|(cause, times)| match times {
                1 => cause.clone(),
                times => format!("{cause} ({times} times)"),
            })
            .collect();
        if self.others > 0 {
            lines.push(format!("other causes ({} times)", self.others));
        }
        lines
    }

    fn add_times(&mut self, cause: String, times: u64) {
        if self.causes.len() < CAUSES_MAX || self.causes.contains_key(&cause) {
            *self.causes.entry(cause).or_default() += times;
        } else {
            self.others += times;
        }
    }
}

/// A server's own words, so that they are one short line whatever is in them.
#[must_use]
pub fn words(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(WORDS_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_the_most_frequent_first() {
        let mut all = Complaints::default();
        all.add("seldom".to_owned());
        for _ in 0..3 {
            all.add("often".to_owned());
        }
        let mut other = Complaints::default();
        other.add("often".to_owned());
        all.merge(other);
        assert_eq!(all.lines(), ["often (4 times)", "seldom"]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_not_is_counted() {
        let mut all = Complaints::default();
        for number in 0..20 {
            all.add(format!("cause {number}"));
        }
        all.add("cause 0".to_owned());
        let lines = all.lines();
        assert_eq!(lines.len(), CAUSES_MAX + 1);
        assert_eq!(lines.first().map(String::as_str), Some("cause 0 (2 times)"));
        assert_eq!(lines.last().map(String::as_str), Some("other causes (12 times)"));
    }

    #[test]
    fn a_server_writes_no_lines_and_no_escapes() {
        assert_eq!(words("go\n\u{1b}[2Jaway"), "go\u{fffd}\u{fffd}[2Jaway");
        assert_eq!(words(&"ä".repeat(1_000)).chars().count(), WORDS_MAX);
    }
}
