//! The opening handshake (RFC 6455 §4.2): a request head becomes an accepted connection and the
//! bytes that say so, or a [`Refusal`].
//!
//! Invariants: every check is made before anything is accepted; the response echoes nothing but
//! constants of ours and the hash of the key; of two credentials that differ neither is believed.

mod credential;
mod subprotocol;
mod target;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tungstenite::handshake::derive_accept_key;

use crate::origin::{Authority, Origins, Permission};
use crate::protocol::{Codec, Secret};

use super::extension::{self, Agreed};
use super::head::{Head, Version};
use super::refusal::Refusal;

pub use credential::{Credential, CredentialKind};
pub use target::Route;

/// What one listener accepts.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Whose pages may connect.
    pub origins: &'a Origins,
    /// Whose pages may connect to some tenant: which, is known with the credential.
    pub tenant_origins: Option<&'a Origins>,
    /// Whether a client that sends no `Origin` may. Never with a cookie.
    pub allow_absent_origin: bool,
    /// Whether the listener itself speaks TLS.
    pub tls: bool,
    /// Whether only this machine reaches the listener, so that its users' browsers do, and all that
    /// tells their pages from others is the name in `Host`.
    pub local: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Whether permessage-deflate is negotiated.
    pub deflate: bool,
    /// The name of the cookie that holds a credential, where one may.
    pub cookie: Option<&'a str>,
}

/// What was settled.
#[derive(Debug)]
pub struct Accepted {
    /// Where the connection goes.
    pub route: Route,
    /// How the server writes.
    pub codec: Codec,
    /// Compression.
    pub deflate: Option<Agreed>,
    /// The credential, not checked yet.
    pub credential: Option<Credential>,
    /// `?session=…`: a secret.
    pub session: Option<Secret<'static>>,
    /// `?tenant=…`, which must agree with the credential.
    pub tenant: Option<String>,
    /// The whole response.
    pub response: Vec<u8>,
}

/// Whether a request is answered here, by [`accept`] or by its refusal: it wants to become a
/// WebSocket, or asks for what only WebSockets are served at. All else is plain HTTP.
#[must_use]
pub fn concerns(head: &Head<'_>, policy: &Policy<'_>) -> bool {
    head.is_upgrade() || target::is_endpoint(head.path(), policy.echo)
}

/// Accepts or refuses.
///
/// # Errors
/// Names the first reason to refuse.
pub fn accept(head: &Head<'_>, policy: &Policy<'_>) -> Result<Accepted, Refusal> {
    let host = check_request(head)?;
    let route = target::route(head.path(), policy.echo)?;
    let key = check_upgrade(head)?;
    let permission = check_origin(head, policy, host)?;
    let offered = subprotocol::read(head)?;
    let parameters = target::parameters(head.query().unwrap_or_default())?;
    let credential = credential::find(head, parameters.token, offered.token, policy.cookie)?;
    check_cookie(credential.as_ref(), permission)?;

    let offers = head.lines("sec-websocket-extensions");
    let deflate = if policy.deflate { extension::negotiate(offers) } else { None };
    Ok(Accepted {
        route,
        codec: offered.codec.unwrap_or_default(),
        deflate,
        credential,
        session: parameters.session.filter(|session| !session.is_empty()).map(Secret::from),
        tenant: parameters.tenant,
        response: response(key, offered.codec, deflate),
    })
}

/// Whether a plain request may be answered at all (RFC 9112 §3.2): it asks for a path, of one host.
///
/// # Errors
/// Names the first reason to refuse.
pub fn check_plain(head: &Head<'_>) -> Result<(), Refusal> {
    if head.method() == "CONNECT" {
        return Err(Refusal::Method);
    }
    if !head.path().starts_with('/') {
        return Err(Refusal::TargetForm);
    }
    // HTTP/1.0 knows no Host.
    let needs_none = head.version() == Version::Http10 && head.lines("host").next().is_none();
    if needs_none { Ok(()) } else { check_host(head).map(drop) }
}

/// What a request to become a WebSocket must be: to be read in one way only, with no body and a host.
fn check_request<'a>(head: &Head<'a>) -> Result<Authority<'a>, Refusal> {
    // A body would have to be told from the frames behind the head. A single `0` tells of none.
    let mut lengths = head.lines("content-length");
    let empty = lengths.next().is_none_or(|length| length == b"0") && lengths.next().is_none();
    if !empty || head.lines("transfer-encoding").next().is_some() {
        return Err(Refusal::Body);
    }
    check_host(head)
}

/// The one host that a request names.
fn check_host<'a>(head: &Head<'a>) -> Result<Authority<'a>, Refusal> {
    let host = head.single("host")?.ok_or(Refusal::Host)?;
    if head.authority().is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
        return Err(Refusal::TargetForm);
    }
    Authority::parse(host).ok_or(Refusal::Host)
}

/// What a request must say to become a WebSocket: its key, as sent.
fn check_upgrade<'a>(head: &Head<'a>) -> Result<&'a str, Refusal> {
    if head.method() != "GET" {
        return Err(Refusal::Method);
    }
    if head.version() != Version::Http11 {
        return Err(Refusal::OldHttp);
    }
    if !head.is_upgrade() {
        return Err(Refusal::NotAnUpgrade);
    }
    if !head.lists("connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    let mut versions = head.lines("sec-websocket-version");
    if versions.next() != Some(b"13") || versions.next().is_some() {
        return Err(Refusal::WebSocketVersion);
    }
    let key = head.single("sec-websocket-key")?.ok_or(Refusal::Key)?;
    // 16 bytes are 24 digits, for which the decoder wants room for 18.
    let decoded_bytes = STANDARD.decode_slice(key, &mut [0; 18]);
    if decoded_bytes == Ok(16) { Ok(key) } else { Err(Refusal::Key) }
}

/// Why the page may connect; none if it is no page.
fn check_origin(
    head: &Head<'_>,
    policy: &Policy<'_>,
    host: Authority<'_>,
) -> Result<Option<Permission>, Refusal> {
    match head.single("origin")? {
        Some(origin) => {
            let by = |list: &Origins| list.permit(origin, host, policy.tls);
            // The tenant is not known yet: what one list says of a page takes nothing from what another
            // one does.
            let permission = by(policy.origins).max(policy.tenant_origins.and_then(by));
            // DNS rebinding: a name of somebody else's that resolves to this machine. Where no page is
            // named, the host must be one that nobody else can have.
            let is_safe = !policy.local || host.is_address_or_localhost();
            let permission = permission.filter(|it| *it != Permission::Own || is_safe);
            permission.map(Some).ok_or(Refusal::Origin)
        }
        None if policy.allow_absent_origin => Ok(None),
        None => Err(Refusal::OriginMissing),
    }
}

/// A cookie comes with whatever page a browser shows, so it is believed only from a page that is
/// named: here by anybody; whether by its own tenant, is seen once it is known whose it is.
fn check_cookie(
    credential: Option<&Credential>,
    permission: Option<Permission>,
) -> Result<(), Refusal> {
    let is_cookie = credential.is_some_and(|found| found.kind == CredentialKind::Cookie);
    match permission {
        Some(Permission::Own | Permission::Any) if is_cookie => Err(Refusal::Origin),
        None if is_cookie => Err(Refusal::OriginMissing),
        _ => Ok(()),
    }
}

fn response(key: &str, codec: Option<Codec>, deflate: Option<Agreed>) -> Vec<u8> {
    let mut response = String::with_capacity(384);
    response.push_str(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: ",
    );
    response.push_str(&derive_accept_key(key.as_bytes()));
    if let Some(codec) = codec {
        response.push_str("\r\nSec-WebSocket-Protocol: ");
        response.push_str(subprotocol::name(codec));
    }
    if let Some(agreed) = deflate {
        response.push_str("\r\nSec-WebSocket-Extensions: ");
        response.push_str(&agreed.response());
    }
    response.push_str("\r\n\r\n");
    response.into_bytes()
}

#[cfg(test)]
mod tests;
