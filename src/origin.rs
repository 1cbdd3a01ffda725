//! Which pages may connect: the `Origin` that a browser sends, compared whole.
//!
//! Invariants: scheme, host and port are compared exactly, never a part of a text; letter case and
//! a port that is the scheme's default do not tell origins apart (RFC 6454 §4); a trailing dot
//! does, as it does for browsers. Lists are parsed once; comparing allocates nothing.

mod authority;

use std::fmt;

pub use authority::Authority;
pub(crate) use authority::port;

/// The origins that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    null: bool,
    listed: Vec<Listed>,
}

/// An origin of the list, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry of the list that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Which entry, from 0.
    pub entry: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            Fault::Scheme => "no scheme: an origin looks like https://app.example",
            Fault::Path => "an origin ends with its host and port, without a path",
            Fault::Host => "no host name; `*` stands alone or not at all",
        })
    }
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No `scheme://` in front.
    Scheme,
    /// Something behind the host and port: an origin has no path, not even `/`.
    Path,
    /// The host is empty or holds characters that a host has not. `*` stands alone or not at all;
    /// names beyond ASCII are written in punycode.
    Host,
}

/// Why a page may connect; the later one says more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Any page may, or any that hides where it is from (`null`). A browser sends cookies along unasked,
    /// so none may be believed.
    Any,
    /// Nobody is listed, and it is the host's own, by a name that may be a stranger's and perhaps without
    /// TLS. No cookie may be believed either.
    Own,
    /// It is listed. Cookies may be believed.
    Named,
}

impl Origins {
    /// Parses a list: origins as browsers write them (`https://app.example.com`), `null`, `*`.
    ///
    /// # Errors
    /// Names the first entry that is none of these.
    pub fn parse(list: &[String]) -> Result<Self, Invalid> {
        let mut origins = Self::default();
        for (entry, text) in list.iter().enumerate() {
            match text.as_str() {
                "*" => origins.any = true,
                "null" => origins.null = true,
                text => {
                    let origin = Origin::parse(text).map_err(|fault| Invalid { entry, fault })?;
                    origins.listed.push(Listed {
                        scheme: origin.scheme.to_ascii_lowercase(),
                        host: origin.authority.host.to_ascii_lowercase(),
                        port: origin.port(),
                    });
                }
            }
        }
        Ok(origins)
    }

    /// Whether nothing is listed, so that only the host's own pages may connect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.null && !self.any
    }

    /// Whether a page of that origin may connect to `host`, the request's `Host`. An empty list
    /// permits only the host's own pages; with `tls`, only those that came by TLS too. (Without,
    /// a proxy may have ended TLS, so the page's scheme cannot be known to differ.) A name of an
    /// attacker's may come to resolve to this server's address, and its pages are then the host's
    /// own: see [`is_empty`](Self::is_empty).
    #[must_use]
    pub fn permit(&self, origin: &str, host: Authority<'_>, tls: bool) -> Option<Permission> {
        if origin == "null" {
            // Whoever likes makes a page of that origin: a frame in a sandbox is one.
            return (self.null || self.any).then_some(Permission::Any);
        }
        let Ok(origin) = Origin::parse(origin) else { return None };
        if self.is_empty() {
            return origin.is_of(host, tls).then_some(Permission::Own);
        }
        let is_named = self.listed.iter().any(|listed| origin.is(listed));
        let any = self.any.then_some(Permission::Any);
        if is_named { Some(Permission::Named) } else { any }
    }
}

/// Whether an entry of a list names a page: from such a one cookies may be believed.
#[must_use]
pub fn names_a_page(entry: &str) -> bool {
    !matches!(entry, "*" | "null")
}

/// Whether a list may have `text` as an entry.
#[must_use]
pub fn is_listable(text: &str) -> bool {
    matches!(text, "*" | "null") || Origin::parse(text).is_ok()
}

/// An origin as sent.
#[derive(Clone, Copy)]
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        let (scheme, rest) = text.split_once("://").ok_or(Fault::Scheme)?;
        let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
        let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !begins || !scheme.bytes().all(goes_on) {
            return Err(Fault::Scheme);
        }
        if rest.contains(['/', '?', '#']) {
            return Err(Fault::Path);
        }
        let authority = Authority::parse(rest).filter(|authority| !authority.host.is_empty());
        Ok(Self { scheme, authority: authority.ok_or(Fault::Host)? })
    }

    /// The port, the scheme's default if none is written.
    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| default_port(self.scheme))
    }

    fn is(&self, listed: &Listed) -> bool {
        self.scheme.eq_ignore_ascii_case(&listed.scheme)
            && self.authority.host.eq_ignore_ascii_case(&listed.host)
            && self.port() == listed.port
    }

    /// Whether the page came from that host.
    fn is_of(&self, host: Authority<'_>, tls: bool) -> bool {
        let secure = self.scheme.eq_ignore_ascii_case("https");
        let web = secure || self.scheme.eq_ignore_ascii_case("http");
        web && (secure || !tls)
            && self.authority.host.eq_ignore_ascii_case(host.host)
            && self.port() == host.port.or_else(|| default_port(self.scheme))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
