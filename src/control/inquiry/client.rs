//! HTTP/1.1 to endpoints that the settings name, over TLS or plain.
//!
//! Invariants: a call ends by its deadline; an answer is read up to a bound; connections that are
//! kept are few; a redirect is an answer like any other.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Idle connections that an endpoint keeps.
const IDLE_MAX: usize = 8;

type Sender = SendRequest<Full<Bytes>>;

/// What all endpoints share.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Why there is no answer. Says nothing of what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not in time.
    Timeout,
    /// Nobody is there, or not who should be.
    Connect(io::Error),
    /// What came was no HTTP, or ended too early.
    Http(hyper::Error),
    /// More came than is read.
    TooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Http(error) => write!(f, "no HTTP answer: {error}"),
            Self::TooLarge => f.write_str("an answer that is too long or ended too early"),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    /// Trusts the certificates of a file, or else those of the system.
    pub(super) fn new(ca_file: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificates: Vec<CertificateDer<'static>> = match ca_file {
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(certificates);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }
}

/// A URL that requests are made to.
pub(super) struct Endpoint {
    client: Client,
    uri: Uri,
    host: HeaderValue,
    timeout: Duration,
    body_bytes_max: usize,
    idle: RefCell<Vec<Sender>>,
}

impl fmt::Debug for Endpoint {
    /// Without the URL, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// None: the text is no URL of HTTP.
    pub(super) fn new(
        client: &Client,
        url: &str,
        timeout_ms: u64,
        body_bytes_max: usize,
    ) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let host = HeaderValue::from_str(uri.authority()?.as_str()).ok()?;
        matches!(uri.scheme_str(), Some("http" | "https")).then(|| Self {
            client: client.clone(),
            host,
            uri,
            timeout: Duration::from_millis(timeout_ms),
            body_bytes_max,
            idle: RefCell::default(),
        })
    }

    /// What the server is called, for logs.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Makes a request, which `make` finishes, and reads the answer.
    pub(super) async fn call(
        &self,
        make: impl Fn(hyper::http::request::Builder) -> Request<Full<Bytes>>,
    ) -> Result<Reply, Failure> {
        match timeout(self.timeout, self.call_in_time(make)).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn call_in_time(
        &self,
        make: impl Fn(hyper::http::request::Builder) -> Request<Full<Bytes>>,
    ) -> Result<Reply, Failure> {
        let request = || {
            let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
            make(Request::builder().uri(target).header(HOST, self.host.clone()))
        };
        // A connection that was kept may have been closed meanwhile: then a new one is tried.
        let kept = self.idle.borrow_mut().pop();
        if let Some(mut kept) = kept
            && kept.ready().await.is_ok()
            && let Ok(response) = kept.send_request(request()).await
        {
            return self.read(response, kept).await;
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request()).await.map_err(Failure::Http)?;
        self.read(response, sender).await
    }

    async fn read(
        &self,
        response: Response<hyper::body::Incoming>,
        sender: Sender,
    ) -> Result<Reply, Failure> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.body_bytes_max).collect().await;
        let body = body.map_err(|_| Failure::TooLarge)?.to_bytes();
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(sender);
        }
        Ok(Reply { status: head.status, body })
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let host = self.host().trim_matches(['[', ']']);
        let encrypted = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        if !encrypted {
            return speak(stream).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::Connect(io::Error::other(error)))?;
        speak(self.client.tls.connect(name, stream).await.map_err(Failure::Connect)?).await
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<Sender, Failure> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    // Its errors are those of the requests on it; without any it is idle, and nobody misses it.
    spawn_local(async move { _ = connection.await });
    Ok(sender)
}
