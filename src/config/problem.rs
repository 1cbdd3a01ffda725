//! What is wrong with a configuration, and where.
//!
//! Invariant: every problem names its place, its key, what was found and what would be right.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;

use super::ListenAddress;
use super::setting::shortened;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// On a line of a file.
    File {
        /// The file's name.
        name: String,
        /// From 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// By a flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; none for a default that does not go with the rest.
    pub origin: Option<Origin>,
    /// The setting; empty if the text cannot be read at all.
    pub key: String,
    /// What is wrong.
    pub cause: Cause,
}

/// On one line, whatever the texts in it are.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.origin {
            Some(origin) => origin.to_string(),
            None => "default".to_owned(),
        };
        let key = match self.key.as_str() {
            "" => String::new(),
            key => format!("{}: ", shortened(key)),
        };
        for letter in format!("{place}: {key}{}", self.cause).chars() {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The file is no TOML.
    Syntax(String),
    /// There is no such setting.
    Unknown {
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// Given twice in one file, by two names.
    Twice,
    /// The value is of the wrong kind or out of bounds.
    Invalid {
        /// What was there.
        found: String,
        /// What may be there.
        wanted: String,
    },
    /// The value does not go with another.
    AtMost {
        /// What was there.
        found: u64,
        /// The other setting.
        other: &'static str,
        /// Its value.
        most: u64,
        /// What for.
        because: &'static str,
    },
    /// The value does not go with another.
    AtLeast {
        /// What was there.
        found: u64,
        /// The other setting.
        other: &'static str,
        /// Its value.
        least: u64,
        /// What for.
        because: &'static str,
    },
    /// A setting that others in its table need.
    Missing,
    /// A secret stands where it can be read.
    SecretInTheOpen {
        /// The setting that names a file.
        file_key: String,
        /// The environment variable.
        variable: String,
    },
    /// The file of a secret cannot be read.
    SecretUnreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::ErrorKind,
    },
    /// The secret can be guessed.
    SecretTooShort {
        /// The least length.
        least_bytes: usize,
    },
    /// No listener is left.
    NoListener,
    /// Two listeners, or one and the control plane, on one address.
    AddressTwice(ListenAddress),
    /// Anyone could connect from anywhere, and nobody said so.
    OpenToAll(ListenAddress),
    /// The control plane could be reached from anywhere without a token.
    ControlOpenToAll(ListenAddress),
    /// No proxy is trusted, so every connection here would be closed.
    ProxyUntrusted,
    /// No proxy is trusted, so the header would never be read.
    HeaderUntrusted,
    /// CPUs this process may not run on.
    CpusNotAllowed {
        /// Which.
        asked: String,
        /// Those it may run on.
        allowed: String,
    },
    /// A rate without a burst lets nothing through.
    BurstMissing {
        /// Which.
        rate: &'static str,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "not TOML: {message}"),
            Self::Unknown { nearest: Some(nearest) } => {
                write!(f, "no such setting; did you mean {nearest}?")
            }
            Self::Unknown { nearest: None } => {
                f.write_str("no such setting; `ringroom print-config` shows all there are")
            }
            Self::Twice => f.write_str("given twice, by two names; wanted once"),
            Self::Invalid { found, wanted } => write!(f, "found {found}, wanted {wanted}"),
            Self::AtMost { found, other, most, because } => {
                write!(f, "found {found}, wanted at most {other} = {most}: {because}")
            }
            Self::AtLeast { found, other, least, because } => {
                write!(f, "found {found}, wanted at least {other} = {least}: {because}")
            }
            Self::Missing => f.write_str("missing, and wanted by the rest of its table"),
            Self::SecretInTheOpen { file_key, variable } => write!(
                f,
                "found a secret where it can be read, wanted in a file that {file_key} names, \
                 or in the variable {variable}"
            ),
            Self::SecretUnreadable { file, error } => {
                write!(f, "found {} ({error}), wanted a file that can be read", file.display())
            }
            Self::SecretTooShort { least_bytes } => {
                write!(f, "found a shorter secret, wanted at least {least_bytes} bytes")
            }
            Self::NoListener => f.write_str("found no address, wanted at least one"),
            Self::AddressTwice(address) => {
                write!(f, "found {address} a second time, wanted each address once")
            }
            Self::OpenToAll(address) => write!(
                f,
                "found {address}, which other machines can reach, with no authentication; wanted \
                 a loopback address or a UNIX socket, or auth.mode = \"open\" if anyone may connect"
            ),
            Self::ControlOpenToAll(address) => write!(
                f,
                "found {address}, which other machines can reach, with no token; wanted a loopback \
                 address, or control.token_file or RINGROOM_CONTROL_TOKEN"
            ),
            Self::ProxyUntrusted => f.write_str(
                "found true with proxy.trusted empty, which closes every connection; wanted the \
                 proxy's network in proxy.trusted",
            ),
            Self::HeaderUntrusted => f.write_str(
                "found a header with proxy.trusted empty, so it is never read; wanted the proxy's \
                 network in proxy.trusted",
            ),
            Self::CpusNotAllowed { asked, allowed } => {
                write!(f, "found {asked}, wanted some of {allowed}, on which this process may run")
            }
            Self::BurstMissing { rate } => write!(
                f,
                "found 0, wanted at least 1: with {rate} set and no burst, nothing ever passes",
            ),
        }
    }
}

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
