//! Whether bytes are text, for text that arrives in pieces.
//!
//! Invariant: bytes that no continuation could make valid are refused as soon as they are seen.

/// Bytes that no continuation could make UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Whether `bytes` are UTF-8 from end to end.
#[inline]
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// How many bytes at the front of `bytes` are whole characters. What remains, at most three bytes,
/// is the beginning of one.
///
/// # Errors
/// Something other than a character that is merely unfinished follows.
pub fn valid_prefix_len(bytes: &[u8]) -> Result<usize, Invalid> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Invalid),
    }
}

#[cfg(test)]
mod tests;
