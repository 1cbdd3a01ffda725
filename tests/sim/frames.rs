//! What a client reads: WebSocket frames of a server, decoded by nothing of the server's own.

use std::collections::VecDeque;

use serde_json::Value;

use crate::Checked;

/// A frame, and when its first byte was handed to the socket.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) written_ms: u64,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Bytes of a server on their way to becoming frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: VecDeque<u8>,
    /// Up to which byte of the stream, written when.
    marks: VecDeque<(u64, u64)>,
    consumed: u64,
    closed: bool,
    /// Whether messages may come compressed.
    deflated: bool,
}

impl Decoder {
    pub(crate) fn new(deflated: bool) -> Self {
        Self { deflated, ..Self::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], written_ms: u64) {
        self.bytes.extend(bytes);
        self.marks.push_back((self.consumed + self.bytes.len() as u64, written_ms));
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Checked<Option<Frame>> {
        if self.bytes.len() < 2 {
            return Ok(None);
        }
        if self.closed {
            return Err("bytes follow the close frame".into());
        }
        let (first, second) = (self.bytes[0], self.bytes[1]);
        let opcode = first & 15;
        let is_control = opcode >= 8;
        if first & 0x80 == 0 || first & 0x30 != 0 || second & 0x80 != 0 {
            return Err(format!(
                "a server does not send frames that begin {first:02x} {second:02x}"
            ));
        }
        if !matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(format!("opcode {opcode}"));
        }
        let compressed = first & 0x40 != 0;
        if compressed && (is_control || !self.deflated) {
            return Err("RSV1 where nothing was agreed".into());
        }
        let Some((header, len)) = self.length(second & 127)? else { return Ok(None) };
        if is_control && len > 125 {
            return Err("a long control frame".into());
        }
        if self.bytes.len() < header + len {
            return Ok(None);
        }
        while self.marks.front().is_some_and(|(end, _)| *end <= self.consumed) {
            self.marks.pop_front();
        }
        let written_ms = self.marks.front().map_or(0, |(_, at)| *at);
        let payload: Vec<u8> = self.bytes.drain(..header + len).skip(header).collect();
        self.consumed += (header + len) as u64;
        self.closed = opcode == CLOSE;
        let payload = if compressed { inflate(&payload)? } else { payload };
        Ok(Some(Frame { opcode, payload, written_ms }))
    }

    /// How long the header and the payload are, if that is known yet.
    fn length(&self, short: u8) -> Checked<Option<(usize, usize)>> {
        let width = match short {
            126 => 2,
            127 => 8,
            len => return Ok(Some((2, len.into()))),
        };
        if self.bytes.len() < 2 + width {
            return Ok(None);
        }
        let len = self.bytes.range(2..2 + width).fold(0, |len, byte| len << 8 | usize::from(*byte));
        if len < if width == 2 { 126 } else { 65_536 } {
            return Err("a length in more bytes than it needs".into());
        }
        Ok(Some((2 + width, len)))
    }
}

fn inflate(payload: &[u8]) -> Checked<Vec<u8>> {
    let mut input = payload.to_vec();
    input.extend_from_slice(&[0, 0, 0xff, 0xff]);
    let mut out = Vec::with_capacity(1 << 17);
    flate2::Decompress::new(false)
        .decompress_vec(&input, &mut out, flate2::FlushDecompress::Sync)
        .map_err(|error| format!("a message does not inflate: {error}"))?;
    Ok(out)
}

/// What is shown of a frame.
pub(crate) fn show(opcode: u8, payload: &[u8]) -> String {
    let frame = Frame { opcode, payload: payload.to_vec(), written_ms: 0 };
    match value(&frame) {
        Ok(value) => value.to_string().chars().take(400).collect(),
        Err(_) => format!("{opcode}: {}", payload.escape_ascii()),
    }
}

/// The value of a message.
pub(crate) fn value(frame: &Frame) -> Checked<Value> {
    let value: Value = if frame.opcode == TEXT {
        serde_json::from_slice(&frame.payload).map_err(|error| format!("no JSON: {error}"))?
    } else {
        let mut cursor = std::io::Cursor::new(&frame.payload[..]);
        let mut reader = rmp_serde::Deserializer::new(&mut cursor);
        let value = serde::Deserialize::deserialize(&mut reader)
            .map_err(|error| format!("no MessagePack: {error}"))?;
        if cursor.position() != frame.payload.len() as u64 {
            return Err("bytes behind the MessagePack value".into());
        }
        value
    };
    if value["type"].is_string() { Ok(value) } else { Err(format!("no message: {value}")) }
}
