//! Walks over the pairs of a map and the elements of an array.

use crate::protocol::fault::Fault;

use super::scan::{Head, key_span, skip};

/// The pairs of a map, in order: a key, then its value.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Entries<'a> {
    /// The pairs of the map that begins at the start of `bytes`; none if none does.
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Option<Self> {
        match Head::read(bytes, 0) {
            Ok((Head::Map(left), at)) => Some(Self { bytes, at, left }),
            _ => None,
        }
    }

    /// The next key; its value must be taken before another is. None where the map ends.
    pub(in crate::protocol) fn next_key(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let (start, end) = key_span(self.bytes, self.at)?;
        (self.left, self.at) = (left, end);
        Ok(Some(&self.bytes[start..end]))
    }

    /// The value of the key just taken, nested at most `depth` deep.
    pub(in crate::protocol) fn value(&mut self, depth: u8) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.at = skip(self.bytes, start, depth)?;
        Ok(&self.bytes[start..self.at])
    }

    /// Where the walk has come to.
    pub(in crate::protocol) fn position(&self) -> usize {
        self.at
    }
}

/// What a string says. None if the value is none.
pub(in crate::protocol) fn text(value: &[u8]) -> Option<&str> {
    match Head::read(value, 0) {
        Ok((Head::Text(length), at)) => {
            str::from_utf8(value.get(at..at.checked_add(length)?)?).ok()
        }
        _ => None,
    }
}

/// The elements of an array that has been checked.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Items<'a> {
    /// The elements of the array; none if it is none.
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Option<Self> {
        match Head::read(bytes, 0) {
            Ok((Head::Array(left), at)) => Some(Self { bytes, at, left }),
            _ => None,
        }
    }

    /// Those in the bytes that were [left](Self::rest), and that may be followed by anything.
    pub(in crate::protocol) fn of_rest(bytes: &'a [u8], left: usize) -> Self {
        Self { bytes, at: 0, left }
    }

    /// The bytes behind the last one taken, and how many elements they are.
    pub(in crate::protocol) fn rest(&self) -> (&'a [u8], usize) {
        (self.bytes.get(self.at..).unwrap_or_default(), self.left)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let start = self.at;
        self.at = skip(self.bytes, start, u8::MAX).ok()?;
        self.bytes.get(start..self.at)
    }
}
