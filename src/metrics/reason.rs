//! Figures that are kept apart by a reason, out of a fixed set.

use std::marker::PhantomData;

use super::Figure;

/// A fixed set of reasons.
pub trait Reason: Copy + 'static {
    /// Every reason, in the order of their indices.
    const ALL: &'static [Self];

    /// Its word in metrics and logs.
    fn word(self) -> &'static str;

    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

/// One figure for each reason.
#[derive(Debug)]
pub struct ByReason<R> {
    figures: Box<[Figure]>,
    reason: PhantomData<R>,
}

impl<R: Reason> Default for ByReason<R> {
    fn default() -> Self {
        Self { figures: R::ALL.iter().map(|_| Figure::default()).collect(), reason: PhantomData }
    }
}

impl<R: Reason> ByReason<R> {
    /// Counts one more. Only for the owner.
    pub fn count(&self, reason: R) {
        self.figure(reason).add(1);
    }

    /// The figure of one reason.
    pub fn figure(&self, reason: R) -> &Figure {
        &self.figures[reason.index()]
    }

    /// Each reason's word and number.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::ALL.iter().map(|&reason| (reason.word(), self.figure(reason).get()))
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.figures.iter().map(Figure::get).sum()
    }
}

/// Defines a set of reasons with a word for each.
macro_rules! reasons {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $reason:ident => $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $reason,)+
        }

        impl Reason for $name {
            const ALL: &'static [Self] = &[$(Self::$reason),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$reason => $word,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// Why a connection was not taken in, before a byte of it was read.
    Refusal {
        /// As many connections as the process may have.
        Connections => "connections",
        /// As many as one address may have.
        ConnectionsPerAddress => "connections_per_address",
        /// The address has shown too many bad credentials.
        Banned => "banned",
        /// As many unfinished handshakes as may be.
        Handshakes => "handshakes",
        /// Out of descriptors.
        Descriptors => "descriptors",
        /// Out of memory.
        Memory => "memory",
        /// The server is on its way out.
        Drain => "drain",
        /// The socket was broken before it was ours.
        Socket => "socket",
    }
}

reasons! {
    /// Why a connection ended in its handshake.
    HandshakeFailure {
        /// Not finished in time.
        Deadline => "deadline",
        /// The peer left.
        Left => "left",
        /// TLS failed.
        Tls => "tls",
        /// The PROXY header is bad, or from one who may not send it.
        Proxy => "proxy",
        /// The head cannot be understood.
        BadRequest => "bad_request",
        /// The head, its target, or its number of headers is over a limit.
        TooLarge => "too_large",
        /// A method or a version of HTTP that is not served.
        Unsupported => "unsupported",
        /// The version of WebSocket.
        Version => "version",
        /// The origin is not allowed.
        Origin => "origin",
        /// Only unknown subprotocols.
        Subprotocol => "subprotocol",
        /// Bad, missing or contradicting credentials.
        Credentials => "credentials",
        /// Nothing is served there.
        NotFound => "not_found",
        /// Over a limit on connections.
        Limit => "limit",
    }
}

reasons! {
    /// Why a WebSocket ended.
    Close {
        /// The client said goodbye.
        Client => "client",
        /// The socket was gone without a goodbye.
        Lost => "lost",
        /// Pings went unanswered.
        HeartbeatTimeout => "heartbeat_timeout",
        /// WebSocket was not spoken right.
        ProtocolError => "protocol_error",
        /// A frame or message over its limit.
        TooLarge => "too_large",
        /// The credential is bad.
        AuthFailed => "auth_failed",
        /// No credential in time.
        AuthTimeout => "auth_timeout",
        /// The credential ran out.
        TokenExpired => "token_expired",
        /// The credential was taken back.
        Revoked => "revoked",
        /// The user or address is banned.
        Banned => "banned",
        /// Too many messages that cannot be understood.
        BadMessages => "bad_messages",
        /// Went on though rate limited.
        RateLimited => "rate_limited",
        /// More connections than allowed.
        ConnectionLimit => "connection_limit",
        /// The session went on in another connection.
        Replaced => "replaced",
        /// The tenant is suspended.
        Suspended => "suspended",
        /// Our fault.
        Internal => "internal",
        /// The server goes away.
        Drain => "drain",
        /// Read too slowly.
        SlowConsumer => "slow_consumer",
        /// The server has too much to do.
        Overloaded => "overloaded",
    }
}

reasons! {
    /// Why publications did not reach a connection.
    Gap {
        /// The receiver read too slowly.
        SlowConsumer => "slow_consumer",
        /// They were past their `ttl_ms`.
        Expired => "expired",
        /// History no longer has them.
        HistoryTruncated => "history_truncated",
        /// The room began anew.
        EpochChanged => "epoch_changed",
        /// The server could not carry them.
        Overload => "overload",
        /// Transient ones, of which nobody is told.
        Transient => "transient",
    }
}

reasons! {
    /// What became of what a backend has said by Redis' `PUBLISH` alone.
    Interop {
        /// Every core was told, and so were the connections it was for.
        HandedOn => "handed_on",
        /// It was said on a channel that is none of those listened for.
        UnknownChannel => "unknown_channel",
        /// It is no JSON, or nested too deep.
        NotJson => "not_json",
        /// It is longer than a message may be.
        TooLarge => "too_large",
        /// Too much had been said that was not looked at yet, or some core was too far behind.
        Overload => "overload",
    }
}
