//! The receiving side of one connection: bytes in, messages and control frames out.
//!
//! Invariants: what comes out does not depend on how the bytes were cut; a connection between two
//! frames holds no heap memory; memory grows with bytes that arrived, never with a claimed length;
//! after a close frame or a fault nothing more is decoded.

mod chunk;
mod limits;
mod unfinished;

pub use self::chunk::Chunk;
pub use self::limits::Limits;
pub use self::unfinished::Unfinished;
use self::unfinished::{Frame, Message};
use crate::clock::Stopwatch;

use super::MessageKind;
use super::buffer;
use super::close::{self, Fault};
use super::deflate::{Inflater, Tally};
use super::frame::{Header, Opcode};
use super::utf8;

/// Something whole arrived. It lives in the chunk or in the scratch, until the next call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message: unmasked, reassembled, inflated; text is valid UTF-8. The receiver may scribble
    /// on it.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// What it says.
        payload: &'a mut [u8],
        /// How many frames it came in.
        frames: u32,
    },
    /// A ping: at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong, asked for or not: at most 125 bytes.
    Pong(&'a [u8]),
    /// The last frame of this peer.
    Close {
        /// Its code, if it gave one.
        code: Option<u16>,
        /// Its reason; often empty.
        reason: &'a str,
    },
}

/// Memory that all connections of a core decode with.
#[derive(Debug, Default)]
pub struct Scratch {
    inflater: Inflater,
    /// The message or control frame last reassembled.
    assembled: Vec<u8>,
}

impl Scratch {
    /// Scratch that has decoded nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scratch that counts how long inflating takes.
    #[must_use]
    pub fn timed(stopwatch: Stopwatch) -> Self {
        Self { inflater: Inflater::timed(stopwatch), assembled: Vec::new() }
    }

    /// Gives back what large messages have taken: between two of them, not within one.
    pub fn give_back(&mut self) {
        buffer::give_back(&mut self.assembled);
        self.inflater.give_back();
    }

    /// What was inflated since the last call.
    pub fn take_tally(&mut self) -> Tally {
        self.inflater.take_tally()
    }
}

/// The receiving side of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// What has begun and not ended; boxed, because mostly there is nothing.
    unfinished: Option<Box<Unfinished>>,
    deflate: bool,
    ended: bool,
}

impl Decoder {
    /// A connection that has received nothing; `deflate` if permessage-deflate was agreed on.
    #[must_use]
    pub fn new(deflate: bool) -> Self {
        Self { unfinished: None, deflate, ended: false }
    }

    /// Bytes of memory held for what has begun and not ended: 0 for a connection between messages.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |unfinished| unfinished.held_bytes())
    }

    /// Takes out what has begun and not ended, for whoever bounds that to keep until more comes. Nothing
    /// more may be decoded before it is [given back](Self::resume).
    pub fn suspend(&mut self) -> Option<Box<Unfinished>> {
        self.unfinished.take()
    }

    /// Goes on with what was taken out.
    pub fn resume(&mut self, unfinished: Box<Unfinished>) {
        self.unfinished = Some(unfinished);
    }

    /// Whether the peer has closed or broken the protocol, so that nothing more is decoded.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next whole thing in `input`; `None` when it is used up. What is incomplete is kept.
    ///
    /// # Errors
    /// The peer broke the protocol: close with the fault's code.
    pub fn next<'a>(
        &mut self,
        input: &'a mut Chunk<'_>,
        limits: &Limits,
        scratch: &'a mut Scratch,
    ) -> Result<Option<Event<'a>>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let result = self.advance(input, limits, scratch);
        if matches!(result, Err(_) | Ok(Some(Event::Close { .. }))) {
            self.ended = true;
            self.unfinished = None;
        }
        result
    }

    fn advance<'a>(
        &mut self,
        input: &'a mut Chunk<'_>,
        limits: &Limits,
        scratch: &'a mut Scratch,
    ) -> Result<Option<Event<'a>>, Fault> {
        while !input.is_empty() {
            let Some(mut frame) = self.open_frame(input, limits)? else { break };
            let Header { fin, opcode, compressed, payload_len, .. } = frame.header;
            let piece = frame.receive(input);
            let is_whole = piece.len() as u64 == payload_len;
            if opcode.is_control() {
                if is_whole {
                    self.close_frame();
                    return control_event(opcode, &input.bytes[piece]).map(Some);
                }
                if self.keep_control(frame, &input.bytes[piece], &mut scratch.assembled) {
                    return control_event(opcode, &scratch.assembled).map(Some);
                }
            } else if is_whole
                && fin
                && let Some(kind) = opcode.message_kind()
            {
                // The common case, a message in one frame in one piece: it is lent where it lies.
                self.unfinished = None;
                let mut payload = &mut input.bytes[piece];
                if compressed {
                    payload = scratch.inflater.inflate(payload, limits.message_bytes)?;
                }
                return message_event(kind, payload, 1).map(Some);
            } else if let Some(message) = self.keep_data(frame, &input.bytes[piece], limits)? {
                return message.into_event(limits, scratch).map(Some);
            }
        }
        Ok(None)
    }

    /// The frame that the next bytes belong to: the unfinished one, or the one whose header they
    /// complete. `None` if all bytes were used up for a header that is still incomplete.
    fn open_frame(
        &mut self,
        input: &mut Chunk<'_>,
        limits: &Limits,
    ) -> Result<Option<Frame>, Fault> {
        let header = match self.unfinished.as_deref_mut() {
            Some(Unfinished { frame: frame @ Some(_), .. }) => return Ok(frame.take()),
            Some(Unfinished { header, .. }) if !header.is_empty() => header.complete(input)?,
            _ => match Header::parse(input.rest())? {
                Some((header, header_len)) => {
                    input.position += header_len;
                    Some(header)
                }
                None => self.unfinished.get_or_insert_default().header.complete(input)?,
            },
        };
        let Some(header) = header else { return Ok(None) };
        self.admit(&header, limits)?;
        Ok(Some(Frame::new(header)))
    }

    /// Whether a frame with this header may come now, and be this long.
    fn admit(&mut self, header: &Header, limits: &Limits) -> Result<(), Fault> {
        if header.opcode.is_control() {
            return Ok(());
        }
        if header.compressed && !self.deflate {
            return Err(Fault::UnexpectedCompression);
        }
        let message = self.unfinished.as_mut().and_then(|unfinished| unfinished.message.as_mut());
        let (compressed, received) = match (header.opcode, message) {
            (Opcode::Continuation, None) => return Err(Fault::UnexpectedContinuation),
            (Opcode::Continuation, Some(message)) => {
                if message.fragments >= limits.fragments {
                    return Err(Fault::TooManyFragments);
                }
                message.fragments += 1;
                (message.compressed, message.bytes.len() as u64)
            }
            (_, Some(_)) => return Err(Fault::InterruptedMessage),
            (_, None) => (header.compressed, 0),
        };
        if header.payload_len > limits.frame_bytes_on_wire(compressed) {
            return Err(Fault::FrameTooLong);
        }
        if received + header.payload_len > limits.message_bytes_on_wire(compressed) {
            return Err(Fault::MessageTooLong);
        }
        Ok(())
    }

    /// Keeps a piece of a control frame; true, with the payload moved to `whole`, if it was the last.
    fn keep_control(&mut self, frame: Frame, piece: &[u8], whole: &mut Vec<u8>) -> bool {
        let unfinished = self.unfinished.get_or_insert_default();
        unfinished.control.extend_from_slice(piece);
        if !frame.is_received() {
            unfinished.frame = Some(frame);
            return false;
        }
        *whole = std::mem::take(&mut unfinished.control);
        self.close_frame();
        true
    }

    /// Keeps a piece of a data frame; the message, if it was the last.
    fn keep_data(
        &mut self,
        frame: Frame,
        piece: &[u8],
        limits: &Limits,
    ) -> Result<Option<Message>, Fault> {
        let unfinished = self.unfinished.get_or_insert_default();
        let message = unfinished.message.get_or_insert_with(|| Message::new(&frame.header));
        let most_bytes = if frame.header.fin {
            (message.bytes.len() + piece.len()) as u64 + frame.missing()
        } else {
            limits.message_bytes_on_wire(message.compressed)
        };
        message.push(piece, usize::try_from(most_bytes).unwrap_or(usize::MAX))?;
        if !frame.is_received() {
            unfinished.frame = Some(frame);
            return Ok(None);
        }
        if !frame.header.fin {
            return Ok(None);
        }
        let message = unfinished.message.take();
        self.close_frame();
        Ok(message)
    }

    /// A frame ended: unless it stood inside a message, nothing is unfinished any more.
    fn close_frame(&mut self) {
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.message.is_none()) {
            self.unfinished = None;
        }
    }
}

fn message_event(kind: MessageKind, payload: &mut [u8], frames: u32) -> Result<Event<'_>, Fault> {
    if kind == MessageKind::Text && !utf8::is_valid(payload) {
        return Err(Fault::InvalidText);
    }
    Ok(Event::Message { kind, payload, frames })
}

fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Fault> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => {
            let (code, reason) = close::parse_payload(payload)?;
            Event::Close { code, reason }
        }
    })
}

#[cfg(test)]
mod tests;
