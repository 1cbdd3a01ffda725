//! The patterns of a credential, taken apart once so that a room is looked up without parsing any.
//!
//! Invariants: a scope contains what [`Pattern::matches`] says, and covers a pattern only if it contains
//! every room that the pattern means (tests hold both against it); [`Scopes::likely`] leaves out none
//! that contains or covers what is asked about (so do tests).

use std::iter;

use crate::room::pattern::{Pattern, Token, namespace_of, tokens};

/// A pattern, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The first eight bytes of the prefix, as a number that is greater for what comes later.
    beginning: u64,
    pattern: Pattern,
    /// How many bytes of the pattern are its prefix: what is before its first star, with which
    /// everything in it begins.
    prefix_bytes: usize,
    tail: Tail,
}

/// What may follow the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing, or `/` and anything.
    Below,
    /// Anything.
    Anything,
    /// One segment, or the rest of one.
    Segment,
    /// What only the whole pattern can say.
    Pattern,
}

/// Scopes, in the order of their prefixes, each with what is granted there.
#[derive(Clone, Debug)]
pub(super) struct Scopes<T>(Box<[Entry<T>]>);

#[derive(Clone, Debug)]
struct Entry<T> {
    scope: Scope,
    granted: T,
    /// How many entries there are up to the last one before it whose prefix its own begins with.
    above: usize,
}

impl<T> Default for Scopes<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> Scopes<T> {
    pub(super) fn new(patterns: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        let entry = |(pattern, granted)| Entry { scope: Scope::new(pattern), granted, above: 0 };
        let mut entries: Vec<_> = patterns.into_iter().map(entry).collect();
        entries.sort_unstable_by(|a, b| a.scope.prefix().cmp(b.scope.prefix()));
        for index in 1..entries.len() {
            let prefix = entries[index].scope.prefix();
            let nearest = up_from(&entries, index).find_map(|(count, above)| {
                prefix.starts_with(above.scope.prefix()).then_some(count)
            });
            entries[index].above = nearest.unwrap_or(0);
        }
        Self(entries.into())
    }

    /// Those that may contain or cover `on`, a room or a pattern.
    ///
    /// What begins with a prefix comes after it in order, and nothing comes between that does not
    /// begin with it as well. So all are on the way up from the last that is not after `on`.
    #[inline]
    pub(super) fn likely(&self, on: &str) -> impl Iterator<Item = (&Scope, &T)> {
        let beginning = beginning(on);
        let count = self.0.partition_point(|Entry { scope, .. }| {
            scope.beginning < beginning || scope.beginning == beginning && scope.prefix() <= on
        });
        up_from(&self.0, count).map(|(_, entry)| (&entry.scope, &entry.granted))
    }
}

/// The last of the first `count` entries, the one above it, and so on; each with how many there are
/// up to it.
fn up_from<T>(entries: &[Entry<T>], count: usize) -> impl Iterator<Item = (usize, &Entry<T>)> {
    let at = |count: usize| Some((count, entries.get(count.checked_sub(1)?)?));
    iter::successors(at(count), move |(_, entry)| at(entry.above))
}

/// How a text begins: its first eight bytes. In the order of texts, as far as they go.
fn beginning(text: &str) -> u64 {
    let bytes = text.as_bytes();
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => (0..8).fold(0, |number, index| {
            number << 8 | u64::from(bytes.get(index).copied().unwrap_or(0))
        }),
    }
}

impl Scope {
    pub(super) fn new(pattern: Pattern) -> Self {
        let text = pattern.as_str();
        let (before, star) = text.split_at(text.find('*').unwrap_or(text.len()));
        let (prefix, tail) = match star {
            "*" => (before, Tail::Segment),
            // `a/**` has `a` in it.
            "**" => before
                .strip_suffix('/')
                .map_or((before, Tail::Anything), |above| (above, Tail::Below)),
            _ => (before, Tail::Pattern),
        };
        let prefix_bytes = prefix.len();
        Self { beginning: beginning(prefix), prefix_bytes, tail, pattern }
    }

    fn prefix(&self) -> &str {
        &self.pattern.as_str()[..self.prefix_bytes]
    }

    /// Whether `room`, the name of a room that is not reserved, is in it.
    pub(super) fn contains(&self, room: &str) -> bool {
        let Some(rest) = room.strip_prefix(self.prefix()) else { return false };
        match self.tail {
            Tail::Anything => true,
            Tail::Below => rest.is_empty() || rest.starts_with('/'),
            Tail::Segment => !rest.contains('/'),
            Tail::Pattern => self.includes(room.split('/').map(Token::Literal)),
        }
    }

    /// Whether all that `other`, the text of a pattern, means is in it.
    pub(super) fn covers(&self, other: &str) -> bool {
        self.includes(tokens(other))
    }

    fn includes<'a>(&self, mut others: impl Iterator<Item = Token<'a>>) -> bool {
        for token in tokens(self.pattern.as_str()) {
            let other = others.next();
            let covered = match token {
                Token::Rest => return true,
                Token::NamespaceRest(namespace) => {
                    return other.and_then(namespace_within) == Some(namespace);
                }
                Token::NamespaceOne(namespace) => {
                    other.filter(is_one).and_then(namespace_within) == Some(namespace)
                }
                Token::One => other.is_some_and(|other| is_one(&other)),
                Token::Literal(_) => other == Some(token),
            };
            if !covered {
                return false;
            }
        }
        others.next().is_none()
    }
}

/// Whether it stands for exactly one segment.
fn is_one(token: &Token<'_>) -> bool {
    !matches!(token, Token::Rest | Token::NamespaceRest(_))
}

/// The namespace of every segment that a token stands for.
fn namespace_within(token: Token<'_>) -> Option<&str> {
    match token {
        Token::Literal(segment) => namespace_of(segment),
        Token::NamespaceOne(namespace) | Token::NamespaceRest(namespace) => Some(namespace),
        Token::One | Token::Rest => None,
    }
}
