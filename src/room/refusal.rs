//! Why a command was refused, as it is said to whoever gave it.
//!
//! Invariant: it is a code, a fixed text and a time, so nothing of a room or of a user stands in it.

use crate::clock::Moment;
use crate::protocol::ErrorCode;

use super::config::ConfigError;
use super::standing::Denied;

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: &'static str,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// There is no such room, or whoever asks is not to know that there is.
    pub const NO_ROOM: Self = Self::new(ErrorCode::NotFound, "there is no such room");

    /// Who comes back was sent out of the room since.
    pub const SENT_OUT: Self = Self::new(ErrorCode::Forbidden, "sent out of the room meanwhile");

    /// One that waiting does not help.
    #[must_use]
    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, retry_after_ms: None }
    }
}

impl ConfigError {
    /// The refusal that says so.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        Refusal::new(ErrorCode::BadRequest, self.message())
    }
}

impl Denied {
    /// The refusal that says so.
    #[must_use]
    pub fn refusal(self, now: Moment) -> Refusal {
        let message = match self {
            Self::Banned(_) => "banned from this room",
            Self::Muted(_) => "muted in this room",
            Self::InviteRequired => "this room is for the invited",
            Self::ProofRequired => "password or room token required",
            Self::Forbidden => "the role in this room does not allow it",
        };
        let retry_after_ms = match self {
            Self::Muted(until) => Some(until.left_ms(now).unwrap_or(u64::from(u32::MAX))),
            _ => None,
        };
        Refusal { code: self.code(), message, retry_after_ms }
    }
}
