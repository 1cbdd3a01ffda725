//! Text that must not show.

use std::borrow::Cow;
use std::fmt;

/// A token, a password or a session: it does not show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<'a>(pub Cow<'a, str>);

impl Secret<'_> {
    /// The text, for whoever checks it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same, owned.
    #[must_use]
    pub fn into_owned(self) -> Secret<'static> {
        Secret(Cow::Owned(self.0.into_owned()))
    }
}

impl From<String> for Secret<'static> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
