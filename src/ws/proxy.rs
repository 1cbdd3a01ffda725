//! The PROXY protocol, versions 1 and 2: what a load balancer says in front of a connection about
//! where it came from.
//!
//! Whether to believe it is the caller's to decide, before reading: a header is expected on a
//! listener that is set so and from a trusted proxy only, and there it must come.
//!
//! Invariants: a header is bounded, version 1 by 107 bytes, version 2 by [`VERSION_2_BYTES`]; it is
//! refused at the first byte that cannot belong to one; what stands behind it is not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::origin::port;

/// The longest header of version 1, as its specification bounds it, CR LF included.
pub const VERSION_1_BYTES: usize = 107;

/// The longest header of version 2 that is read: its fixed part, the longest addresses (of UNIX
/// sockets), and a kibibyte of extensions.
pub const VERSION_2_BYTES: usize = FIXED_BYTES + 216 + 1_024;

/// The beginning of version 1.
const VERSION_1: &[u8] = b"PROXY ";

/// The beginning of version 2.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 before its addresses: signature, command, family, length.
const FIXED_BYTES: usize = 16;

/// Where a connection came from, by the proxy's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address and port.
    Address(SocketAddr),
    /// A UNIX socket on the proxy's side.
    Unix,
    /// The proxy does not know, or connects for itself (a health check): the socket's own address
    /// holds.
    Proxy,
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They begin otherwise.
    Signature,
    /// Version 1: the line is longer than it may be.
    TooLong,
    /// Version 1: the line is malformed.
    Line,
    /// Version 2: neither LOCAL nor PROXY, or another version.
    Command,
    /// Version 2: an address family or transport that does not exist.
    Family,
    /// Version 2: shorter than its addresses, or longer than [`VERSION_2_BYTES`].
    Length,
}

/// Parses a header at the start of `bytes`: with its length, or `None` while it is incomplete and
/// may still become one.
///
/// # Errors
/// The bytes are no header, and cannot become one.
pub fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, Fault> {
    if begins(bytes, VERSION_2) {
        version_2(bytes)
    } else if begins(bytes, VERSION_1) {
        version_1(bytes)
    } else {
        Err(Fault::Signature)
    }
}

/// Whether the client spoke TLS to the proxy, if a whole header says anything of it: an extension of
/// version 2 does (`PP2_TYPE_SSL`).
#[must_use]
pub fn encrypted(header: &[u8]) -> Option<bool> {
    let (fixed, rest) = header.split_at_checked(FIXED_BYTES)?;
    if !fixed.starts_with(VERSION_2) || fixed[12] != PROXY {
        return None;
    }
    let mut extensions = rest.get(Family::read(fixed[13]).ok()?.bytes()..)?;
    let mut found = None;
    while let Some(([kind, high, low], more)) = extensions.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, more) = more.split_at_checked(length)?;
        if *kind == SSL {
            let is_client = value.first().is_some_and(|flags| flags & SSL_CLIENT != 0);
            found = Some(found.unwrap_or(true) && is_client);
        }
        extensions = more;
    }
    found
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn version_1(bytes: &[u8]) -> Result<Option<(Source, usize)>, Fault> {
    let bytes = &bytes[..bytes.len().min(VERSION_1_BYTES)];
    let Some(end) = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')) else {
        return if bytes.len() == VERSION_1_BYTES { Err(Fault::TooLong) } else { Ok(None) };
    };
    match &bytes[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if bytes.len() == VERSION_1_BYTES => return Err(Fault::TooLong),
        [b'\r'] => return Ok(None),
        _ => return Err(Fault::Line),
    }
    let line = std::str::from_utf8(&bytes[VERSION_1.len()..end]).map_err(|_| Fault::Line)?;
    let source = version_1_source(line).ok_or(Fault::Line)?;
    Ok(Some((source, end + 2)))
}

/// What follows `PROXY `: family, source, destination, source port, destination port.
fn version_1_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever else stands on the line is to be ignored.
        return Some(Source::Proxy);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source, _): (IpAddr, IpAddr) = match family {
        "TCP4" => {
            (source.parse::<Ipv4Addr>().ok()?.into(), destination.parse::<Ipv4Addr>().ok()?.into())
        }
        "TCP6" => {
            (source.parse::<Ipv6Addr>().ok()?.into(), destination.parse::<Ipv6Addr>().ok()?.into())
        }
        _ => return None,
    };
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Source::Address(SocketAddr::new(source.to_canonical(), source_port)))
}

fn version_2(bytes: &[u8]) -> Result<Option<(Source, usize)>, Fault> {
    let family = match (bytes.get(12), bytes.get(13)) {
        (Some(&PROXY), Some(&family)) => Family::read(family)?,
        // LOCAL: the family is to be ignored, as are the addresses.
        (Some(&(PROXY | LOCAL)) | None, _) => Family::Unknown,
        (Some(_), _) => return Err(Fault::Command),
    };
    let Some(&[high, low]) = bytes.get(14..FIXED_BYTES) else { return Ok(None) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length < FIXED_BYTES + family.bytes() || length > VERSION_2_BYTES {
        return Err(Fault::Length);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..length) else { return Ok(None) };
    let source = family.source(addresses).ok_or(Fault::Length)?;
    Ok(Some((source, length)))
}

/// The command of a proxy that speaks for itself.
const LOCAL: u8 = 0x20;

/// The command of a proxy that speaks for another.
const PROXY: u8 = 0x21;

/// The extension that says how the client spoke TLS.
const SSL: u8 = 0x20;

/// Its flag that it did.
const SSL_CLIENT: u8 = 0x01;

/// Of the addresses of version 2.
#[derive(Clone, Copy)]
enum Family {
    Unknown,
    V4,
    V6,
    Unix,
}

impl Family {
    /// The high half of the byte; the low half, the transport, says how the client spoke to the
    /// proxy (a datagram is QUIC), which changes nothing here.
    fn read(byte: u8) -> Result<Self, Fault> {
        match byte {
            0x00 => Ok(Self::Unknown),
            0x11 | 0x12 => Ok(Self::V4),
            0x21 | 0x22 => Ok(Self::V6),
            0x31 | 0x32 => Ok(Self::Unix),
            _ => Err(Fault::Family),
        }
    }

    /// How much the addresses take: two of them, and two ports.
    fn bytes(self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
        }
    }

    /// The source address; extensions may stand behind the addresses.
    fn source(self, addresses: &[u8]) -> Option<Source> {
        let (address, port_at): (IpAddr, usize) = match self {
            Self::Unknown => return Some(Source::Proxy),
            Self::Unix => return Some(Source::Unix),
            Self::V4 => ((*addresses.first_chunk::<4>()?).into(), 8),
            Self::V6 => ((*addresses.first_chunk::<16>()?).into(), 32),
        };
        let port = u16::from_be_bytes(*addresses.get(port_at..)?.first_chunk()?);
        Some(Source::Address(SocketAddr::new(address.to_canonical(), port)))
    }
}

#[cfg(test)]
mod tests;
