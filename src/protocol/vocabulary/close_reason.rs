//! Why the server ends a connection: close code, `disconnect.reason`, and whether to come back.

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Pings went unanswered.
    HeartbeatTimeout,
    /// WebSocket was not spoken right.
    ProtocolError,
    /// A kind of frame that is not taken.
    UnsupportedData,
    /// Text that is not UTF-8, or a payload that does not inflate.
    InvalidPayload,
    /// A frame or message over its limit.
    TooLarge,
    /// The credential in `auth` is bad.
    AuthFailed,
    /// No credential in time.
    AuthTimeout,
    /// The credential ran out.
    TokenExpired,
    /// The credential was taken back.
    Revoked,
    /// The user or address is banned.
    Banned,
    /// Too many messages that cannot be understood.
    BadMessages,
    /// Went on though rate limited.
    RateLimited,
    /// More connections than allowed.
    ConnectionLimit,
    /// The session went on in another connection.
    Replaced,
    /// The tenant is suspended.
    Suspended,
    /// Our fault.
    Internal,
    /// The server goes away.
    Drain,
    /// Read too slowly.
    SlowConsumer,
    /// The server has too much to do.
    Overloaded,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::HeartbeatTimeout,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidPayload,
        Self::TooLarge,
        Self::AuthFailed,
        Self::AuthTimeout,
        Self::TokenExpired,
        Self::Revoked,
        Self::Banned,
        Self::BadMessages,
        Self::RateLimited,
        Self::ConnectionLimit,
        Self::Replaced,
        Self::Suspended,
        Self::Internal,
        Self::Drain,
        Self::SlowConsumer,
        Self::Overloaded,
    ];

    /// `disconnect.reason`. Breaches of WebSocket share one word; their close codes differ.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::ProtocolError | Self::UnsupportedData | Self::InvalidPayload => "protocol_error",
            Self::TooLarge => "too_large",
            Self::AuthFailed => "auth_failed",
            Self::AuthTimeout => "auth_timeout",
            Self::TokenExpired => "token_expired",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::BadMessages => "bad_messages",
            Self::RateLimited => "rate_limited",
            Self::ConnectionLimit => "connection_limit",
            Self::Replaced => "replaced",
            Self::Suspended => "suspended",
            Self::Internal => "internal",
            Self::Drain => "drain",
            Self::SlowConsumer => "slow_consumer",
            Self::Overloaded => "overloaded",
        }
    }

    /// The code of the close frame that follows.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::HeartbeatTimeout => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidPayload => 1007,
            Self::AuthFailed
            | Self::AuthTimeout
            | Self::TokenExpired
            | Self::Revoked
            | Self::Banned
            | Self::BadMessages
            | Self::RateLimited
            | Self::ConnectionLimit
            | Self::Replaced
            | Self::Suspended => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Drain => 1012,
            Self::SlowConsumer | Self::Overloaded => 1013,
        }
    }

    /// Whether the client may come back (after `token_expired`: with a new token).
    #[must_use]
    pub const fn reconnect(self) -> bool {
        matches!(self.close_code(), 1001 | 1011 | 1012 | 1013) || matches!(self, Self::TokenExpired)
    }
}
