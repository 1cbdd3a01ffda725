//! Opaque values from one codec to the other, by value (PROTOCOL §1).
//!
//! Invariants: one pass; whatever was checked converts, and what is written is well-formed; input
//! that was not checked does no harm.

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::fault::Fault;
use super::json;
use super::msgpack::{self, Container, Head};

/// Writes a JSON value as MessagePack.
pub(super) fn to_msgpack(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if json_value(value, 0, out).is_err() {
        out.truncate(start);
        out.push(rmp::Marker::Null.to_u8());
    }
}

/// Writes the value at `at`, and says where it ends.
fn json_value(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    match bytes.get(at) {
        Some(b'{') => json_container(Container::Map, b'}', bytes, at + 1, out),
        Some(b'[') => json_container(Container::Array, b']', bytes, at + 1, out),
        Some(_) => {
            let end = json::skip(bytes, at, 0)?;
            json_leaf(&bytes[at..end], out)?;
            Ok(end)
        }
        None => Err(Fault::Malformed),
    }
}

/// Writes the container whose opening bracket stands before `at`.
fn json_container(
    kind: Container,
    close: u8,
    bytes: &[u8],
    at: usize,
    out: &mut Vec<u8>,
) -> Result<usize, Fault> {
    let start = msgpack::begin(out);
    let mut count = 0;
    let mut at = json::skip_whitespace(bytes, at);
    while bytes.get(at) != Some(&close) {
        if count > 0 {
            // A comma, because it was checked.
            at = json::skip_whitespace(bytes, at + 1);
        }
        if let Container::Map = kind {
            let end = json::skip(bytes, at, 0)?;
            json_leaf(&bytes[at..end], out)?;
            at = json::after_colon(bytes, end)?;
        }
        at = json::skip_whitespace(bytes, json_value(bytes, at, out)?);
        count += 1;
    }
    msgpack::end(kind, start, count, out);
    Ok(at + 1)
}

/// Writes what is no container.
fn json_leaf(value: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    match value {
        b"null" => out.push(rmp::Marker::Null.to_u8()),
        b"true" => out.push(rmp::Marker::True.to_u8()),
        b"false" => out.push(rmp::Marker::False.to_u8()),
        [b'"', ..] => {
            msgpack::write_text(&json::text(value).ok_or(Fault::Malformed)?, out);
        }
        number => {
            let number = str::from_utf8(number).map_err(|_| Fault::Malformed)?;
            match (number.parse::<u64>(), number.parse::<i64>()) {
                (Ok(value), _) => msgpack::write_unsigned(value, out),
                // There is no negative zero among the whole numbers.
                (_, Ok(value)) if value != 0 => msgpack::write_signed(value, out),
                _ => {
                    let value = number.parse().map_err(|_| Fault::Malformed)?;
                    msgpack::write_double(value, out);
                }
            }
        }
    }
    Ok(())
}

/// Writes a MessagePack value as JSON.
pub(super) fn to_json(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if msgpack_value(value, 0, out).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Writes the value at `at`, and says where it ends.
fn msgpack_value(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let (head, mut at) = Head::read(bytes, at)?;
    match head {
        Head::Nil => out.extend_from_slice(b"null"),
        Head::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Head::Unsigned(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Head::Negative(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Head::Float(value) => write_float(value, out),
        Head::Text(length) => {
            let text = str::from_utf8(slice(bytes, at, length)?).map_err(|_| Fault::Malformed)?;
            json::write_text(text, out);
            at += length;
        }
        Head::Binary(length) | Head::Extension(length) => {
            let encoded = Base64Display::new(slice(bytes, at, length)?, &STANDARD);
            // Writing to memory does not fail.
            let _ = write!(out, "\"{encoded}\"");
            at += length;
        }
        Head::Array(count) => {
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                at = msgpack_value(bytes, at, out)?;
            }
            out.push(b']');
        }
        Head::Map(count) => {
            out.push(b'{');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                // A key is text, because it was checked.
                at = msgpack_value(bytes, at, out)?;
                out.push(b':');
                at = msgpack_value(bytes, at, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(at)
}

/// Writes a number so that it reads back as the same double; what JSON has no number for is null.
fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        // `Debug` is the shortest form that reads back, and always JSON: `1.0`, `1e300`.
        let _ = write!(out, "{value:?}");
    } else {
        out.extend_from_slice(b"null");
    }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Fault> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(Fault::Malformed)
}

#[cfg(test)]
mod tests;
