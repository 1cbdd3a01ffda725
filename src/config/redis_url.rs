//! Where a Redis is, as a URL says it.

use std::fmt;
use std::path::PathBuf;

use super::setting::quoted;

/// How a server is reached. Of its databases it is the first: all hear each other's channels, so that others
/// are of no use. What keeps deployments on one Redis apart is the prefix of their keys and channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RedisUrl {
    /// TCP.
    Plain(RedisHost),
    /// TLS over TCP.
    Tls(RedisHost),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisHost {
    /// A name or an address, the latter without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// What a URL may be.
pub(super) const WANTED: &str = "\"redis://HOST:PORT\", \"rediss://HOST:PORT\" for TLS, or \
                                 \"unix:///PATH\", without user, password or database";

impl RedisUrl {
    /// Reads one.
    ///
    /// # Errors
    /// What it is instead, without what may be secret in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| "no URL".to_owned())?;
        let make: fn(RedisHost) -> Self = match scheme {
            "redis" => Self::Plain,
            "rediss" => Self::Tls,
            "unix" | "redis+unix" if rest.starts_with('/') => return Ok(Self::Unix(rest.into())),
            "unix" | "redis+unix" => return Err("a URL that names no socket".to_owned()),
            scheme => return Err(format!("the scheme {}", quoted(scheme))),
        };
        if rest.contains('@') {
            return Err("a URL with a user or password in it".to_owned());
        }
        if rest.contains(['?', '#']) {
            return Err("a URL with parameters".to_owned());
        }
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(database, "" | "0") {
            return Err(format!("the database {}", quoted(database)));
        }
        let host = RedisHost::parse(host).ok_or_else(|| "a URL that names no server".to_owned())?;
        Ok(make(host))
    }

    /// The same, of another host: how one server tells of others.
    #[must_use]
    pub fn with_host(&self, host: RedisHost) -> Self {
        match self {
            Self::Tls(_) => Self::Tls(host),
            Self::Plain(_) | Self::Unix(_) => Self::Plain(host),
        }
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl RedisHost {
    const PORT: u16 = 6379;

    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']')?;
                name.parse::<std::net::Ipv6Addr>().ok()?;
                (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let port = port.map_or(Some(Self::PORT), |port| port.parse().ok().filter(|it| *it > 0))?;
        Some(Self { name: name.to_owned(), port })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(host) => write!(f, "redis://{host}"),
            Self::Tls(host) => write!(f, "rediss://{host}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for RedisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        for (text, shown) in [
            ("redis://a", "redis://a:6379"),
            ("redis://a:1/0", "redis://a:1"),
            ("redis://a:1/", "redis://a:1"),
            ("rediss://redis.example.org:6380", "rediss://redis.example.org:6380"),
            ("redis://[::1]:7000", "redis://[::1]:7000"),
            ("redis://[fe80::1]", "redis://[fe80::1]:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            let url = RedisUrl::parse(text).unwrap_or_else(|found| panic!("{text}: {found}"));
            assert_eq!(url.to_string(), shown);
            assert_eq!(RedisUrl::parse(shown).as_ref(), Ok(&url), "{shown}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_shown() {
        for text in [
            "",
            "a:6379",
            "http://a",
            "redis://",
            "redis://:6379",
            "redis://a:0",
            "redis://a:65536",
            "redis://a:b",
            "redis://a/b",
            "redis://a/1",
            "redis://a/0/0",
            "redis://a b",
            "redis://::1",
            "redis://[::1",
            "redis://[a]:1",
            "redis://[::1]1",
            "redis://user:secret@a",
            "rediss://:secret@a",
            "redis://a?password=secret",
            "redis://a,redis://b",
            "unix://relative",
            "unix://",
        ] {
            let found = RedisUrl::parse(text).expect_err(text);
            assert!(!found.contains("secret"), "{text}: {found}");
        }
    }
}
