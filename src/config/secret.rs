//! What must not be seen.
//!
//! Invariant: no formatting shows the text; only [`Secret::expose`] does, and it is easy to find.
//! The memory that held it is overwritten when it is let go.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A key, a token, a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Zeroizing<String>,
    file: Option<PathBuf>,
}

impl Secret {
    /// Shorter ones can be guessed.
    pub const MIN_BYTES: usize = 16;

    /// The secret that `text` holds, which came from `file` if it came from one. A line end
    /// behind it, as editors leave it in a file, is no part of it. None if it is too short.
    #[must_use]
    pub fn new(text: &str, file: Option<PathBuf>) -> Option<Self> {
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        (text.len() >= Self::MIN_BYTES).then_some(Self { text, file })
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file it came from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether `given` is the secret, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let secret = self.text.as_bytes();
        let differences =
            secret.iter().zip(given).fold(0, |differences, (a, b)| differences | (a ^ b));
        secret.len() == given.len() && std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_shows_nowhere_and_compares_whole() {
        let secret = Secret::new("canary-0123456789\r\n", None).expect("long enough");
        assert_eq!(secret.expose(), "canary-0123456789");
        assert!(!format!("{secret:?} {secret}").contains("canary"));
        assert!(secret.is(b"canary-0123456789"));
        for other in ["canary-0123456788", "canary-012345678", "canary-01234567890", ""] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn short_secrets_are_none() {
        assert!(Secret::new("fifteen-bytes-x\n\n", None).is_none());
        assert!(Secret::new("", None).is_none());
    }
}
