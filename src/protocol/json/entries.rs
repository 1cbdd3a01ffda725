//! Walks over the members of an object and the elements of an array.

use std::borrow::Cow;

use crate::protocol::fault::Fault;

use super::scan::{after_colon, find_special, skip, skip_whitespace, string};
use super::text;

/// The members of an object, in order: a key, then its value.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    is_first: bool,
}

impl<'a> Entries<'a> {
    /// The members of the object that begins at the start of `bytes`; none if none does.
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.first() == Some(&b'{')).then_some(Self { bytes, at: 1, is_first: true })
    }

    /// The next key; its value must be taken before another is. None where the object ends.
    /// Not checked to be UTF-8: most keys are only compared.
    #[inline]
    pub(in crate::protocol) fn next_key(&mut self) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        let mut at = skip_whitespace(self.bytes, self.at);
        match self.bytes.get(at) {
            Some(b'}') => {
                self.at = at + 1;
                return Ok(None);
            }
            Some(b',') if !self.is_first => at = skip_whitespace(self.bytes, at + 1),
            Some(b'"') if self.is_first => {}
            _ => return Err(Fault::Malformed),
        }
        self.is_first = false;
        if self.bytes.get(at) != Some(&b'"') {
            return Err(Fault::Malformed);
        }
        let start = at + 1;
        let mut end = find_special(self.bytes, start);
        let key = if self.bytes.get(end) == Some(&b'"') {
            end += 1;
            Cow::Borrowed(&self.bytes[start..end - 1])
        } else {
            end = string(self.bytes, end)?;
            let text = text(&self.bytes[at..end]).ok_or(Fault::Malformed)?;
            Cow::Owned(text.into_owned().into_bytes())
        };
        self.at = after_colon(self.bytes, end)?;
        Ok(Some(key))
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

/// The elements of an array that has been checked.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// The elements of the array; none if it is none.
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.first() == Some(&b'[')).then_some(Self { bytes, at: 1 })
    }

    /// Those in the bytes that were [left](Self::rest), and that may be followed by anything.
    pub(in crate::protocol) fn of_rest(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The bytes behind the last one taken.
    pub(in crate::protocol) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut start = skip_whitespace(self.bytes, self.at);
        if self.bytes.get(start) == Some(&b',') {
            start = skip_whitespace(self.bytes, start + 1);
        }
        let end = skip(self.bytes, start, u8::MAX).ok()?;
        self.at = end;
        self.bytes.get(start..end)
    }
}
