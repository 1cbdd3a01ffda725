//! What is wrong with the settings of authentication.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::auth::gate::TRIES_MAX;
use crate::auth::key::KeyError;
use crate::auth::policy::SOURCES_MAX;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Which setting, and which of its entries.
    pub key: String,
    /// What is wrong with it.
    pub cause: SettingsCause,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsCause {
    /// A file cannot be read.
    File(PathBuf, io::ErrorKind),
    /// A key is none.
    Key(KeyError),
    /// A word is no permission.
    Permission(String),
    /// A text is no pattern of rooms.
    Pattern(String),
    /// Not a URL that keys may be fetched from; without what may be a secret in it.
    Url(String),
    /// A host that is not on the list.
    HostNotAllowed(String),
    /// There is no such tenant.
    UnknownTenant(String),
    /// The prefix or the hash of an API key is none.
    NoApiKey,
    /// Two of the same name.
    Twice,
    /// A key names no issuer where it cannot be known whose it is.
    IssuerMissing,
    /// More keys of one algorithm and issuer without a name than are tried on a token.
    NamelessKeys,
    /// More URLs of keys than are told apart.
    TooManySources,
    /// An issuer whose tokens no key can check.
    IssuerWithoutKey(Box<str>),
    /// More grants than one credential may hold.
    TooManyGrants,
    /// Credentials are wanted, and none can be checked.
    NothingToCheck,
    /// No page is named that cookies would be believed from.
    CookiesWithoutOrigins,
}

impl SettingsCause {
    /// A URL that is none, or not one to send a credential to.
    pub(super) fn url(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").map_or(("", url), |(it, rest)| (it, rest));
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(it, _)| (it, "?…"));
        let end = rest.find('/').unwrap_or(rest.len());
        let (user, rest) = rest[..end].rfind('@').map_or(("", rest), |at| ("…@", &rest[at + 1..]));
        let separator = if scheme.is_empty() { "" } else { "://" };
        Self::Url(format!("{scheme}{separator}{user}{rest}{query}"))
    }
}

impl From<KeyError> for SettingsCause {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for SettingsCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Key(error) => error.fmt(f),
            Self::Permission(word) => write!(
                f,
                "found {word:?}, wanted a right such as \"join\", \"publish\" or \"publish:EVENT\", \
                 or \"*\""
            ),
            Self::Pattern(text) => write!(f, "found {text:?}, wanted a room or a pattern of rooms"),
            Self::Url(url) => {
                write!(
                    f,
                    "found {url:?}, wanted an https URL, or http on this machine, without a user"
                )
            }
            Self::HostNotAllowed(host) => {
                write!(f, "found the host {host:?}, wanted one of auth.jwt.jwks_hosts")
            }
            Self::UnknownTenant(name) => write!(f, "there is no tenant {name:?}"),
            Self::NoApiKey => f.write_str(
                "wanted the prefix and the hash of a key as `ringroom key create` prints them",
            ),
            Self::Twice => f.write_str("given twice"),
            Self::IssuerMissing => f.write_str(
                "names no issuer where others are trusted, so that it would speak for each of them: \
                 wanted one of auth.jwt.keys (or a tenant's jwt_keys) with an issuer",
            ),
            Self::NamelessKeys => write!(
                f,
                "more than {TRIES_MAX} keys of one algorithm and issuer without an id, the operator's \
                 counted: the others would never be tried"
            ),
            Self::TooManySources => write!(
                f,
                "more than {SOURCES_MAX} URLs of keys (jwks_url), of the operator and all tenants together"
            ),
            Self::IssuerWithoutKey(issuer) => write!(
                f,
                "no key speaks for {issuer:?}, so that none of its tokens could be checked: wanted one \
                 with that issuer in the tenant's jwt_keys or in auth.jwt.keys"
            ),
            Self::TooManyGrants => f.write_str("more grants than one credential may hold"),
            Self::NothingToCheck => f.write_str(
                "credentials are required, and nothing is configured to check one with: wanted \
                 auth.jwt, auth.cookie, auth.api_keys, auth.introspection or auth.hook_url",
            ),
            Self::CookiesWithoutOrigins => f.write_str(
                "names no page (an empty list and \"*\" do not), which refuses every cookie: a browser \
                 sends cookies for any page, so the origins of yours must be named",
            ),
        }
    }
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.cause)
    }
}

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsProblems(pub Vec<SettingsProblem>);

impl fmt::Display for SettingsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsProblems {}
