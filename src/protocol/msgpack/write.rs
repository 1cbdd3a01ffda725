//! Writes MessagePack: each value in its shortest form.

use rmp::Marker;

use crate::protocol::Codec;
use crate::protocol::write::Writer;

/// Writes MessagePack to the end of a buffer.
pub(in crate::protocol) struct MessagePackWriter<'o>(pub(in crate::protocol) &'o mut Vec<u8>);

impl Writer for MessagePackWriter<'_> {
    const CODEC: Codec = Codec::MessagePack;

    fn out(&mut self) -> &mut Vec<u8> {
        self.0
    }

    fn null(&mut self) {
        self.0.push(Marker::Null.to_u8());
    }

    fn boolean(&mut self, value: bool) {
        self.0.push(if value { Marker::True } else { Marker::False }.to_u8());
    }

    fn unsigned(&mut self, value: u64) {
        write_unsigned(value, self.0);
    }

    fn text(&mut self, value: &str) {
        write_text(value, self.0);
    }

    fn begin_map(&mut self) -> usize {
        begin(self.0)
    }

    fn key(&mut self, _before: usize, key: &'static str) {
        write_text(key, self.0);
    }

    fn end_map(&mut self, start: usize, count: usize) {
        end(Container::Map, start, count, self.0);
    }

    fn begin_list(&mut self, count: usize) {
        let start = begin(self.0);
        end(Container::Array, start, count, self.0);
    }

    fn next_element(&mut self) {}

    fn end_list(&mut self) {}
}

/// What holds other values.
#[derive(Clone, Copy)]
pub(in crate::protocol) enum Container {
    Array,
    Map,
}

/// Leaves room for the head of a container whose count is not known yet, and says where it is.
pub(in crate::protocol) fn begin(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len() - 1
}

/// Writes the head of the container that began at `start`, now that its count is known. Heads of
/// more than a byte, which few containers need, move what was written.
pub(in crate::protocol) fn end(kind: Container, start: usize, count: usize, out: &mut Vec<u8>) {
    let (short, medium, long): (fn(u8) -> Marker, _, _) = match kind {
        Container::Array => (Marker::FixArray, Marker::Array16, Marker::Array32),
        Container::Map => (Marker::FixMap, Marker::Map16, Marker::Map32),
    };
    if let Ok(count @ 0..=15) = u8::try_from(count) {
        out[start] = short(count).to_u8();
    } else if let Ok(count) = u16::try_from(count) {
        out[start] = medium.to_u8();
        out.splice(start + 1..start + 1, count.to_be_bytes());
    } else {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        out[start] = long.to_u8();
        out.splice(start + 1..start + 1, count.to_be_bytes());
    }
}

/// Writes a whole number that is not negative.
pub(in crate::protocol) fn write_unsigned(value: u64, out: &mut Vec<u8>) {
    if let Ok(value @ 0..=0x7f) = u8::try_from(value) {
        out.push(Marker::FixPos(value).to_u8());
    } else if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[Marker::U8.to_u8(), value]);
    } else if let Ok(value) = u16::try_from(value) {
        marked(Marker::U16, value.to_be_bytes(), out);
    } else if let Ok(value) = u32::try_from(value) {
        marked(Marker::U32, value.to_be_bytes(), out);
    } else {
        marked(Marker::U64, value.to_be_bytes(), out);
    }
}

/// Writes a whole number.
pub(in crate::protocol) fn write_signed(value: i64, out: &mut Vec<u8>) {
    if let Ok(value) = u64::try_from(value) {
        write_unsigned(value, out);
    } else if let Ok(value @ -32..=-1) = i8::try_from(value) {
        out.push(Marker::FixNeg(value).to_u8());
    } else if let Ok(value) = i8::try_from(value) {
        marked(Marker::I8, value.to_be_bytes(), out);
    } else if let Ok(value) = i16::try_from(value) {
        marked(Marker::I16, value.to_be_bytes(), out);
    } else if let Ok(value) = i32::try_from(value) {
        marked(Marker::I32, value.to_be_bytes(), out);
    } else {
        marked(Marker::I64, value.to_be_bytes(), out);
    }
}

/// Writes a number of double precision.
pub(in crate::protocol) fn write_double(value: f64, out: &mut Vec<u8>) {
    marked(Marker::F64, value.to_be_bytes(), out);
}

/// Writes text.
pub(in crate::protocol) fn write_text(value: &str, out: &mut Vec<u8>) {
    let length = value.len();
    if let Ok(length @ 0..=31) = u8::try_from(length) {
        out.push(Marker::FixStr(length).to_u8());
    } else if let Ok(length) = u8::try_from(length) {
        out.extend_from_slice(&[Marker::Str8.to_u8(), length]);
    } else if let Ok(length) = u16::try_from(length) {
        marked(Marker::Str16, length.to_be_bytes(), out);
    } else {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        marked(Marker::Str32, length.to_be_bytes(), out);
    }
    out.extend_from_slice(value.as_bytes());
}

fn marked<const N: usize>(marker: Marker, value: [u8; N], out: &mut Vec<u8>) {
    out.push(marker.to_u8());
    out.extend_from_slice(&value);
}
