//! A pattern of rooms, taken apart once so that it is matched without parsing.
//!
//! Invariant: it contains what [`Pattern::matches`] says, and covers a pattern only if it contains
//! every room that the pattern means (tests hold both against it).

use crate::room::pattern::{Pattern, Token, namespace_of, tokens};

/// How a text begins: its first eight bytes, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning(u64);

impl Beginning {
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let number = match bytes.first_chunk() {
            Some(first) => u64::from_le_bytes(*first),
            None => bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        };
        Self(number)
    }

    /// Of so many bytes, those that count.
    fn mask(length: usize) -> u64 {
        u64::MAX.checked_shr(64 - 8 * u32::try_from(length.min(8)).unwrap_or(8)).unwrap_or(0)
    }
}

/// A pattern, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// How whatever is in it begins, and how much of that counts: most patterns are passed over by
    /// one look at this.
    beginning: Beginning,
    mask: u64,
    pattern: Pattern,
    /// What every room in it begins with.
    prefix: Box<str>,
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

impl Scope {
    pub(super) fn new(pattern: Pattern) -> Self {
        let mut prefix = String::new();
        let mut tail = None;
        let mut parts = tokens(pattern.as_str()).enumerate().peekable();
        while let Some((index, token)) = parts.next() {
            if index > 0 && token != Token::Rest {
                prefix.push('/');
            }
            let found = match token {
                Token::Literal(segment) => {
                    prefix.push_str(segment);
                    continue;
                }
                // All there is.
                Token::Rest if index == 0 => Tail::Anything,
                Token::Rest => Tail::Below,
                Token::One => Tail::Segment,
                Token::NamespaceOne(namespace) => {
                    prefix.extend([namespace, ":"]);
                    Tail::Segment
                }
                Token::NamespaceRest(namespace) => {
                    prefix.extend([namespace, ":"]);
                    Tail::Anything
                }
            };
            tail = Some(if parts.peek().is_some() { Tail::Pattern } else { found });
            break;
        }
        drop(parts);
        Self {
            beginning: Beginning::of(&prefix),
            mask: Beginning::mask(prefix.len()),
            prefix: prefix.into(),
            tail: tail.unwrap_or(Tail::Pattern),
            pattern,
        }
    }

    /// Whether what begins so may be in it, be it a room or a pattern.
    pub(super) fn may_hold(&self, beginning: Beginning) -> bool {
        beginning.0 & self.mask == self.beginning.0
    }

    /// Whether `room`, the name of a room that is not reserved, is in it.
    pub(super) fn contains(&self, room: &str) -> bool {
        let Some(rest) = room.strip_prefix(&*self.prefix) else { return false };
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
