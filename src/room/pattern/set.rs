//! Which of many patterns match a room.
//!
//! A trie with one level for each segment. A lookup visits only nodes whose path matches, each at
//! most once, so it costs what it finds and not what there is.
//!
//! Invariants: every node but the root leads to a subscriber; a subscriber is found once for each of
//! its patterns that match.

use std::hash::Hash;

use super::{Pattern, Token, namespace_of, tokens};
use crate::hash::{Map, Seed, Set};
use crate::room::name::RoomName;

/// Patterns, each with those who hold it.
#[derive(Debug)]
pub struct PatternSet<K> {
    seed: Seed,
    root: Node<K>,
    len: usize,
}

#[derive(Debug)]
struct Node<K> {
    /// Those whose pattern ends here.
    exact: Set<K>,
    /// Those whose pattern ends here with `**`.
    rest: Set<K>,
    /// Those whose pattern ends here with `namespace:**`.
    namespace_rest: Map<Box<str>, Set<K>>,
    /// By the next segment.
    literal: Map<Box<str>, Node<K>>,
    /// By the namespace in the next segment, which is otherwise anything: `namespace:*`.
    namespace: Map<Box<str>, Node<K>>,
    /// The next segment is anything.
    one: Option<Box<Node<K>>>,
}

impl<K: Copy + Eq + Hash> PatternSet<K> {
    /// An empty set whose maps hash with `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { seed, root: Node::new(seed), len: 0 }
    }

    /// Pairs of a pattern and one who holds it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody holds any pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `holder` hold `pattern`; false if it did.
    pub fn insert(&mut self, pattern: &Pattern, holder: K) -> bool {
        let seed = self.seed;
        let mut node = &mut self.root;
        for token in tokens(&pattern.0) {
            node = match token {
                Token::Literal(segment) => child(&mut node.literal, segment, || Node::new(seed)),
                Token::NamespaceOne(namespace) => {
                    child(&mut node.namespace, namespace, || Node::new(seed))
                }
                Token::One => node.one.get_or_insert_with(|| Box::new(Node::new(seed))),
                // Both come last.
                Token::Rest => {
                    let inserted = node.rest.insert(holder);
                    self.len += usize::from(inserted);
                    return inserted;
                }
                Token::NamespaceRest(namespace) => {
                    let holders =
                        child(&mut node.namespace_rest, namespace, || Set::with_hasher(seed));
                    let inserted = holders.insert(holder);
                    self.len += usize::from(inserted);
                    return inserted;
                }
            };
        }
        let inserted = node.exact.insert(holder);
        self.len += usize::from(inserted);
        inserted
    }

    /// Takes `pattern` from `holder`; false if it did not hold it.
    pub fn remove(&mut self, pattern: &Pattern, holder: K) -> bool {
        let removed = self.root.remove(tokens(&pattern.0), holder);
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `found` for everyone who holds a pattern that matches `room`, once for each such
    /// pattern.
    pub fn visit(&self, room: &RoomName, mut found: impl FnMut(K)) {
        if !self.is_empty() && !room.is_reserved() {
            self.root.visit(Some(room.as_str()), &mut found);
        }
    }

    /// Whether anyone holds a pattern that matches `room`.
    #[must_use]
    pub fn is_matched(&self, room: &RoomName) -> bool {
        let mut is_matched = false;
        self.visit(room, |_| is_matched = true);
        is_matched
    }
}

impl<K: Copy + Eq + Hash> Node<K> {
    fn new(seed: Seed) -> Self {
        Self {
            exact: Set::with_hasher(seed),
            rest: Set::with_hasher(seed),
            namespace_rest: Map::with_hasher(seed),
            literal: Map::with_hasher(seed),
            namespace: Map::with_hasher(seed),
            one: None,
        }
    }

    fn is_vacant(&self) -> bool {
        self.exact.is_empty()
            && self.rest.is_empty()
            && self.namespace_rest.is_empty()
            && self.literal.is_empty()
            && self.namespace.is_empty()
            && self.one.is_none()
    }

    /// `left` is what is left of the name, or nothing where the name has ended. A name has at most
    /// 200 segments and so has a pattern, which bounds the depth here and in `remove`.
    fn visit(&self, left: Option<&str>, found: &mut impl FnMut(K)) {
        self.rest.iter().copied().for_each(&mut *found);
        let Some(left) = left else {
            self.exact.iter().copied().for_each(found);
            return;
        };
        let (segment, left) = match left.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (left, None),
        };
        if let Some(node) = self.literal.get(segment) {
            node.visit(left, found);
        }
        if let Some(node) = &self.one {
            node.visit(left, found);
        }
        if self.namespace.is_empty() && self.namespace_rest.is_empty() {
            return;
        }
        if let Some(namespace) = namespace_of(segment) {
            if let Some(holders) = self.namespace_rest.get(namespace) {
                holders.iter().copied().for_each(&mut *found);
            }
            if let Some(node) = self.namespace.get(namespace) {
                node.visit(left, found);
            }
        }
    }

    /// Removes and, on the way back, prunes what leads to nobody.
    fn remove<'a>(&mut self, mut tokens: impl Iterator<Item = Token<'a>>, holder: K) -> bool {
        match tokens.next() {
            None => self.exact.remove(&holder),
            Some(Token::Rest) => self.rest.remove(&holder),
            Some(Token::NamespaceRest(namespace)) => {
                let Some(holders) = self.namespace_rest.get_mut(namespace) else { return false };
                let removed = holders.remove(&holder);
                if holders.is_empty() {
                    self.namespace_rest.remove(namespace);
                }
                removed
            }
            Some(Token::One) => {
                let Some(node) = &mut self.one else { return false };
                let removed = node.remove(tokens, holder);
                if node.is_vacant() {
                    self.one = None;
                }
                removed
            }
            Some(Token::Literal(segment)) => {
                remove_below(&mut self.literal, segment, tokens, holder)
            }
            Some(Token::NamespaceOne(namespace)) => {
                remove_below(&mut self.namespace, namespace, tokens, holder)
            }
        }
    }
}

fn remove_below<'a, K: Copy + Eq + Hash>(
    children: &mut Map<Box<str>, Node<K>>,
    name: &str,
    tokens: impl Iterator<Item = Token<'a>>,
    holder: K,
) -> bool {
    let Some(node) = children.get_mut(name) else { return false };
    let removed = node.remove(tokens, holder);
    if node.is_vacant() {
        children.remove(name);
    }
    removed
}

/// The entry for `name`, made if there is none.
fn child<'a, T>(
    children: &'a mut Map<Box<str>, T>,
    name: &str,
    make: impl FnOnce() -> T,
) -> &'a mut T {
    children.entry(name.into()).or_insert_with(make)
}
