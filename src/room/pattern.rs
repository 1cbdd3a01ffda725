//! Patterns of room names, and the matching of one against another.
//!
//! A pattern is divided by `/` as names are. `*` stands for one segment, a final `**` for any number
//! of them (none too), and either may follow the colon of a namespace: `chat:*` is every room of
//! `chat` with one segment, `chat:**` every room of `chat`. All else is literal.
//!
//! Invariants: a [`Pattern`] is valid; none matches a reserved room; since only the last token may
//! stand for more than one segment, matching is one pass without going back.

mod set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::name::{NAME_BYTES, RoomName, has_control};

pub use set::PatternSet;

/// A valid pattern.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It has no bytes.
    Empty,
    /// It is longer than a name may be.
    TooLong,
    /// It contains a control character.
    Control,
    /// It begins or ends with a space (of any kind) or `/`.
    Edge,
    /// It begins with `@`.
    Reserved,
    /// It has a `*` that is not a segment of its own, nor the whole of what follows the namespace's
    /// colon in its segment.
    Star,
    /// It goes on after `**`.
    AfterRest,
}

/// What a pattern says about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// This text.
    Literal(&'a str),
    /// Anything.
    One,
    /// Anything, and any number of further ones, or not even this one.
    Rest,
    /// Anything after this namespace and its colon.
    NamespaceOne(&'a str),
    /// Anything after this namespace and its colon, and any number of further ones.
    NamespaceRest(&'a str),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_text(text)?;
        let mut tokens = tokens(text).peekable();
        // A star that follows a colon is the namespace's only while no colon and no star came before.
        let mut in_namespace = true;
        while let Some(token) = tokens.next() {
            match token {
                Token::Literal(segment) if segment.contains('*') => return Err(PatternError::Star),
                Token::NamespaceOne(_) | Token::NamespaceRest(_) if !in_namespace => {
                    return Err(PatternError::Star);
                }
                Token::Rest | Token::NamespaceRest(_) if tokens.peek().is_some() => {
                    return Err(PatternError::AfterRest);
                }
                Token::Literal(segment) => in_namespace &= !segment.contains(':'),
                Token::One | Token::Rest | Token::NamespaceOne(_) | Token::NamespaceRest(_) => {
                    in_namespace = false;
                }
            }
        }
        Ok(Self(text.into()))
    }

    /// The one that means every room.
    #[must_use]
    pub fn everything() -> Self {
        Self("**".into())
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `room` is one of those that the pattern means.
    #[must_use]
    pub fn matches(&self, room: &RoomName) -> bool {
        if room.is_reserved() {
            return false;
        }
        let mut segments = room.as_str().split('/');
        for token in tokens(&self.0) {
            let segment = segments.next();
            let matched = match token {
                Token::Rest => return true,
                Token::NamespaceRest(namespace) => {
                    return segment.and_then(namespace_of) == Some(namespace);
                }
                Token::NamespaceOne(namespace) => segment.and_then(namespace_of) == Some(namespace),
                Token::One => segment.is_some(),
                Token::Literal(literal) => segment == Some(literal),
            };
            if !matched {
                return false;
            }
        }
        segments.next().is_none()
    }
}

fn check_text(text: &str) -> Result<(), PatternError> {
    let at_edge = |c: char| c == '/' || c.is_whitespace();
    if text.is_empty() {
        Err(PatternError::Empty)
    } else if text.len() > NAME_BYTES {
        Err(PatternError::TooLong)
    } else if text.starts_with('@') {
        Err(PatternError::Reserved)
    } else if has_control(text) {
        Err(PatternError::Control)
    } else if text.starts_with(at_edge) || text.ends_with(at_edge) {
        Err(PatternError::Edge)
    } else {
        Ok(())
    }
}

pub(crate) fn tokens(pattern: &str) -> impl Iterator<Item = Token<'_>> {
    pattern.split('/').map(|segment| match segment {
        "*" => Token::One,
        "**" => Token::Rest,
        _ => match segment.split_once(':') {
            Some((namespace, "*")) => Token::NamespaceOne(namespace),
            Some((namespace, "**")) => Token::NamespaceRest(namespace),
            _ => Token::Literal(segment),
        },
    })
}

/// The part of a segment before its first colon.
pub(crate) fn namespace_of(segment: &str) -> Option<&str> {
    segment.split_once(':').map(|(namespace, _)| namespace)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
