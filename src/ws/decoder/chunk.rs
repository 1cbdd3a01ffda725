//! The bytes that a connection just read.

use std::ops::Range;

/// Bytes as they were read, and how far they are decoded. Decoding scribbles on them.
#[derive(Debug)]
pub struct Chunk<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) position: usize,
}

impl<'a> Chunk<'a> {
    /// Bytes of which none are decoded.
    #[must_use]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// What is not decoded yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// The next `len` bytes, or as many as there are.
    pub(super) fn take(&mut self, len: u64) -> Range<usize> {
        let start = self.position;
        let left = self.bytes.len() - start;
        self.position += usize::try_from(len).map_or(left, |len| len.min(left));
        start..self.position
    }
}
