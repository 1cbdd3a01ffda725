//! The one call of libdeflate that the `libdeflater` crate does not offer: inflating that tells how
//! much of the input it read.
//!
//! Invariant: the pointer is a decompressor of libdeflate, owned by this value alone.
#![allow(unsafe_code, reason = "a C library; every call is in this file")]

use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_deflate_decompress_ex,
    libdeflate_free_decompressor,
    libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE as INSUFFICIENT_SPACE,
    libdeflate_result_LIBDEFLATE_SUCCESS as SUCCESS,
};

/// A raw deflate decoder; holds tables and no state between calls.
pub(super) struct Decompressor(NonNull<libdeflate_decompressor>);

/// How far decoding went: through the first final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of input, the padding of the last one included.
    pub(super) consumed: usize,
    /// Bytes of output.
    pub(super) produced: usize,
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not deflate, or not all of it.
    BadData,
    /// The output is longer than its buffer.
    InsufficientSpace,
}

// SAFETY: the decompressor is plain memory that no thread but the owner's knows of.
unsafe impl Send for Decompressor {}

impl Decompressor {
    pub(super) fn new() -> Self {
        // SAFETY: no preconditions.
        let decompressor = unsafe { libdeflate_alloc_decompressor() };
        Self(NonNull::new(decompressor).expect("memory for a decompressor, asked for at start"))
    }

    /// Decodes from the front of `input` through the first final block.
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Progress, Failure> {
        let mut progress = Progress { consumed: 0, produced: 0 };
        // SAFETY: the decompressor is valid (invariant) and borrowed exclusively; both buffers are
        // valid for the lengths given; both counters outlive the call.
        let result = unsafe {
            libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                output.as_mut_ptr().cast(),
                output.len(),
                &raw mut progress.consumed,
                &raw mut progress.produced,
            )
        };
        if result == INSUFFICIENT_SPACE {
            return Err(Failure::InsufficientSpace);
        }
        // The second half is never false; but our slices must not depend on a C library's word.
        if result == SUCCESS
            && progress.consumed <= input.len()
            && progress.produced <= output.len()
        {
            return Ok(progress);
        }
        Err(Failure::BadData)
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: it came from `libdeflate_alloc_decompressor` and is freed once.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}
