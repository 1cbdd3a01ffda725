//! Connections to Redis: TCP, TLS or a UNIX socket, and who this node is there.
//!
//! The files of certificates are read for each connection: what was renewed counts from the next one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Redis, RedisHost, RedisUrl, Secret};
use crate::metrics::LinkState;

use super::failure;
use super::frame::{self, Frames};

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Who this node is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a Secret>,
}

impl<'a> Login<'a> {
    /// For the servers themselves.
    pub(super) fn of(redis: &'a Redis) -> Self {
        Self { username: redis.username.as_deref(), password: redis.password.as_ref() }
    }

    /// For Sentinels.
    pub(super) fn of_sentinels(redis: &'a Redis) -> Self {
        let username = redis.sentinel_username.as_deref();
        Self { username, password: redis.sentinel_password.as_ref() }
    }

    /// Says it on a new connection, and turns that to RESP3.
    pub(super) async fn give(
        self,
        stream: &mut Box<dyn Stream>,
        patience: Duration,
    ) -> Result<(), LinkState> {
        let given = async {
            stream.write_all(&self.hello().get_packed_command()).await?;
            stream.flush().await?;
            frame::value(&Frames::default().take(stream).await?)
        };
        let answer: RedisResult<Value> =
            tokio::time::timeout(patience, given).await.map_err(|_| LinkState::Lost)?;
        match answer.map_err(|error| named(&error))? {
            Value::ServerError(error) => Err(named(&error.into())),
            _ => Ok(()),
        }
    }

    fn hello(self) -> Cmd {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = self.password {
            hello.arg("AUTH").arg(self.username.unwrap_or("default")).arg(password.expose());
        }
        hello
    }
}

/// The name of what is wrong.
pub(super) fn named(error: &RedisError) -> LinkState {
    let state = failure::state(error);
    match state {
        // Whoever looks for the cause has nothing but this: no name says what it is.
        LinkState::Lost if error.code().is_some() => {
            tracing::warn!(error = %failure::Said(error), "Redis");
        }
        _ => tracing::debug!(error = %failure::Said(error), "Redis"),
    }
    state
}

/// Connects to a server.
pub(super) async fn dial(redis: &Redis, url: &RedisUrl) -> Result<Box<dyn Stream>, LinkState> {
    let timeout = Duration::from_millis(redis.timeout_ms);
    let made = tokio::time::timeout(timeout, reach(redis, url)).await;
    made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        tracing::debug!(%error, %url, "Redis is not reached");
        if failure::is_of_tls(&error) {
            tracing::warn!(%error, %url, "no TLS with Redis");
            LinkState::Tls
        } else {
            LinkState::Lost
        }
    })
}

async fn reach(redis: &Redis, url: &RedisUrl) -> io::Result<Box<dyn Stream>> {
    #[cfg(test)]
    if let Some(stream) = super::tests::network::reach(url).await {
        return stream;
    }
    match url {
        RedisUrl::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        RedisUrl::Plain(host) => Ok(Box::new(tcp(host).await?)),
        RedisUrl::Tls(host) => {
            let tls = tls(redis)?;
            let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
            Ok(Box::new(tls.connect(name, tcp(host).await?).await?))
        }
    }
}

async fn tcp(host: &RedisHost) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tls(redis: &Redis) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let trusted = match &redis.ca_file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(of_tls)?
        .with_root_certificates(roots);
    let config = match (&redis.certificate_file, &redis.key_file) {
        (Some(file), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, &error))?;
            config.with_client_auth_cert(certificates(file)?, key).map_err(of_tls)?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    all.map_err(|error| pem(file, &error))
}

/// A file that does not serve is as bad as a server that does not.
fn pem(file: &Path, error: &rustls::pki_types::pem::Error) -> io::Error {
    of_tls(rustls::Error::General(format!("{}: {error}", file.display())))
}

fn of_tls(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
