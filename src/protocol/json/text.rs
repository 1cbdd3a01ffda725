//! What a JSON string says.

use std::borrow::Cow;

use memchr::memchr;

use super::scan::hex4;

/// What the string says, quotes included in `value`; borrowed where nothing is escaped. None if it
/// is no string.
pub(in crate::protocol) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    match memchr(b'\\', inner) {
        None => str::from_utf8(inner).ok().map(Cow::Borrowed),
        Some(first) => unescape(inner, first).map(Cow::Owned),
    }
}

/// Resolves escapes; the first backslash is at `first`.
fn unescape(inner: &[u8], first: usize) -> Option<String> {
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    let mut plain = first;
    loop {
        out.extend_from_slice(&rest[..plain]);
        let (character, length) = escaped(&rest[plain..])?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[plain + length..];
        match memchr(b'\\', rest) {
            Some(next) => plain = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).ok()
}

/// The character that an escape stands for, and the escape's length.
fn escaped(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return escaped_unicode(bytes),
        other => char::from(*other),
    };
    Some((character, 2))
}

/// The character of `\uXXXX`, or of two of them.
fn escaped_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let high = hex4(bytes, 2)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, 6));
    }
    let low = hex4(bytes, 8)?;
    let code = 0x1_0000 + (high.checked_sub(0xd800)? << 10) + low.checked_sub(0xdc00)?;
    Some((char::from_u32(code)?, 12))
}
