//! The mask of a client's frame (RFC 6455 §5.3), taken off in place.
//!
//! Invariant: taking it off in pieces is taking it off in one.

/// XORs `bytes` with `key`, where `bytes` begins `offset` bytes into the payload.
#[inline]
pub fn apply(bytes: &mut [u8], mut key: [u8; 4], offset: u64) {
    key.rotate_left((offset % 4) as usize);
    let key: [u8; 8] = std::array::from_fn(|index| key[index % 4]);
    let word = u64::from_ne_bytes(key);
    // A word at a time; the compiler makes vectors of it.
    let (words, rest) = bytes.as_chunks_mut();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
