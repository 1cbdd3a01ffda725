//! What may not be said in a room, ready to be looked for.
//!
//! Invariants: it looks for all words at once and for all patterns at once, in time linear in the
//! text; what it may take to hold is bounded before it is made.

#[cfg(test)]
mod tests;

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::protocol::{Data, FilterAction, OwnedData, WordFilter};

/// The most that all words, or all patterns, may take once they are compiled.
const COMPILED_BYTES: usize = 2 << 20;
/// The most that looking for them may keep beside that.
const SCRATCH_BYTES: usize = 512 << 10;

/// A filter that is ready.
#[derive(Debug)]
pub struct Censor {
    words: Option<Regex>,
    patterns: Option<Regex>,
    action: FilterAction,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is nothing to object to.
    Pass,
    /// It goes on like this.
    Mask(OwnedData),
    /// It is not published.
    Block,
}

impl Censor {
    /// A filter, if what it asks for is no too large expression.
    #[must_use]
    pub fn new(filter: &WordFilter) -> Option<Self> {
        let words: Vec<_> = filter.words.iter().map(|word| whole(word)).collect();
        let patterns: Vec<_> =
            filter.patterns.iter().map(|pattern| format!("(?:{pattern})")).collect();
        Some(Self {
            words: compile(&words, true)?,
            patterns: compile(&patterns, false)?,
            action: filter.action,
        })
    }

    /// Looks at all texts of a message.
    #[must_use]
    pub fn judge(&self, data: Data<'_>) -> Judgement {
        match self.action {
            FilterAction::Block if data.has_text(&|text| self.objects(text)) => Judgement::Block,
            FilterAction::Block => Judgement::Pass,
            FilterAction::Mask => {
                data.masked(&|text| self.find(text)).map_or(Judgement::Pass, Judgement::Mask)
            }
        }
    }

    fn expressions(&self) -> impl Iterator<Item = &Regex> {
        [&self.words, &self.patterns].into_iter().flatten()
    }

    fn objects(&self, text: &str) -> bool {
        self.expressions().any(|expression| expression.is_match(text))
    }

    /// Where there is something, ascending and apart.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let found = self.expressions().flat_map(|expression| expression.find_iter(text));
        let mut found: Vec<_> =
            found.map(|found| found.range()).filter(|range| !range.is_empty()).collect();
        found.sort_unstable_by_key(|range| range.start);
        found.dedup_by(|later, earlier| {
            let meets = later.start <= earlier.end;
            if meets {
                earlier.end = earlier.end.max(later.end);
            }
            meets
        });
        found
    }
}

/// Finds a word where it is not a part of another.
fn whole(word: &str) -> String {
    let is_inside = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    let before = if is_inside(word.chars().next()) { r"\b" } else { "" };
    let after = if is_inside(word.chars().next_back()) { r"\b" } else { "" };
    format!("{before}{}{after}", regex::escape(word))
}

/// One expression of all; the inner none if there are none.
#[allow(clippy::option_option, reason = "none at all is no fault")]
fn compile(expressions: &[String], in_any_case: bool) -> Option<Option<Regex>> {
    if expressions.is_empty() {
        return Some(None);
    }
    let mut builder = RegexBuilder::new(&expressions.join("|"));
    builder.size_limit(COMPILED_BYTES).dfa_size_limit(SCRATCH_BYTES);
    builder.case_insensitive(in_any_case).build().ok().map(Some)
}
