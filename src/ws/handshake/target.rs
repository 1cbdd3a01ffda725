//! Where a request goes and what its query says.
//!
//! Percent-encoding is undone once, in the room's name and in the values of our own parameters, and
//! nowhere else: `/%77s` is not `/ws`, `%2525` becomes `%25`. A `+` is a `+`. Dot segments and
//! double slashes mean nothing here; they reach the room's name as they are.

use crate::ws::refusal::Refusal;

/// The longest name of a tenant.
const TENANT_BYTES: usize = 128;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/ws`, or `/ws/{room}` with the room to join, percent-decoded.
    Rooms(Option<String>),
    /// `/echo`.
    Echo,
}

/// Our parameters, decoded.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) token: Option<String>,
    pub(super) session: Option<String>,
    pub(super) tenant: Option<String>,
}

/// Whether only WebSockets are served at a path.
pub(super) fn is_endpoint(path: &str, echo: bool) -> bool {
    path == "/ws" || path.starts_with("/ws/") || (echo && path == "/echo")
}

pub(super) fn route(path: &str, echo: bool) -> Result<Route, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::TargetForm);
    }
    match path {
        "/ws" => Ok(Route::Rooms(None)),
        "/echo" if echo => Ok(Route::Echo),
        _ => {
            let room = path.strip_prefix("/ws/").ok_or(Refusal::NotFound)?;
            Ok(Route::Rooms(Some(percent_decode(room)?)))
        }
    }
}

pub(super) fn parameters(query: &str) -> Result<Parameters, Refusal> {
    let mut parameters = Parameters::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let parameter = match name {
            "token" => &mut parameters.token,
            "session" => &mut parameters.session,
            "tenant" => &mut parameters.tenant,
            _ => continue,
        };
        if parameter.replace(percent_decode(value)?).is_some() {
            return Err(Refusal::RepeatedParameter);
        }
    }
    let bad = |tenant: &String| tenant.is_empty() || tenant.len() > TENANT_BYTES;
    if parameters.tenant.as_ref().is_some_and(bad) {
        return Err(Refusal::Tenant);
    }
    Ok(parameters)
}

/// Undoes percent-encoding, once. What it gives is UTF-8 without a NUL.
fn percent_decode(text: &str) -> Result<String, Refusal> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let high = rest.next().and_then(hex_digit).ok_or(Refusal::PercentEncoding)?;
            let low = rest.next().and_then(hex_digit).ok_or(Refusal::PercentEncoding)?;
            high << 4 | low
        } else {
            byte
        };
        if byte == 0 {
            return Err(Refusal::PercentEncoding);
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| Refusal::PercentEncoding)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
