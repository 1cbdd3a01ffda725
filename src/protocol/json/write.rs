//! Writes JSON: compact, escaped no more than it must be.

use crate::protocol::Codec;
use crate::protocol::write::Writer;

use super::scan::find_special;

/// Writes JSON to the end of a buffer.
pub(in crate::protocol) struct JsonWriter<'o>(pub(in crate::protocol) &'o mut Vec<u8>);

impl Writer for JsonWriter<'_> {
    const CODEC: Codec = Codec::Json;

    fn out(&mut self) -> &mut Vec<u8> {
        self.0
    }

    fn null(&mut self) {
        self.0.extend_from_slice(b"null");
    }

    fn boolean(&mut self, value: bool) {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn unsigned(&mut self, value: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn text(&mut self, value: &str) {
        write_text(value, self.0);
    }

    fn begin_map(&mut self) -> usize {
        self.0.push(b'{');
        0
    }

    // Inlined, its key is a constant, and to write it a few stores.
    #[inline]
    fn key(&mut self, before: usize, key: &'static str) {
        self.0.reserve(key.len() + 4);
        if before > 0 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn end_map(&mut self, _start: usize, _count: usize) {
        self.0.push(b'}');
    }

    fn begin_list(&mut self, _count: usize) {
        self.0.push(b'[');
    }

    fn next_element(&mut self) {
        self.0.push(b',');
    }

    fn end_list(&mut self) {
        self.0.push(b']');
    }
}

/// Writes a string, quotes included.
pub(in crate::protocol) fn write_text(value: &str, out: &mut Vec<u8>) {
    let bytes = value.as_bytes();
    let mut written = 0;
    out.push(b'"');
    loop {
        let special = find_special(bytes, written);
        out.extend_from_slice(&bytes[written..special]);
        match bytes.get(special) {
            Some(byte) => write_escape(*byte, out),
            None => break,
        }
        written = special + 1;
    }
    out.push(b'"');
}

/// Writes a quote, a backslash or a control character as an escape.
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
