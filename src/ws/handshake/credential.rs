//! The credential of a request, from whichever of its places.

use std::fmt;

use zeroize::Zeroizing;

use crate::ws::head::{self, Head};
use crate::ws::refusal::Refusal;

/// What a client proves itself by. Nothing has checked it yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it stood.
    pub kind: CredentialKind,
    /// What it says; overwritten when it is let go.
    pub secret: Zeroizing<String>,
}

/// Where a credential stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// `Authorization: Bearer …`
    Bearer,
    /// `X-API-Key: …`
    ApiKey,
    /// `?token=…`
    Query,
    /// The subprotocol `ringroom.token.…`
    Subprotocol,
    /// The cookie that the policy names.
    Cookie,
    /// The command `auth`, once the connection is open.
    Message,
}

impl fmt::Debug for Credential {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The one credential of a request. The same one may stand in several places; then it counts as
/// standing in the first of them, in the order of [`CredentialKind`].
pub(super) fn find(
    head: &Head<'_>,
    query_token: Option<String>,
    subprotocol_token: Option<&str>,
    cookie_name: Option<&str>,
) -> Result<Option<Credential>, Refusal> {
    let api_key = head.single("x-api-key")?;
    let cookie = cookie_name.map_or(Ok(None), |name| cookie(head, name))?;
    let places = [
        (CredentialKind::Bearer, bearer(head)?.map(ToOwned::to_owned)),
        (CredentialKind::ApiKey, api_key.map(ToOwned::to_owned)),
        (CredentialKind::Query, query_token),
        (CredentialKind::Subprotocol, subprotocol_token.map(ToOwned::to_owned)),
        (CredentialKind::Cookie, cookie.map(ToOwned::to_owned)),
    ];
    let mut found: Option<Credential> = None;
    for (kind, secret) in places {
        let Some(secret) = secret else { continue };
        if secret.is_empty() {
            return Err(Refusal::Unauthorized);
        }
        match &found {
            Some(first) if *first.secret != secret => return Err(Refusal::TwoCredentials),
            Some(_) => {}
            None => found = Some(Credential { kind, secret: Zeroizing::new(secret) }),
        }
    }
    Ok(found)
}

/// Other schemes than Bearer are not for us: a proxy may ask for them and pass them on.
fn bearer<'a>(head: &Head<'a>) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = head.single("authorization")? else { return Ok(None) };
    let (scheme, token) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii()))
}

/// The value of a cookie. An empty one is none: sites empty a cookie to log out.
fn cookie<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = None;
    let cookies = head.lines("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    for cookie in cookies.map(<[u8]>::trim_ascii) {
        let value = cookie.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        let value = head::text(value)?;
        // One for this path, one for another, or one planted by a neighbouring domain: who can say.
        if found.is_some_and(|other| other != value) {
            return Err(Refusal::RepeatedParameter);
        }
        found = Some(value);
    }
    Ok(found)
}
