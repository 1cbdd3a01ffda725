//! Certificates, and clients that speak TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::http;

/// An authority, the server's certificate and a client's, all in files.
pub(crate) struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for self-signed whose subject is called as its issuer.
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = crate::server::folder();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        let certificates = Self { issuer, folder };
        certificates.issue("server", "localhost");
        certificates.issue("client", "client.test");
        certificates
    }

    /// Writes a new certificate, by renaming as a careful operator does.
    pub(crate) fn issue(&self, file: &str, name: &str) {
        self.issue_until(file, name, 4096);
    }

    /// One that runs out at the beginning of a year.
    pub(crate) fn issue_until(&self, file: &str, name: &str, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        for (suffix, text) in [("key", key.serialize_pem()), ("pem", certificate.pem())] {
            let new = self.folder.join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, self.file(file, suffix)).unwrap();
        }
    }

    pub(crate) fn file(&self, name: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{name}.{suffix}"))
    }

    /// A `[[listener]]` on a port of the kernel's choice, with more lines.
    pub(crate) fn listener(&self, more: &str) -> String {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls.certificate_file = {:?}\n\
             tls.key_file = {:?}\n{more}\n",
            self.file("server", "pem"),
            self.file("server", "key"),
        )
    }

    /// A client that trusts the authority.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let config = self.builder(versions).with_no_client_auth();
        Arc::new(config)
    }

    /// A client that shows a certificate of the authority.
    pub(crate) fn known_client(&self) -> Arc<ClientConfig> {
        let chain = vec![certificate(&self.file("client", "pem"))];
        let key = PrivateKeyDer::from_pem_file(self.file("client", "key")).unwrap();
        let builder = self.builder(rustls::ALL_VERSIONS);
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.file("ca", "pem"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots)
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A connection that has finished TLS; none if the server did not want that.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<TlsStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(session, http::connect(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).ok()?;
    }
    Some(stream)
}
