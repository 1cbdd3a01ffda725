//! Asterisks in place of some of the text of opaque content.
//!
//! Invariants: only values that are text are looked at, keys never; one asterisk stands for each
//! character, and every byte of what stays is as it was written, escapes included; the result is one
//! well-formed value, no longer than the original.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::msgpack::Head;
use super::{Codec, Data, OwnedData, json, msgpack};

const ASTERISK: u8 = b'*';

/// Says what is to be hidden in a text: ranges of bytes, ascending, at the bounds of characters.
pub type Find<'a> = dyn Fn(&str) -> Vec<Range<usize>> + 'a;

impl Data<'_> {
    /// The same with asterisks wherever `find` says in a text; none if that is nowhere.
    #[must_use]
    pub fn masked(self, find: &Find<'_>) -> Option<OwnedData> {
        let bytes = match self.codec() {
            Codec::Json => mask_json(self.bytes(), find),
            Codec::MessagePack => mask_msgpack(self.bytes(), find),
        };
        let bytes = bytes?;
        Some(Data::checked(self.codec(), &bytes).to_owned())
    }

    /// Whether `is` says so of any of its texts.
    #[must_use]
    pub fn has_text(self, is: &dyn Fn(&str) -> bool) -> bool {
        // To find anything is enough, and so is a range of nothing.
        let find = |text: &str| is(text).then_some(0..0).into_iter().collect();
        self.masked(&find).is_some()
    }
}

/// What has been copied so far, if anything has changed.
struct Copy<'a> {
    from: &'a [u8],
    out: Option<Vec<u8>>,
    /// Up to here it is copied.
    copied: usize,
}

impl<'a> Copy<'a> {
    fn new(from: &'a [u8]) -> Self {
        Self { from, out: None, copied: 0 }
    }

    /// Where a changed part is written, which stands for `from[at..end]`.
    fn replace(&mut self, at: usize, end: usize) -> &mut Vec<u8> {
        let out = self.out.get_or_insert_with(|| Vec::with_capacity(self.from.len()));
        out.extend_from_slice(&self.from[self.copied..at]);
        self.copied = end;
        out
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut out = self.out?;
        out.extend_from_slice(&self.from[self.copied..]);
        Some(out)
    }
}

fn mask_json(bytes: &[u8], find: &Find<'_>) -> Option<Vec<u8>> {
    let mut copy = Copy::new(bytes);
    let mut at = 0;
    // Outside of strings there are no quotes.
    while let Some(quote) = bytes[at..].iter().position(|byte| *byte == b'"') {
        let start = at + quote;
        at = json::string(bytes, start + 1).ok()?;
        let is_key = bytes.get(json::skip_whitespace(bytes, at)) == Some(&b':');
        if is_key {
            continue;
        }
        let text = json::text(&bytes[start..at])?;
        let hidden = find(&text);
        if !hidden.is_empty() {
            let inner = &bytes[start + 1..at - 1];
            mask_json_text(inner, &hidden, copy.replace(start + 1, at - 1));
        }
    }
    copy.finish()
}

/// Copies what is between the quotes of a string.
fn mask_json_text(mut inner: &[u8], hidden: &[Range<usize>], out: &mut Vec<u8>) {
    let mut hidden = hidden.iter().peekable();
    // Where the character is in what the string says.
    let mut at = 0;
    while let Some(&first) = inner.first() {
        let (said, written) = match json::escaped(inner) {
            Some((character, length)) => (character.len_utf8(), length),
            None => (character_bytes(first), character_bytes(first)),
        };
        let written = written.min(inner.len());
        while hidden.next_if(|range| range.end <= at).is_some() {}
        if hidden.peek().is_some_and(|range| range.start <= at) {
            out.push(ASTERISK);
        } else {
            out.extend_from_slice(&inner[..written]);
        }
        at += said;
        inner = &inner[written..];
    }
}

/// How many bytes the character has that begins so.
fn character_bytes(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

fn mask_msgpack(bytes: &[u8], find: &Find<'_>) -> Option<Vec<u8>> {
    let mut copy = Copy::new(bytes);
    // Values that are left in each container, keys counted too, and whether it is a map.
    let mut open = vec![(1, false)];
    let mut at = 0;
    while let Some((left, is_map)) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        let is_key = *is_map && *left % 2 == 0;
        *left -= 1;
        let (head, after) = Head::read(bytes, at).ok()?;
        at = match head {
            Head::Text(length) => {
                let end = after + length;
                if !is_key {
                    let text = str::from_utf8(bytes.get(after..end)?).ok()?;
                    let hidden = find(text);
                    if !hidden.is_empty() {
                        mask_msgpack_text(text, &hidden, copy.replace(at, end));
                    }
                }
                end
            }
            Head::Binary(length) | Head::Extension(length) => after + length,
            Head::Array(count) => {
                open.push((count, false));
                after
            }
            Head::Map(count) => {
                open.push((count * 2, true));
                after
            }
            _ => after,
        };
    }
    copy.finish()
}

fn mask_msgpack_text(text: &str, hidden: &[Range<usize>], out: &mut Vec<u8>) {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for range in hidden {
        masked.push_str(&text[from..range.start]);
        masked.extend(text[range.clone()].chars().map(|_| char::from(ASTERISK)));
        from = range.end;
    }
    masked.push_str(&text[from..]);
    msgpack::write_text(&masked, out);
}
