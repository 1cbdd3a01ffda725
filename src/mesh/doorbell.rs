//! An eventfd that becomes readable when somebody rings.

#![allow(unsafe_code, reason = "eventfd, and reading and writing it, have no safe form in std")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Shared by all parties. Each thread that has a descriptor table of its own has a copy of the
/// descriptor under the same number, so whoever rings uses its own.
#[derive(Debug)]
pub(super) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes two integers and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made `fd`, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable. The one failure left is a counter about to overflow, and then it is
    /// readable already.
    pub(super) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is valid for its length.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable until the next ring; whether it had rung.
    pub(super) fn clear(&self) -> bool {
        let mut count = [0_u8; 8];
        // SAFETY: `count` is valid for its length.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) == 8 }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
