//! What the allocator keeps of memory that was given back.

/// Memory of this size, and larger, comes from the kernel and goes back to it at once: what it is by
/// default, before anything large was given back.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 << 10;

/// Has the allocator keep nothing that is large. By itself it takes the largest piece that was ever given
/// back as the measure of what is worth keeping, up to 32 MiB, and keeps twice that for each thread: so
/// one large message would stay in memory for good.
pub fn give_back_what_is_large() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a number of the allocator is set, which takes a lock for it.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}
