//! One proxy's word: an element of `X-Forwarded-For` or of `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv6Addr};

use crate::origin::port;
use crate::ws::head::is_token;

/// The elements of a line of `Forwarded`, the last one first.
///
/// Commas are looked for from the right, so that quotes left open by a client cannot swallow what a
/// proxy put behind them. (A proxy quotes addresses, which hold no quotes themselves.)
pub(super) fn from_the_right(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let elements = line.rsplit(move |byte| {
        quoted ^= *byte == b'"';
        !quoted && *byte == b','
    });
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The address in the `for` of an element of `Forwarded`; none where it says none, or says it
/// against the grammar.
pub(super) fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    address(parameter(element, b"for")?)
}

/// A parameter of an element of `Forwarded`; none where it has none, or two, or is against the
/// grammar.
pub(super) fn parameter<'a>(element: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    let mut quoted = false;
    let pairs = element.split(|byte| {
        quoted ^= *byte == b'"';
        !quoted && *byte == b';'
    });
    for pair in pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        if name.eq_ignore_ascii_case(wanted) {
            if found.is_some() {
                return None;
            }
            found = Some(unquoted(value)?);
        }
    }
    found
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, and, as
/// `X-Forwarded-For` has it, `2001:db8::1`.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let valid_port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return valid_port.then(|| address.parse::<Ipv6Addr>().ok()).flatten().map(IpAddr::V6);
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => {
            is_port(port).then(|| address.parse().ok()).flatten().map(IpAddr::V4)
        }
        _ => text.parse().ok(),
    }
}

/// Without its quotes, if it has them. Nothing that we look for needs a backslash.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inner @ .., b'"'] => {
            (!inner.contains(&b'"') && !inner.contains(&b'\\')).then_some(inner)
        }
        _ => (!value.contains(&b'"')).then_some(value),
    }
}

/// A port, or (RFC 7239 §6.2) a made-up name in its place.
fn is_port(text: &str) -> bool {
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(obfuscated),
        None => port(text).is_some(),
    }
}
