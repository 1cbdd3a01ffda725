//! What is wrong with Redis, by name.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::metrics::LinkState;
use crate::room::broker::Fault;

/// How the link is after an error that ended it, or kept it from being made.
pub(super) fn state(error: &RedisError) -> LinkState {
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => LinkState::WrongPassword,
        Some("NOPERM") => LinkState::Denied,
        Some("LOADING" | "BUSY" | "MASTERDOWN") => LinkState::Loading,
        Some("READONLY" | "MISCONF") => LinkState::ReadOnly,
        Some("OOM") => LinkState::OutOfMemory,
        _ if error.kind() == ErrorKind::AuthenticationFailed => LinkState::WrongPassword,
        _ => LinkState::Lost,
    }
}

/// What a home is told of an error.
pub(super) fn fault(error: &RedisError) -> Fault {
    match state(error) {
        LinkState::ReadOnly => Fault::ReadOnly,
        LinkState::OutOfMemory => Fault::OutOfMemory,
        LinkState::Denied | LinkState::WrongPassword => Fault::Denied,
        _ if is_of_server(error) => Fault::Other,
        _ => Fault::Lost,
    }
}

/// Whether the server has forgotten the scripts: then it did nothing.
pub(super) fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
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
