//! A credential in memory of our own: overwritten when it is let go, and never shown.

use std::fmt;

use zeroize::Zeroizing;

/// A text that is overwritten when it is dropped, and that no formatting shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Zeroed(Zeroizing<Box<[u8]>>);

impl Zeroed {
    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// What it holds.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Zeroed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zeroed(hidden)")
    }
}
