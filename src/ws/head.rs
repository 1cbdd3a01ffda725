//! A request head: taken in as it comes, byte by byte if need be, and read without copying.
//!
//! Two parsers must agree on every head. [`Scan`] walks each byte once, however the bytes arrive,
//! and refuses what RFC 9112 forbids and `httparse` lets pass; `httparse` then splits what the scan
//! found whole.
//!
//! Invariants: a [`Head`] is syntactically clean (CR LF line ends, no folding, names are tokens, no
//! control bytes but HTAB, a target of visible ASCII); its `Debug` shows no query and no header
//! value, for those hold secrets.

mod scan;

use std::fmt;

use crate::config;

use super::refusal::Refusal;

pub use scan::{LINE_BYTES, Scan};

/// Parses a head at the start of `bytes`: with its length, or `None` while it is incomplete and
/// may still become valid. What stands behind it is not looked at.
///
/// Every call walks all of `bytes`. A connection whose head comes in pieces keeps a [`Scan`], which
/// walks each byte once.
///
/// # Errors
/// Refuses at the first byte that cannot belong to a valid head, or that passes a limit.
pub fn parse<'a>(
    bytes: &'a [u8],
    limits: &config::Handshake,
) -> Result<Option<(Head<'a>, usize)>, Refusal> {
    Scan::default().parse(bytes, limits)
}

/// The versions of HTTP that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: plain requests only.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A request head.
pub struct Head<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
    fields: Vec<httparse::Header<'a>>,
}

/// The parts of a request target.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Target<'a> {
    /// Of the absolute form.
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// Splits a head that a scan found whole: all of `bytes`, with that many header lines.
    fn split(bytes: &'a [u8], lines: u16) -> Result<Self, Refusal> {
        let mut fields = vec![httparse::EMPTY_HEADER; usize::from(lines)];
        let mut request = httparse::Request::new(&mut fields);
        // The scan takes less than httparse does, so this fails only if one of the two is wrong.
        let complete = request.parse(bytes).map_err(|_| Refusal::HeaderLine)?;
        if complete != httparse::Status::Complete(bytes.len()) {
            return Err(Refusal::HeaderLine);
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Refusal::RequestLine);
        };
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        Ok(Self { method, target, version, fields })
    }

    /// The method, as sent: `GET` and `get` are two.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target, as sent. It may hold a token.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, not decoded: `*` or an authority where the target is one of those.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.parts().path
    }

    /// What follows the `?`, not decoded. It may hold a token.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.parts().query
    }

    /// The host and port of a target in absolute form.
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        self.parts().authority
    }

    /// The values of all lines with that name, in order, without the space around them.
    pub fn lines(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let of_name = |field: &&httparse::Header<'a>| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of_name).map(|field| field.value.trim_ascii())
    }

    /// The value of a header that may stand only once.
    ///
    /// # Errors
    /// It stands twice, or is not ASCII text.
    pub fn single(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let mut lines = self.lines(name);
        let Some(value) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Refusal::RepeatedHeader);
        }
        text(value).map(Some)
    }

    /// The elements of a comma-separated header over all its lines; empty elements are left out.
    /// Not for headers whose elements may be quoted.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.lines(name).flat_map(|line| line.split(|byte| *byte == b','));
        elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
    }

    /// Whether a comma-separated header has that token, in upper or lower case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether this wants to become a WebSocket, rightly or wrongly asked; anything else is plain
    /// HTTP.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.lists("upgrade", "websocket")
    }

    fn parts(&self) -> Target<'a> {
        let (authority, rest) = match strip_scheme(self.target) {
            Some(absolute) => {
                let end = absolute.find(['/', '?']).unwrap_or(absolute.len());
                let (authority, rest) = absolute.split_at(end);
                (Some(authority), rest)
            }
            None => (None, self.target),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // RFC 9110 §4.2.3: an empty path is `/`.
        let path = if path.is_empty() && authority.is_some() { "/" } else { path };
        Target { authority, path, query }
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|field| field.name).collect();
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("version", &self.version)
            .field("names", &names)
            .finish()
    }
}

/// What follows `http://` or `https://`.
fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    })
}

/// A header's value as ASCII text.
///
/// # Errors
/// It holds other bytes.
pub(super) fn text(value: &[u8]) -> Result<&str, Refusal> {
    let ascii = value.is_ascii();
    std::str::from_utf8(value).ok().filter(|_| ascii).ok_or(Refusal::HeaderNotText)
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests;
