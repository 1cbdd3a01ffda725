//! TLS by rustls, which is bytes in and bytes out: the reader feeds it, the flush empties it.
//!
//! Invariant: it never holds more than one round of records in either direction.

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{self, Digest, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::config::{self, ClientCertificate, Config, ListenAddress};

use super::stream::Stream;

/// Plain bytes encrypted at a time.
const ROUND_BYTES: usize = 64 * 1024;

/// How many sessions a listener remembers for TLS 1.2; 1.3 resumes by ticket and needs none.
const SESSIONS: usize = 10_240;

/// Why a certificate could not be used.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read.
    Read(PathBuf, io::Error),
    /// A file holds no certificate or key in PEM.
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// They do not go together, or are of no known kind.
    Unusable(PathBuf, rustls::Error),
    /// The roots for client certificates are unusable.
    Roots(PathBuf, String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Pem(path, error) => write!(f, "{}: not usable PEM: {error}", path.display()),
            Self::Unusable(path, error) => {
                write!(f, "{}: certificate and key do not serve: {error}", path.display())
            }
            Self::Roots(path, error) => write!(f, "{}: no usable roots: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// The certificates of all listeners, and when their files were last written.
#[derive(Debug, Default)]
pub struct Certificates {
    listeners: Vec<Option<Loaded>>,
    files: Vec<(PathBuf, Option<SystemTime>)>,
}

/// What a listener encrypts with, and what it was made of.
#[derive(Debug)]
struct Loaded {
    address: ListenAddress,
    digest: Digest,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads the certificates of all listeners.
    ///
    /// # Errors
    /// Names the file that does not serve.
    pub fn load(config: &Config) -> Result<Self, Error> {
        Self::default().again(config)
    }

    /// The same, later. A listener whose files say what they said goes on with what it has, and so do the
    /// sessions that clients have with it.
    ///
    /// # Errors
    /// Names the file that does not serve.
    pub fn again(&self, config: &Config) -> Result<Self, Error> {
        let tls = || config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        // Before the reading: a change in between is seen as one.
        let files = tls().flat_map(files).map(|path| (path.clone(), written(path))).collect();
        let load = |listener: &config::Listener| {
            let load = |tls| self.load_one(&listener.address, tls);
            listener.tls.as_ref().map(load).transpose()
        };
        let listeners = config.listeners.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { listeners, files })
    }

    fn load_one(&self, address: &ListenAddress, tls: &config::Tls) -> Result<Loaded, Error> {
        let material = Material::read(tls)?;
        let (address, digest) = (address.clone(), material.digest());
        let has_it =
            |known: &&Loaded| known.address == address && known.digest.as_ref() == digest.as_ref();
        let config = match self.listeners.iter().flatten().find(has_it) {
            Some(known) => Arc::clone(&known.config),
            None => Arc::new(material.config()?),
        };
        Ok(Loaded { address, digest, config })
    }

    /// One for each listener; none where it is plain.
    #[must_use]
    pub fn configs(&self) -> Vec<Option<Arc<ServerConfig>>> {
        let config = |loaded: &Loaded| Arc::clone(&loaded.config);
        self.listeners.iter().map(|loaded| loaded.as_ref().map(config)).collect()
    }

    /// Whether a file was written since it was read or last asked after: a change that does not
    /// serve is tried once, not again and again.
    pub fn have_changed(&mut self) -> bool {
        let mut have_changed = false;
        for (path, before) in &mut self.files {
            let now = written(path);
            have_changed |= std::mem::replace(before, now) != now;
        }
        have_changed
    }
}

fn files(tls: &config::Tls) -> impl Iterator<Item = &PathBuf> {
    [&tls.certificate_file, &tls.key_file].into_iter().chain(&tls.client_ca_file)
}

fn written(path: impl AsRef<Path>) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// What the files of a listener say.
struct Material<'a> {
    tls: &'a config::Tls,
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// Roots for client certificates, where these are asked for.
    roots: Option<(&'a Path, Vec<u8>)>,
}

impl<'a> Material<'a> {
    fn read(tls: &'a config::Tls) -> Result<Self, Error> {
        let roots = match &tls.client_ca_file {
            Some(path) if tls.client_certificate != ClientCertificate::None => {
                Some((path.as_path(), read(path)?))
            }
            _ => None,
        };
        let certificate = read(&tls.certificate_file)?;
        Ok(Self { tls, certificate, key: read(&tls.key_file)?, roots })
    }

    /// Of everything that [`Self::config`] depends on.
    fn digest(&self) -> Digest {
        let roots = self.roots.as_ref().map_or(&[][..], |(_, roots)| &roots[..]);
        let mut digest = digest::Context::new(&SHA256);
        let asked = self.tls.client_certificate.word();
        for part in [&self.certificate[..], &self.key[..], roots, asked.as_bytes()] {
            digest.update(&part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finish()
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        let unusable = |error| Error::Unusable(self.tls.certificate_file.clone(), error);
        let chain = certificates(&self.tls.certificate_file, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| Error::Pem(self.tls.key_file.clone(), error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match self.client_verifier(&provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(unusable)?;
        Ok(config)
    }

    fn client_verifier(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, Error> {
        let Some((path, roots)) = &self.roots else { return Ok(None) };
        let unusable = |error: String| Error::Roots((*path).to_owned(), error);
        let mut store = RootCertStore::empty();
        for root in certificates(path, roots)? {
            store.add(root).map_err(|error| unusable(error.to_string()))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        let builder = match self.tls.client_certificate {
            ClientCertificate::Required => builder,
            ClientCertificate::Optional | ClientCertificate::None => {
                builder.allow_unauthenticated()
            }
        };
        builder.build().map(Some).map_err(|error| unusable(error.to_string()))
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem(path.to_owned(), error))?;
    if chain.is_empty() {
        let missing = rustls::pki_types::pem::Error::NoItemsFound;
        return Err(Error::Pem(path.to_owned(), missing));
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::Read(path.to_owned(), error))
}

/// What feeding a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// More may follow.
    Fine,
    /// The peer has said that nothing more will come.
    Goodbye,
}

/// The TLS side of one connection.
pub(super) struct Tls {
    session: ServerConnection,
}

impl Tls {
    /// A connection that has not said hello.
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Box<Self>, rustls::Error> {
        let mut session = ServerConnection::new(Arc::clone(config))?;
        session.set_buffer_limit(Some(ROUND_BYTES));
        Ok(Box::new(Self { session }))
    }

    /// Takes bytes of the socket in, as many as one round holds; the rest is still in `raw`. After
    /// a goodbye no more is taken, so whoever has a rest must not come back with it.
    /// After an error there may be an alert to send.
    pub(super) fn feed(&mut self, raw: &mut &[u8]) -> Result<Fed, rustls::Error> {
        // Reading from a slice cannot fail, and a full buffer is emptied by the processing.
        let _ = self.session.read_tls(raw);
        let state = self.session.process_new_packets()?;
        Ok(if state.peer_has_closed() { Fed::Goodbye } else { Fed::Fine })
    }

    /// Moves plain bytes that have arrived into `buffer`; 0: none are there.
    pub(super) fn decrypt(&mut self, buffer: &mut [u8]) -> usize {
        // WouldBlock: no more for now. UnexpectedEof: the peer ended without saying so; the
        // socket's end will be seen as well.
        self.session.reader().read(buffer).unwrap_or(0)
    }

    /// Whether there is something for the peer, of ours or of TLS's own.
    pub(super) fn wants_to_send(&self) -> bool {
        self.session.wants_write()
    }

    /// Whether plain bytes can be taken: before the end of the handshake they would pile up.
    pub(super) fn may_encrypt(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// Takes plain bytes for the peer; says how many.
    pub(super) fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> usize {
        // Writing into the session's buffer only ever takes less than was given.
        self.session.writer().write_vectored(slices).unwrap_or(0)
    }

    /// Tells the peer that no more will come.
    pub(super) fn say_goodbye(&mut self) {
        self.session.send_close_notify();
    }

    /// Sends what is encrypted; `false` if the kernel takes no more for now.
    pub(super) fn send(&mut self, stream: &Stream) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire(stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A socket as rustls writes to it.
struct Wire<'a>(&'a Stream);

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.send(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let name = format!("ringroom-certificate-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut certificates =
            Certificates { listeners: Vec::new(), files: vec![(path.clone(), written(&path))] };
        assert!(!certificates.have_changed());
        fs::write(&path, "new").expect("the directory for such files can be written");
        assert!(certificates.have_changed());
        assert!(!certificates.have_changed(), "it is known by now");
        fs::remove_file(&path).expect("it was just made");
        assert!(certificates.have_changed(), "gone is changed, too");
    }
}
