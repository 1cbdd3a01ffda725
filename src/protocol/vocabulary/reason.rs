//! Why something reaches a client, or does not.

super::words! {
    /// Why publications will not come: the `reason` of a `gap`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum GapReason {
        /// The receiver read too slowly and the room drops.
        SlowConsumer => "slow_consumer",
        /// They were past their `ttl_ms`.
        Expired => "expired",
        /// History no longer has them.
        HistoryTruncated => "history_truncated",
        /// The room began anew.
        EpochChanged => "epoch_changed",
        /// The server could not carry them.
        Overload => "overload",
    }
}

super::words! {
    /// Why a connection is no longer in a room: the `reason` of a `left`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum LeftReason {
        /// Sent out; may come back.
        Kicked => "kicked",
        /// Sent out for good or for a time.
        Banned => "banned",
        /// The room is gone.
        RoomDeleted => "room_deleted",
        /// The rights do not cover the room any more.
        PermissionRevoked => "permission_revoked",
    }
}

super::words! {
    /// What a user did: the `action` of a `presence`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum PresenceAction {
        /// The first connection came.
        Join => "join",
        /// The last connection went.
        Leave => "leave",
        /// `info` changed.
        Update => "update",
    }
}
