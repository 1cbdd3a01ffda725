//! What is wrong with Redis, by name.

use std::fmt;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::metrics::LinkState;
use crate::room::broker::Fault;

/// An error as it may be logged. Of what the server says that is its first word and no more: the rest may
/// repeat what it was sent, a password too.
#[derive(Debug)]
pub(super) struct Said<'a>(pub(super) &'a RedisError);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code() {
            Some(code) => write!(f, "the server says {code}"),
            None if self.0.is_io_error() => write!(f, "{}", self.0),
            None => f.write_str(self.0.category()),
        }
    }
}

/// How the link is after an error that ended it, or kept it from being made.
pub(super) fn state(error: &RedisError) -> LinkState {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => LinkState::WrongPassword,
        // The latter: it is in protected mode.
        Some("NOPERM" | "DENIED") => LinkState::Denied,
        Some("LOADING" | "BUSY" | "MASTERDOWN") => LinkState::Loading,
        Some("READONLY" | "MISCONF") => LinkState::ReadOnly,
        Some("OOM") => LinkState::OutOfMemory,
        Some("NOREPLICAS") => LinkState::TooFewReplicas,
        Some("CLUSTERDOWN") => LinkState::ClusterDown,
        _ if error.kind() == ErrorKind::AuthenticationFailed => LinkState::WrongPassword,
        _ if is_of_tls(error) => LinkState::Tls,
        _ => LinkState::Lost,
    }
}

/// What a home is told of an error.
pub(super) fn fault(error: &RedisError) -> Fault {
    match state(error) {
        LinkState::ReadOnly => Fault::ReadOnly,
        LinkState::OutOfMemory => Fault::OutOfMemory,
        LinkState::TooFewReplicas => Fault::NoReplicas,
        LinkState::Denied | LinkState::WrongPassword => Fault::Denied,
        _ if is_of_server(error) => Fault::Other,
        _ => Fault::Lost,
    }
}

/// Whether the server has forgotten the scripts: then it did nothing.
pub(super) fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether the server does not have that slot, or not all of it now: then it did nothing.
pub(super) fn is_astray(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN"))
}

/// Whether TLS is the cause: a certificate that is not accepted, by either side.
pub(super) fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The client keeps it behind a pointer of its own.
        let shared = error.downcast_ref::<Arc<std::io::Error>>().map(|error| &**error);
        let inner = error.downcast_ref().or(shared).and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>()
            || inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the link is of no use after it.
pub(super) fn ends_link(error: &RedisError) -> bool {
    use LinkState::{Loading, ReadOnly, WrongPassword};
    matches!(state(error), ReadOnly | Loading | WrongPassword) || !is_of_server(error)
}

/// Whether the server said it, so that it is known to have done nothing.
fn is_of_server(error: &RedisError) -> bool {
    error.code().is_some()
}
