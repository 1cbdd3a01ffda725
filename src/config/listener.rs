//! Addresses clients connect to: `listen = […]` for plain ones, `[[listener]]` for the others.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::problem::Origin;
use super::setting::choices;
use super::table::{Section, section};

/// An address clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UNIX.
    pub address: ListenAddress,
    /// Certificates; none is plain text.
    pub tls: Option<Tls>,
    /// Every connection begins with a PROXY header (from a trusted proxy, else it is closed).
    pub proxy_protocol: bool,
    /// Whether permessage-deflate is offered here.
    pub deflate: bool,
}

/// TCP or UNIX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// What `sockaddr_un` holds, without the zero at its end.
    pub const UNIX_PATH_BYTES: usize = 107;

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoListenAddress;

impl FromStr for ListenAddress {
    type Err = NoListenAddress;

    fn from_str(text: &str) -> Result<Self, NoListenAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.is_empty() || path.contains('\0') => Err(NoListenAddress),
            Some(path) if path.len() > Self::UNIX_PATH_BYTES => Err(NoListenAddress),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| NoListenAddress),
        }
    }
}

/// Who may connect to a UNIX socket: permissions as `chmod` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Its owner and its group.
    pub const GROUP: Self = Self(0o660);

    /// As system calls take it.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The text is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMode;

impl FromStr for Mode {
    type Err = NoMode;

    fn from_str(text: &str) -> Result<Self, NoMode> {
        let digits = text.strip_prefix('0').unwrap_or(text);
        let octal = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..b'8').contains(&digit));
        let bits = u32::from_str_radix(digits, 8).map_err(|_| NoMode)?;
        if octal { Ok(Self(bits)) } else { Err(NoMode) }
    }
}

/// The TLS side of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM, the leaf first.
    pub certificate_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
    /// PEM roots that client certificates are checked against.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must have one.
    pub client_certificate: ClientCertificate,
}

choices! {
    /// Whether a client must show a certificate.
    ClientCertificate {
        /// Not asked for.
        #[default]
        None = "none",
        /// Asked for, and checked if given.
        Optional = "optional",
        /// No connection without one.
        Required = "required",
    }
}

section! {
    /// An address clients connect to; one table each.
    pub(super) Draft.listener: ListenerRows {
        /// TCP or UNIX.
        address: Option<ListenAddress> = None;
        /// Whether every connection begins with a PROXY header, and is closed if it does not.
        proxy_protocol: bool = false;
        /// Whether permessage-deflate is offered here; unset: as `deflate.enabled` says.
        deflate: Option<bool> = None;
    }
}

section! {
    /// The TLS side of a listener; without it, it is plain text.
    pub(super) Draft.tls: TlsRows {
        /// PEM, the leaf first.
        certificate_file: Option<PathBuf> = None;
        /// PEM.
        key_file: Option<PathBuf> = None;
        /// PEM roots that client certificates are checked against.
        client_ca_file: Option<PathBuf> = None;
        /// Whether a client must show a certificate.
        client_certificate: ClientCertificate = ClientCertificate::None;
    }
}

/// A `[[listener]]` table as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) listener: ListenerRows,
    pub(super) tls: TlsRows,
    /// Whether there is a `tls` table.
    pub(super) encrypted: bool,
    pub(super) places: Places,
}

/// Where the rows of a listener were given, by their whole path: `listener.tls.key_file`.
pub type Places = BTreeMap<String, Origin>;

/// What a draft lacks to be a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Address,
    CertificateFile,
    KeyFile,
    /// Client certificates are asked for, but there is nothing to check them against.
    ClientCaFile,
    /// There is something to check client certificates against, but they are not asked for.
    ClientCertificate,
}

impl Lack {
    /// The setting that is missing.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Address => "listener.address",
            Self::CertificateFile => "listener.tls.certificate_file",
            Self::KeyFile => "listener.tls.key_file",
            Self::ClientCaFile => "listener.tls.client_ca_file",
            Self::ClientCertificate => "listener.tls.client_certificate",
        }
    }
}

impl Draft {
    /// What stands in a `[[listener]]` table.
    pub(super) const SECTION: Section<Self> = ListenerRows::SECTION;
    /// What stands in the `tls` table of one.
    pub(super) const TLS_SECTION: Section<Self> = TlsRows::SECTION;

    /// A plain listener on `address`.
    pub(super) fn plain(address: ListenAddress) -> Self {
        let mut draft = Self::default();
        draft.listener.address = Some(address);
        draft
    }

    /// The draft that `listener` would have come from.
    pub(super) fn of(listener: &Listener) -> Self {
        let mut draft = Self::plain(listener.address.clone());
        draft.listener.proxy_protocol = listener.proxy_protocol;
        draft.listener.deflate = Some(listener.deflate);
        if let Some(tls) = &listener.tls {
            draft.encrypted = true;
            draft.tls = TlsRows {
                certificate_file: Some(tls.certificate_file.clone()),
                key_file: Some(tls.key_file.clone()),
                client_ca_file: tls.client_ca_file.clone(),
                client_certificate: tls.client_certificate,
            };
        }
        draft
    }

    /// What is missing.
    pub(super) fn lacks(&self) -> Vec<Lack> {
        let asked = self.tls.client_certificate != ClientCertificate::None;
        let checked = self.tls.client_ca_file.is_some();
        [
            (self.listener.address.is_none(), Lack::Address),
            (self.encrypted && self.tls.certificate_file.is_none(), Lack::CertificateFile),
            (self.encrypted && self.tls.key_file.is_none(), Lack::KeyFile),
            (asked && !checked, Lack::ClientCaFile),
            (checked && !asked, Lack::ClientCertificate),
        ]
        .into_iter()
        .filter_map(|(lacking, lack)| lacking.then_some(lack))
        .collect()
    }

    /// The listener, if nothing is missing that it cannot be without, and where its rows were given.
    pub(super) fn finish(self, deflate: bool) -> Option<(Listener, Places)> {
        let tls = match self.encrypted {
            false => None,
            true => Some(Tls {
                certificate_file: self.tls.certificate_file?,
                key_file: self.tls.key_file?,
                client_ca_file: self.tls.client_ca_file,
                client_certificate: self.tls.client_certificate,
            }),
        };
        let listener = Listener {
            address: self.listener.address?,
            tls,
            proxy_protocol: self.listener.proxy_protocol,
            deflate: self.listener.deflate.unwrap_or(deflate),
        };
        Some((listener, self.places))
    }
}
