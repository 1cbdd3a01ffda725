//! From a WebSocket message to commands.
//!
//! Invariants: a message that is not well-formed to its last byte has no effect at all; in a
//! well-formed batch each message answers for itself; nothing is kept but what is borrowed, so
//! the cost of a message is its length.

use std::borrow::Cow;

use crate::ws::MessageKind;

use super::data::Items;
use super::fault::Fault;
use super::fields::Fields;
use super::msgpack::Head;
use super::name::Name;
use super::{Codec, Data, Envelope, ErrorCode, RequestId, json, msgpack, read};

/// What a peer may put into one WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Nesting of one message, at most [`Data::DEPTH_MAX`].
    pub depth: u8,
    /// Messages of a batch.
    pub batch_messages: u16,
}

impl From<&crate::config::Limits> for ParseLimits {
    fn from(limits: &crate::config::Limits) -> Self {
        Self { depth: limits.depth, batch_messages: limits.batch_messages }
    }
}

impl ParseLimits {
    /// No deeper than anything is read.
    fn in_bounds(self) -> Self {
        Self { depth: self.depth.min(Data::DEPTH_MAX), ..self }
    }
}

/// A message that is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it could be read.
    pub id: Option<RequestId>,
    /// For programs.
    pub code: ErrorCode,
    /// For people; never text of the peer.
    pub message: Cow<'static, str>,
}

impl Bad {
    pub(super) fn new(id: Option<RequestId>, fault: Fault) -> Self {
        Self { id, code: fault.code(), message: fault.message() }
    }
}

/// The messages of a WebSocket message, or of a `batch`, one after the other.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    limits: ParseLimits,
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    /// One message, not looked at yet.
    One { codec: Codec, bytes: &'a [u8] },
    /// The elements of an array that is well-formed.
    Batch(Items<'a>),
    /// Nothing of it can be read.
    Refused(Fault),
    /// Nothing is left.
    Done,
}

/// Where in a WebSocket message the next message of a batch begins.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(super) at: usize,
    /// How many there are, where that is counted.
    left: usize,
}

/// Reads what a client sent: one message, or a batch of them. Text is UTF-8: the WebSocket layer
/// has seen to it.
#[must_use]
pub fn parse<'a>(kind: MessageKind, payload: &'a [u8], limits: &ParseLimits) -> Messages<'a> {
    let (limits, codec) = (limits.in_bounds(), codec(kind));
    let bytes = match codec {
        Codec::Json => &payload[json::skip_whitespace(payload, 0)..],
        Codec::MessagePack => payload,
    };
    let source = if is_array(codec, bytes) {
        whole_array(codec, bytes, limits.batch_messages).map_or_else(Source::Refused, Source::Batch)
    } else {
        Source::One { codec, bytes }
    };
    Messages { limits, source }
}

/// Reads on from a [place](Messages::place) in what was sent, at the cost of what is read.
#[must_use]
pub fn parse_on<'a>(
    kind: MessageKind,
    payload: &'a [u8],
    place: Place,
    limits: &ParseLimits,
) -> Messages<'a> {
    let rest = payload.get(place.at..).unwrap_or_default();
    let source = Source::Batch(Items::of_rest(codec(kind), rest, place.left));
    Messages { limits: limits.in_bounds(), source }
}

fn codec(kind: MessageKind) -> Codec {
    match kind {
        MessageKind::Text => Codec::Json,
        MessageKind::Binary => Codec::MessagePack,
    }
}

impl<'a> Messages<'a> {
    /// Whether this is a message that stands alone: a command, or a `batch`.
    #[must_use]
    pub fn is_one(&self) -> bool {
        matches!(self.source, Source::One { .. })
    }

    /// Whether there are more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        match &self.source {
            Source::One { .. } | Source::Refused(_) => true,
            Source::Batch(items) => items.clone().next().is_some(),
            Source::Done => false,
        }
    }

    /// Where the next message of a batch begins in `payload`, which it was read from.
    #[must_use]
    pub fn place(&self, payload: &[u8]) -> Option<Place> {
        let Source::Batch(items) = &self.source else { return None };
        let (rest, left) = items.rest();
        let at = rest.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
        Some(Place { at, left })
    }

    /// The messages of a `batch`.
    pub(super) fn of_batch(messages: Data<'a>, limits: ParseLimits) -> Result<Self, Fault> {
        let items = messages.items().ok_or(Fault::WrongKind(Name::Messages))?;
        let items = at_most(items, limits.batch_messages)?;
        Ok(Self { limits, source: Source::Batch(items) })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Envelope<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        let limits = self.limits;
        if let Source::Batch(items) = &mut self.source {
            let item = items.next()?;
            let fields = Fields::walk(item.codec(), item.bytes(), limits.depth);
            return Some(read::envelope(&fields, None));
        }
        match std::mem::replace(&mut self.source, Source::Done) {
            Source::One { codec, bytes } => Some(one(codec, bytes, limits)),
            Source::Refused(fault) => Some(Err(Bad::new(None, fault))),
            Source::Batch(_) | Source::Done => None,
        }
    }
}

/// Reads a message that stands alone.
fn one<'a>(codec: Codec, bytes: &'a [u8], limits: ParseLimits) -> Result<Envelope<'a>, Bad> {
    let mut fields = Fields::walk(codec, bytes, limits.depth);
    let is_whole = match codec {
        Codec::Json => json::is_end(bytes, fields.end),
        Codec::MessagePack => fields.end == bytes.len(),
    };
    match fields.fault {
        // Is it some other value, or none at all?
        Some(Fault::NotAMessage) if Data::new(codec, bytes, Data::DEPTH_MAX).is_none() => {
            fields.fault = Some(Fault::Malformed);
        }
        None if !is_whole => fields.fault = Some(Fault::Malformed),
        _ => {}
    }
    read::envelope(&fields, Some(limits))
}

fn is_array(codec: Codec, bytes: &[u8]) -> bool {
    match codec {
        Codec::Json => bytes.first() == Some(&b'['),
        Codec::MessagePack => matches!(Head::read(bytes, 0), Ok((Head::Array(_), _))),
    }
}

/// The messages of an array that is all there is.
fn whole_array(codec: Codec, bytes: &[u8], most: u16) -> Result<Items<'_>, Fault> {
    let end = match codec {
        Codec::Json => json::skip(bytes, 0, Data::DEPTH_MAX)?,
        Codec::MessagePack => msgpack::skip(bytes, 0, Data::DEPTH_MAX)?,
    };
    let is_whole = match codec {
        Codec::Json => json::is_end(bytes, end),
        Codec::MessagePack => end == bytes.len(),
    };
    if !is_whole {
        return Err(Fault::Malformed);
    }
    let items = Data::checked(codec, &bytes[..end]).items().ok_or(Fault::Malformed)?;
    at_most(items, most)
}

/// The same elements, if there are no more than allowed.
fn at_most(items: Items<'_>, most: u16) -> Result<Items<'_>, Fault> {
    if items.clone().take(usize::from(most) + 1).count() > usize::from(most) {
        return Err(Fault::TooManyMessages);
    }
    Ok(items)
}
