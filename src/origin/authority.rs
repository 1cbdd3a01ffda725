//! A host and a port, as they stand in `Host`, in an origin and in an absolute target.

use std::net::Ipv6Addr;

/// `host` or `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name or an address, as written; an IPv6 address in its brackets. May be empty.
    pub host: &'a str,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads a host of ASCII (a name beyond it comes in punycode) with or without a port. There is
    /// no user in it and nothing percent-encoded, though RFC 3986 has room for both: no browser
    /// and no library sends them, and they only serve to be read two ways.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let end_of_address = if text.starts_with('[') { text.find(']')? + 1 } else { 0 };
        let (host, port) = match text[end_of_address..].find(':') {
            Some(colon) => {
                let (host, port) = text.split_at(end_of_address + colon);
                (host, Some(&port[1..]))
            }
            None => (text, None),
        };
        let valid = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            None => host.bytes().all(is_of_name),
        };
        let port = match port {
            // RFC 3986 §3.2.3: an empty port is none.
            None | Some("") => None,
            Some(digits) => Some(self::port(digits)?),
        };
        valid.then_some(Self { host, port })
    }
}

impl Authority<'_> {
    /// Whether no name of somebody else's can be this host: it is an address, or a name that
    /// browsers resolve to the machine they run on.
    #[must_use]
    pub fn is_address_or_localhost(&self) -> bool {
        const LOCALHOST: &str = "localhost";
        let parent = self.host.len().checked_sub(LOCALHOST.len()).and_then(|from| {
            let (below, name) = self.host.split_at_checked(from)?;
            name.eq_ignore_ascii_case(LOCALHOST).then_some(below)
        });
        self.host.starts_with('[')
            || self.host.parse::<std::net::Ipv4Addr>().is_ok()
            || parent.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    }
}

/// A port in decimal, without a sign or a leading zero.
pub(crate) fn port(text: &str) -> Option<u16> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if decimal && !leading_zero { text.parse().ok() } else { None }
}

/// Letters, digits, and what of RFC 3986's unreserved and sub-delimiters occurs in names: `_` in
/// those of containers.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
