//! TLS by rustls, which is bytes in and bytes out: the reader feeds it, the flush empties it.
//!
//! Invariant: it never holds more than one round of records in either direction.

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{self, Digest, SHA256};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::config::{self, ClientCertificate, ListenAddress};

use super::stream::Stream;

/// Plain bytes encrypted at a time.
const ROUND_BYTES: usize = 64 * 1024;

/// How many sessions a listener remembers for TLS 1.2; 1.3 resumes by ticket and needs none.
const SESSIONS: usize = 10_240;

/// One thing that is wrong with a file of a listener.
#[derive(Debug)]
pub struct Problem {
    /// Which of those that were asked after.
    listener: usize,
    address: ListenAddress,
    fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug)]
struct Fault {
    row: Row,
    file: PathBuf,
    cause: Cause,
}

/// Which setting of a listener names a file.
#[derive(Clone, Copy, Debug)]
enum Row {
    Certificate,
    Key,
    ClientCa,
}

/// What can be wrong.
#[derive(Debug)]
enum Cause {
    /// It cannot be read.
    Read(io::Error),
    /// It holds nothing of the kind in PEM.
    Pem(pem::Error),
    /// TLS has no use for it, or not with the others.
    Unusable(rustls::Error),
    /// Clients cannot be checked against it.
    Roots(rustls::server::VerifierBuilderError),
}

impl Row {
    fn key(self) -> &'static str {
        match self {
            Self::Certificate => "listener.tls.certificate_file",
            Self::Key => "listener.tls.key_file",
            Self::ClientCa => "listener.tls.client_ca_file",
        }
    }
}

impl Fault {
    fn found(&self) -> String {
        let error: &dyn std::fmt::Display = match &self.cause {
            Cause::Read(error) => error,
            Cause::Pem(error) => error,
            Cause::Unusable(error) => error,
            Cause::Roots(error) => error,
        };
        format!("{} ({error})", self.file.display())
    }

    fn wanted(&self) -> &'static str {
        match (self.row, &self.cause) {
            (_, Cause::Read(_)) => "a file that can be read",
            (Row::Certificate, Cause::Pem(_)) => "certificates in PEM",
            (Row::Certificate, _) => "certificates that TLS can use",
            (Row::Key, Cause::Pem(_)) => "a private key in PEM",
            (Row::Key, _) => "the private key of the certificate in certificate_file",
            (Row::ClientCa, _) => "root certificates in PEM",
        }
    }
}

/// Everything that is wrong, a line each.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// As problems of settings, which know where these were given: `places` of each listener.
    #[must_use]
    pub fn placed(&self, places: &[config::Places]) -> Vec<config::Problem> {
        let placed = |problem: &Problem| {
            let key = problem.fault.row.key();
            let origin = places.get(problem.listener).and_then(|places| places.get(key)).cloned();
            let wanted = problem.fault.wanted().to_owned();
            let cause = config::Cause::Invalid { found: problem.fault.found(), wanted };
            config::Problem { origin, key: key.to_owned(), cause }
        };
        self.0.iter().map(placed).collect()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, Problem { address, fault, .. }) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            let (key, found, wanted) = (fault.row.key(), fault.found(), fault.wanted());
            write!(f, "{line_end}{address}: {key}: found {found}, wanted {wanted}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

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
    /// Names every file that does not serve.
    pub fn load(listeners: &[config::Listener]) -> Result<Self, Problems> {
        Self::default().again(listeners)
    }

    /// The same, later. A listener whose files say what they said goes on with what it has, and so do the
    /// sessions that clients have with it.
    ///
    /// # Errors
    /// Names every file that does not serve.
    pub fn again(&self, listeners: &[config::Listener]) -> Result<Self, Problems> {
        let tls = listeners.iter().filter_map(|listener| listener.tls.as_ref());
        // Before the reading: a change in between is seen as one.
        let files = tls.flat_map(files).map(|path| (path.clone(), written(path))).collect();
        let (mut loaded, mut problems) = (Vec::new(), Vec::new());
        for (index, listener) in listeners.iter().enumerate() {
            let load = |tls| self.load_one(&listener.address, tls);
            match listener.tls.as_ref().map(load).transpose() {
                Ok(listener) => loaded.push(listener),
                Err(faults) => problems.extend(faults.into_iter().map(|fault| Problem {
                    listener: index,
                    address: listener.address.clone(),
                    fault,
                })),
            }
        }
        match problems.is_empty() {
            true => Ok(Self { listeners: loaded, files }),
            false => Err(Problems(problems)),
        }
    }

    fn load_one(&self, address: &ListenAddress, tls: &config::Tls) -> Result<Loaded, Vec<Fault>> {
        let material = Material::read(tls)?;
        let (address, digest) = (address.clone(), material.digest());
        let has_it =
            |known: &&Loaded| known.address == address && known.digest.as_ref() == digest.as_ref();
        let config = match self.listeners.iter().flatten().find(has_it) {
            Some(known) => Arc::clone(&known.config),
            None => Arc::new(material.config().map_err(|fault| vec![fault])?),
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
    certificate: Part<Vec<CertificateDer<'static>>>,
    key: Part<PrivateKeyDer<'static>>,
    /// Where client certificates are asked for.
    verifier: Option<Part<Arc<dyn ClientCertVerifier>>>,
}

/// What a file says, and what that comes to.
struct Part<T> {
    text: Vec<u8>,
    made: T,
}

impl<T> Part<T> {
    fn read(
        row: Row,
        file: &Path,
        make: impl FnOnce(&[u8]) -> Result<T, Cause>,
    ) -> Result<Self, Fault> {
        let read = fs::read(file).map_err(Cause::Read);
        let made = read.and_then(|text| Ok(Self { made: make(&text)?, text }));
        made.map_err(|cause| Fault { row, file: file.to_owned(), cause })
    }
}

impl<'a> Material<'a> {
    /// Reads all files, whatever is wrong with one.
    fn read(tls: &'a config::Tls) -> Result<Self, Vec<Fault>> {
        let roots = tls.client_ca_file.as_ref();
        let roots = roots.filter(|_| tls.client_certificate != ClientCertificate::None);
        let certificate = Part::read(Row::Certificate, &tls.certificate_file, certificates);
        let key = Part::read(Row::Key, &tls.key_file, |text| {
            PrivateKeyDer::from_pem_slice(text).map_err(Cause::Pem)
        });
        let verifier = roots.map(|roots| {
            let make = |text: &[u8]| client_verifier(text, tls.client_certificate);
            Part::read(Row::ClientCa, roots, make)
        });
        match (certificate, key, verifier.transpose()) {
            (Ok(certificate), Ok(key), Ok(verifier)) => {
                Ok(Self { tls, certificate, key, verifier })
            }
            (certificate, key, verifier) => {
                let faults = [certificate.err(), key.err(), verifier.err()];
                Err(faults.into_iter().flatten().collect())
            }
        }
    }

    /// Of everything that [`Self::config`] depends on.
    fn digest(&self) -> Digest {
        let roots = self.verifier.as_ref().map_or(&[][..], |verifier| &verifier.text);
        let mut digest = digest::Context::new(&SHA256);
        let asked = self.tls.client_certificate.word();
        for part in [&self.certificate.text, &self.key.text, roots, asked.as_bytes()] {
            digest.update(&part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finish()
    }

    fn config(self) -> Result<ServerConfig, Fault> {
        let unusable = |error| {
            let (row, file) = match error {
                rustls::Error::InconsistentKeys(_) | rustls::Error::General(_) => {
                    (Row::Key, &self.tls.key_file)
                }
                _ => (Row::Certificate, &self.tls.certificate_file),
            };
            Fault { row, file: file.clone(), cause: Cause::Unusable(error) }
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match self.verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.made),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(self.certificate.made, self.key.made);
        let mut config = config.map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(unusable)?;
        Ok(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_verifier(
    roots: &[u8],
    asked: ClientCertificate,
) -> Result<Arc<dyn ClientCertVerifier>, Cause> {
    let mut store = RootCertStore::empty();
    for root in certificates(roots)? {
        store.add(root).map_err(Cause::Unusable)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
    let builder = match asked {
        ClientCertificate::Required => builder,
        ClientCertificate::Optional | ClientCertificate::None => builder.allow_unauthenticated(),
    };
    builder.build().map_err(Cause::Roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Cause::Pem(pem::Error::NoItemsFound)),
        chain => chain.map_err(Cause::Pem),
    }
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
