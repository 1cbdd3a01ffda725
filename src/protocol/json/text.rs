//! What a JSON string says.

use std::borrow::Cow;

use super::scan::{find_special, hex4};

/// What the string says, quotes included in `value`; borrowed where nothing is escaped. None if it
/// is no string.
pub(crate) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    said(str::from_utf8(value).ok()?)
}

/// As [`text`], of what is known to be UTF-8.
pub(crate) fn said(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    // A string that was checked has nothing special inside but backslashes.
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(first) => unescape(inner.as_bytes(), first).map(Cow::Owned),
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
        plain = find_special(rest, 0);
        if plain == rest.len() {
            out.extend_from_slice(rest);
            return String::from_utf8(out).ok();
        }
    }
}

/// The character that an escape stands for, and the escape's length.
pub(in crate::protocol) fn escaped(bytes: &[u8]) -> Option<(char, usize)> {
    if bytes.first() != Some(&b'\\') {
        return None;
    }
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
