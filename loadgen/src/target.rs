//! Whom to load and from where: the URL, its address, and the source addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Most source addresses one range may name.
const SOURCES_MAX: u32 = 1_024;

/// A WebSocket URL with its address looked up.
#[derive(Clone, Debug)]
pub struct Target {
    /// As given.
    pub url: String,
    /// `wss`.
    pub tls: bool,
    /// Name or address, without the port.
    pub host: String,
    /// Value of the `Host` header.
    pub authority: String,
    /// Path and query; `{room}` and `{peer}` in it are replaced for each connection.
    pub path: String,
    /// Where to connect.
    pub address: SocketAddr,
}

/// Why a target or a list of sources is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Not `ws://` or `wss://`.
    Scheme,
    /// No host, or a port that is no number.
    Authority,
    /// The name has no address.
    Unresolved(String),
    /// Neither an IPv4 address nor a range `first-last` of them.
    Source(String),
    /// More addresses than a range may have.
    TooManySources,
}

impl fmt::Display for TargetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => write!(out, "the URL must begin with ws:// or wss://"),
            Self::Authority => write!(out, "the URL needs a host, and a number as port"),
            Self::Unresolved(host) => write!(out, "no address for {host}"),
            Self::Source(text) => write!(out, "{text} is no IPv4 address or range of them"),
            Self::TooManySources => write!(out, "at most {SOURCES_MAX} source addresses"),
        }
    }
}

impl std::error::Error for TargetError {}

impl Target {
    /// Parses `url` and looks up its address.
    pub fn resolve(url: &str) -> Result<Self, TargetError> {
        let (tls, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(TargetError::Scheme),
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (host, port) = split_port(authority, if tls { 443 } else { 80 })?;
        let address = (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| TargetError::Unresolved(host.to_owned()))?;
        Ok(Self {
            url: url.to_owned(),
            tls,
            host: host.to_owned(),
            authority: authority.to_owned(),
            path: format!("{slash}{path}"),
            address,
        })
    }

    /// Whether the target is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

fn split_port(authority: &str, default: u16) -> Result<(&str, u16), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or(TargetError::Authority)?;
            (host, tail.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(TargetError::Authority);
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| TargetError::Authority)?,
        None => default,
    };
    Ok((host, port))
}

/// The addresses connections come from, in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<IpAddr>);

impl Sources {
    /// The source of the connection with this index; `None`: the kernel chooses.
    #[must_use]
    pub fn of(&self, index: usize) -> Option<IpAddr> {
        (!self.0.is_empty()).then(|| self.0[index % self.0.len()])
    }
}

impl FromStr for Sources {
    type Err = TargetError;

    /// Reads `127.0.0.2-127.0.0.9,127.0.1.1`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let address = |text: &str| {
                let parsed = text.trim().parse::<Ipv4Addr>();
                parsed.map(u32::from).map_err(|_| TargetError::Source(part.to_owned()))
            };
            let (first, last) = (address(first)?, address(last)?);
            if last < first {
                return Err(TargetError::Source(part.to_owned()));
            }
            if last - first >= SOURCES_MAX {
                return Err(TargetError::TooManySources);
            }
            addresses.extend((first..=last).map(|bits| IpAddr::V4(Ipv4Addr::from(bits))));
        }
        Ok(Self(addresses))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn urls() {
        let table = [
            ("ws://127.0.0.1:8000/ws", "127.0.0.1", 8000, "/ws", false),
            ("ws://127.0.0.1", "127.0.0.1", 80, "/", false),
            ("wss://[::1]/a?b=c", "::1", 443, "/a?b=c", true),
            ("ws://localhost:9?x=1", "localhost", 9, "/?x=1", false),
        ];
        for (url, host, port, path, tls) in table {
            let target = Target::resolve(url).unwrap();
            assert_eq!((target.host.as_str(), target.address.port()), (host, port), "{url}");
            assert_eq!((target.path.as_str(), target.tls), (path, tls), "{url}");
            assert!(target.is_loopback());
        }
        assert_eq!(Target::resolve("http://x").unwrap_err(), TargetError::Scheme);
        assert_eq!(Target::resolve("ws://:80/").unwrap_err(), TargetError::Authority);
        assert_eq!(Target::resolve("ws://x:y/").unwrap_err(), TargetError::Authority);
        assert!(!Target::resolve("ws://192.0.2.1/").unwrap().is_loopback());
    }

    #[test]
    fn source_ranges() {
        let sources: Sources = "127.0.0.2-127.0.0.4, 127.0.1.1".parse().unwrap();
        assert_eq!(sources.0.len(), 4);
        assert_eq!(sources.of(5), Some(IpAddr::from([127, 0, 0, 3])));
        assert_eq!(Sources::default().of(5), None);
        for bad in ["", "x", "127.0.0.3-127.0.0.2", "127.0.0.1-"] {
            assert!(matches!(bad.parse::<Sources>(), Err(TargetError::Source(_))), "{bad}");
        }
        assert_eq!("10.0.0.0-10.1.0.0".parse::<Sources>(), Err(TargetError::TooManySources));
    }
}
