//! Why a connection is over.

use std::fmt;
use std::io;

use crate::complaint::words;
use crate::frame::Malformed;

/// See the module.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed it, with a code and a reason if it had any.
    Closed(Option<(u16, String)>),
    /// It ended without a close.
    Silent,
    /// The socket failed, or what encrypts it.
    Io(io::Error),
    /// The server broke the protocol, and this side hung up.
    Broken(Malformed),
}

impl End {
    /// As the payload of a close frame has it.
    pub(super) fn closed(payload: &[u8]) -> Self {
        Self::Closed(payload.split_first_chunk::<2>().map(|(code, reason)| {
            (u16::from_be_bytes(*code), words(&String::from_utf8_lossy(reason)))
        }))
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Broken(malformed)
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(None) => write!(out, "the server closed without a code"),
            Self::Closed(Some((code, reason))) if reason.is_empty() => {
                write!(out, "the server closed with {code}")
            }
            Self::Closed(Some((code, reason))) => {
                write!(out, "the server closed with {code}: {reason}")
            }
            Self::Silent => write!(out, "the server ended the connection without a close"),
            Self::Io(error) => write!(out, "connection lost: {error}"),
            Self::Broken(malformed) => write!(out, "the server broke the protocol: {malformed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_tells_its_code_and_its_reason() {
        let table: [(&[u8], &str); 4] = [
            (b"", "the server closed without a code"),
            (b"\x03", "the server closed without a code"),
            (b"\x03\xf4", "the server closed with 1012"),
            (b"\x03\xf0no\xff\n", "the server closed with 1008: no\u{fffd}\u{fffd}"),
        ];
        for (payload, told) in table {
            assert_eq!(End::closed(payload).to_string(), told);
        }
    }
}
