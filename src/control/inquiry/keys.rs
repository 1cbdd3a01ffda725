//! The keys of one URL: fetched at start, then in an interval, and sooner when a core wants them. What is
//! odd about a set is logged when it is new: by its place, and nothing of what stands there.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::ACCEPT;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::client::{Client, Endpoint};
use crate::auth::key::jwk_set;
use crate::auth::{Algorithm, KeySource, Refusal};
use crate::config::Config;

/// Between two requests to the same URL, whoever wants them.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How cores ask for the keys of a URL.
#[derive(Debug)]
pub(super) struct KeySet(Rc<Notify>);

impl KeySet {
    /// Some core wants them now.
    pub(super) fn wanted(&self) {
        self.0.notify_one();
    }
}

/// The task that fetches them.
#[derive(Debug)]
pub(super) struct Fetching {
    wanted: Rc<Notify>,
    endpoint: Option<Endpoint>,
    algorithm: Option<Algorithm>,
    refresh: Duration,
}

/// How to ask for the keys of a URL, and what fetches them.
pub(super) fn fetching(config: &Config, client: &Client, source: &KeySource) -> (KeySet, Fetching) {
    let jwt = &config.auth_jwt;
    let bytes_max = usize::try_from(jwt.jwks_bytes).unwrap_or(usize::MAX);
    let wanted = Rc::new(Notify::new());
    let task = Fetching {
        wanted: Rc::clone(&wanted),
        endpoint: Endpoint::new(client, &source.url, jwt.jwks_timeout_ms, bytes_max),
        algorithm: source.algorithm,
        refresh: Duration::from_millis(jwt.jwks_refresh_ms),
    };
    (KeySet(wanted), task)
}

impl Fetching {
    /// Fetches for as long as nobody ends it; `tell` hears of every attempt.
    pub(super) async fn run(self, tell: impl Fn(Result<Arc<str>, Refusal>)) {
        let mut last = None;
        loop {
            let fetched = self.fetch().await;
            if let Ok(text) = &fetched
                && last.as_ref() != Some(text)
            {
                self.look_at(text);
                last = Some(Arc::clone(text));
            }
            tell(fetched);
            sleep(PAUSE_MIN).await;
            let rest = self.refresh.saturating_sub(PAUSE_MIN);
            // Either way it is time again.
            let _ = timeout(rest, self.wanted.notified()).await;
        }
    }

    /// Says what is odd about a set.
    fn look_at(&self, text: &str) {
        let host = self.endpoint.as_ref().map(Endpoint::host);
        match jwk_set(text, self.algorithm, true) {
            Err(error) => {
                tracing::warn!(host, %error, "keys cannot be read: those known before stay for a day");
            }
            Ok(set) => {
                for (index, error) in set.odd {
                    let entry = index + 1;
                    tracing::warn!(host, entry, %error, "a key of a set cannot be used, and is left out");
                }
                if set.keys.is_empty() {
                    tracing::warn!(host, "no key of a set can be used: all of it are withdrawn");
                }
            }
        }
    }

    async fn fetch(&self) -> Result<Arc<str>, Refusal> {
        let endpoint = self.endpoint.as_ref().ok_or(Refusal::Unavailable)?;
        let host = endpoint.host();
        let reply = endpoint.call(|request| {
            let request = request.header(ACCEPT, "application/json");
            request.body(Full::new(Bytes::new())).expect("its parts were valid before")
        });
        match reply.await {
            Ok(reply) if reply.status == StatusCode::OK => {
                let text = std::str::from_utf8(&reply.body).map_err(|_| Refusal::Unavailable)?;
                Ok(text.into())
            }
            Ok(reply) => {
                tracing::warn!(host, status = reply.status.as_u16(), "keys cannot be fetched");
                Err(Refusal::Unavailable)
            }
            Err(failure) => {
                tracing::warn!(host, %failure, "keys cannot be fetched");
                Err(Refusal::Unavailable)
            }
        }
    }
}
