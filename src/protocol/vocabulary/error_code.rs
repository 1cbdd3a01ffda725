//! Why a command failed: the one table of error codes.

super::words! {
    /// The `code` of an `error`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ErrorCode {
        /// The message cannot be understood.
        BadRequest => "bad_request",
        /// Not authenticated, or not yet.
        Unauthorized => "unauthorized",
        /// Authenticated, and not allowed to.
        Forbidden => "forbidden",
        /// No such room, user, connection or handler.
        NotFound => "not_found",
        /// The room must be joined first.
        NotJoined => "not_joined",
        /// The room has all the members it takes.
        RoomFull => "room_full",
        /// A room of this name exists.
        RoomExists => "room_exists",
        /// The user or address is banned from the room.
        Banned => "banned",
        /// The user may not publish for now.
        Muted => "muted",
        /// The room is for the invited.
        InviteRequired => "invite_required",
        /// No name a room can have.
        InvalidRoom => "invalid_room",
        /// More bytes than the room takes.
        TooLarge => "too_large",
        /// Too often.
        RateLimited => "rate_limited",
        /// More than a connection, session or tenant may have.
        LimitExceeded => "limit_exceeded",
        /// What was asked for is gone: a token, or an earlier epoch.
        Expired => "expired",
        /// No answer in time.
        Timeout => "timeout",
        /// Not now.
        Unavailable => "unavailable",
        /// Our fault.
        Internal => "internal",
    }
}

impl ErrorCode {
    /// Whether an `error` of this code says when to try again.
    #[must_use]
    pub fn has_retry_after(self) -> bool {
        matches!(self, Self::RateLimited | Self::Muted | Self::Unavailable | Self::Timeout)
    }
}
