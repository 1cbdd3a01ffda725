//! What others say of a credential: the authorization server (RFC 7662) and the backend's hook.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::client::{Client, Endpoint};
use crate::auth::{Refusal, Whom, Zeroed};
use crate::config::Config;
use crate::ws::handshake::CredentialKind;

/// Requests at once, to each.
const CALLS_MAX: usize = 64;
/// The longest answer.
const ANSWER_BYTES: usize = 64 * 1_024;

/// Those who know credentials.
#[derive(Debug)]
pub(super) struct Oracles {
    introspection: Option<Oracle>,
    hook: Option<Oracle>,
}

#[derive(Debug)]
struct Oracle {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    places: Semaphore,
    /// Whether 401, 403 and 404 are about the credential. Of an authorization server they are
    /// about us.
    says_no: bool,
}

/// What the hook is asked.
#[derive(Serialize)]
struct Asked<'a> {
    credential: &'a str,
    kind: &'static str,
    tenant: Option<&'a str>,
}

impl Oracles {
    pub(super) fn new(config: &Config, client: &Client) -> Self {
        let auth = &config.auth;
        let server = &config.auth_introspection;
        let oracle = |url: &str, timeout_ms, authorization: Option<String>, says_no| {
            let endpoint = Endpoint::new(client, url, timeout_ms, ANSWER_BYTES)?;
            let authorization = authorization.and_then(|value| {
                let mut value = HeaderValue::try_from(value).ok()?;
                value.set_sensitive(true);
                Some(value)
            });
            Some(Oracle { endpoint, authorization, places: Semaphore::new(CALLS_MAX), says_no })
        };
        let basic = server.client_id.as_deref().zip(server.client_secret.as_ref());
        // RFC 6749 §2.3.1: both are encoded as in a form before they are joined.
        let basic = basic.map(|(id, secret)| {
            let pair = [&*form_encoded(id), ":", &form_encoded(secret.expose())].concat();
            format!("Basic {}", STANDARD.encode(Zeroizing::new(pair).as_bytes()))
        });
        let bearer = auth.hook_secret.as_ref().map(|secret| format!("Bearer {}", secret.expose()));
        let url = server.url.as_deref();
        let hook_url = auth.hook_url.as_deref();
        Self {
            introspection: url.and_then(|url| oracle(url, server.timeout_ms, basic, false)),
            hook: hook_url.and_then(|url| oracle(url, auth.hook_timeout_ms, bearer, true)),
        }
    }

    /// What one of them says of a credential.
    pub(super) async fn ask(
        &self,
        whom: Whom,
        kind: CredentialKind,
        secret: &Zeroed,
        tenant: Option<&str>,
    ) -> Result<Arc<str>, Refusal> {
        let credential = std::str::from_utf8(secret.expose()).map_err(|_| Refusal::Malformed)?;
        let (oracle, content_type, body) = match whom {
            Whom::Introspection => {
                let token = form_encoded(credential);
                let form = ["token=", &token, "&token_type_hint=access_token"].concat();
                (&self.introspection, "application/x-www-form-urlencoded", form.into_bytes())
            }
            Whom::Hook => {
                let asked = Asked { credential, kind: word(kind), tenant };
                let json = serde_json::to_vec(&asked).map_err(|_| Refusal::Malformed)?;
                (&self.hook, "application/json", json)
            }
        };
        let oracle = oracle.as_ref().ok_or(Refusal::Unavailable)?;
        oracle.ask(content_type, Bytes::from_owner(Zeroizing::new(body))).await
    }
}

impl Oracle {
    async fn ask(&self, content_type: &'static str, body: Bytes) -> Result<Arc<str>, Refusal> {
        // Nobody waits in line: cores are told to come back.
        let _place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let reply = self.endpoint.call(|request| {
            let mut request = request
                .method(Method::POST)
                .header(CONTENT_TYPE, content_type)
                .header(ACCEPT, "application/json");
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            request.body(Full::new(body.clone())).expect("its parts were valid before")
        });
        let host = self.endpoint.host();
        match reply.await {
            Ok(reply) if reply.status == StatusCode::OK => {
                let text = std::str::from_utf8(&reply.body).map_err(|_| Refusal::Unavailable)?;
                Ok(text.into())
            }
            Ok(reply) if self.says_no && is_no(reply.status) => Err(Refusal::Denied),
            Ok(reply) => {
                let status = reply.status.as_u16();
                tracing::warn!(host, status, "a credential cannot be asked about");
                Err(Refusal::Unavailable)
            }
            Err(failure) => {
                tracing::warn!(host, %failure, "a credential cannot be asked about");
                Err(Refusal::Unavailable)
            }
        }
    }
}

fn is_no(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

fn word(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Bearer => "bearer",
        CredentialKind::ApiKey => "api_key",
        CredentialKind::Query => "query",
        CredentialKind::Subprotocol => "subprotocol",
        CredentialKind::Cookie => "cookie",
        CredentialKind::Message => "message",
    }
}

/// As `application/x-www-form-urlencoded` has it.
fn form_encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte));
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}
