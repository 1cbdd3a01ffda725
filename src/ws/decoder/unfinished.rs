//! What a connection keeps of things that have begun and not ended.
//!
//! Invariant: bytes are kept once and unmasked, in memory that is at most about twice as large as what has
//! come, and no larger than what may come.

use std::ops::Range;

use super::{Chunk, Event, Limits, Scratch, message_event};
use crate::ws::close::Fault;
use crate::ws::frame::{HEADER_MAX_BYTES, Header};
use crate::ws::{MessageKind, mask, utf8};

/// At most a header or a frame, and at most a message around it.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Since when it is kept, in the count of whoever bounds that; 0: it was not kept yet.
    pub since: u64,
    pub(super) header: PartialHeader,
    pub(super) frame: Option<Frame>,
    /// The payload of the control frame that `frame` is, as far as it came.
    pub(super) control: Vec<u8>,
    pub(super) message: Option<Message>,
}

impl Unfinished {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.capacity());
        size_of::<Self>() + message + self.control.capacity()
    }
}

/// The first bytes of a header.
#[derive(Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; HEADER_MAX_BYTES],
    len: usize,
}

impl PartialHeader {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes of `input` until they make a header, which is returned and forgotten.
    pub(super) fn complete(&mut self, input: &mut Chunk<'_>) -> Result<Option<Header>, Fault> {
        let added = input.rest().len().min(HEADER_MAX_BYTES - self.len);
        let end = self.len + added;
        self.bytes[self.len..end].copy_from_slice(&input.rest()[..added]);
        if let Some((header, header_len)) = Header::parse(&self.bytes[..end])? {
            input.position += header_len - self.len;
            self.len = 0;
            Ok(Some(header))
        } else {
            input.position += added;
            self.len = end;
            Ok(None)
        }
    }
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) header: Header,
    received: u64,
}

impl Frame {
    pub(super) fn new(header: Header) -> Self {
        Self { header, received: 0 }
    }

    /// Takes what `input` has of the payload, and its mask off.
    pub(super) fn receive(&mut self, input: &mut Chunk<'_>) -> Range<usize> {
        let piece = input.take(self.missing());
        mask::apply(&mut input.bytes[piece.clone()], self.header.mask, self.received);
        self.received += piece.len() as u64;
        piece
    }

    pub(super) fn missing(&self) -> u64 {
        self.header.payload_len - self.received
    }

    pub(super) fn is_received(&self) -> bool {
        self.missing() == 0
    }
}

/// A message of which some came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: MessageKind,
    pub(super) compressed: bool,
    pub(super) fragments: u32,
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes are known to be whole characters, if it is text and not compressed.
    validated: usize,
}

impl Message {
    pub(super) fn new(first: &Header) -> Self {
        Self {
            kind: first.opcode.message_kind().unwrap_or(MessageKind::Binary),
            compressed: first.compressed,
            fragments: 1,
            bytes: Vec::new(),
            validated: 0,
        }
    }

    /// Adds a piece of it; in all it will have `most_bytes` at most.
    pub(super) fn push(&mut self, piece: &[u8], most_bytes: usize) -> Result<(), Fault> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            // Doubled, so that nothing is moved often; but what can never be filled is not asked for.
            let wanted = needed.max((2 * self.bytes.capacity()).min(most_bytes));
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        if self.kind == MessageKind::Text && !self.compressed {
            let fresh = &self.bytes[self.validated..];
            self.validated += utf8::valid_prefix_len(fresh).map_err(|_| Fault::InvalidText)?;
        }
        Ok(())
    }

    /// The whole message. Its bytes move to `scratch`, where they stay until the next one.
    pub(super) fn into_event<'a>(
        self,
        limits: &Limits,
        scratch: &'a mut Scratch,
    ) -> Result<Event<'a>, Fault> {
        let Self { kind, compressed, validated, fragments, .. } = self;
        let is_validated = validated == self.bytes.len();
        scratch.assembled = self.bytes;
        if compressed {
            let payload = scratch.inflater.inflate(&scratch.assembled, limits.message_bytes)?;
            return message_event(kind, payload, fragments);
        }
        if kind == MessageKind::Text && !is_validated {
            return Err(Fault::InvalidText);
        }
        Ok(Event::Message { kind, payload: &mut scratch.assembled, frames: fragments })
    }
}
