//! Finds where a JSON value ends, and that it is one.
//!
//! Invariants: every byte is looked at once; nothing is recursive, so nesting costs no stack; what
//! is accepted is JSON except that UTF-8 is taken for granted.

use crate::protocol::fault::Fault;

/// One bit a level says whether it is an object.
type Levels = u128;

/// More digits than any number needs that a receiver could hold.
const NUMBER_MAX_BYTES: usize = 256;

/// The end of the value that starts at `at`, nested at most `depth` (and never more than 128) deep.
pub(in crate::protocol) fn skip(bytes: &[u8], mut at: usize, depth: u8) -> Result<usize, Fault> {
    let depth = u32::from(depth).min(Levels::BITS);
    let mut levels: Levels = 0;
    let mut open = 0;
    loop {
        at = match bytes.get(at) {
            Some(b'"') => string(bytes, at + 1)?,
            Some(b'-' | b'0'..=b'9') => number(bytes, at)?,
            Some(&opening @ (b'{' | b'[')) => {
                if open == depth {
                    return Err(Fault::TooDeep);
                }
                let inner = skip_whitespace(bytes, at + 1);
                let is_object = opening == b'{';
                if bytes.get(inner) == Some(&if is_object { b'}' } else { b']' }) {
                    inner + 1
                } else {
                    open += 1;
                    levels = levels << 1 | Levels::from(is_object);
                    at = if is_object { key(bytes, inner)? } else { inner };
                    continue;
                }
            }
            Some(b't') => literal(bytes, at, b"true")?,
            Some(b'f') => literal(bytes, at, b"false")?,
            Some(b'n') => literal(bytes, at, b"null")?,
            _ => return Err(Fault::Malformed),
        };
        // A value has ended: so may the containers around it.
        loop {
            if open == 0 {
                return Ok(at);
            }
            at = skip_whitespace(bytes, at);
            let in_object = levels & 1 == 1;
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_whitespace(bytes, at + 1);
                    if in_object {
                        at = key(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if in_object => at += 1,
                Some(b']') if !in_object => at += 1,
                _ => return Err(Fault::Malformed),
            }
            open -= 1;
            levels >>= 1;
        }
    }
}

/// The first byte from `at` that is no white space.
#[inline]
pub(in crate::protocol) fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Whether nothing but white space is left.
pub(in crate::protocol) fn is_end(bytes: &[u8], at: usize) -> bool {
    skip_whitespace(bytes, at) == bytes.len()
}

/// The start of the value whose key starts at `at`.
fn key(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::Malformed);
    }
    let at = string(bytes, at + 1)?;
    after_colon(bytes, at)
}

/// The start of the value whose key ends at `at`.
pub(in crate::protocol) fn after_colon(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let at = skip_whitespace(bytes, at);
    if bytes.get(at) != Some(&b':') {
        return Err(Fault::Malformed);
    }
    Ok(skip_whitespace(bytes, at + 1))
}

/// The end of the string whose opening quote stands before `at`.
#[inline]
pub(in crate::protocol) fn string(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    loop {
        at = find_special(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(bytes, at)?,
            _ => return Err(Fault::Malformed),
        }
    }
}

/// The first quote, backslash or control character from `at`.
#[inline]
pub(super) fn find_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    // A byte below `n` borrows from its high bit; a borrow that runs on into the next byte can
    // only follow a true find, and the lowest find is the one that counts.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (below(word, 0x20) | quote | backslash) & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        at += 1;
    }
    at
}

/// The end of the escape whose backslash stands at `at`.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2).ok_or(Fault::Malformed)? {
            0xd800..=0xdbff => match (bytes.get(at + 6..at + 8), hex4(bytes, at + 8)) {
                (Some(b"\\u"), Some(0xdc00..=0xdfff)) => Ok(at + 12),
                _ => Err(Fault::Malformed),
            },
            0xdc00..=0xdfff => Err(Fault::Malformed),
            _ => Ok(at + 6),
        },
        _ => Err(Fault::Malformed),
    }
}

/// Four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | digit)
    })
}

/// The end of the number that starts at `at`.
fn number(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    at = match bytes.get(at) {
        // No number goes on after a leading zero; what looks so must not be read as 0.
        Some(b'0') if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
            return Err(Fault::Malformed);
        }
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    if at - start > NUMBER_MAX_BYTES { Err(Fault::NumberTooLong) } else { Ok(at) }
}

/// The end of one digit or more.
fn digits(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    if at == start { Err(Fault::Malformed) } else { Ok(at) }
}

/// The end of a word of JSON.
fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    match bytes.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(Fault::Malformed),
    }
}
