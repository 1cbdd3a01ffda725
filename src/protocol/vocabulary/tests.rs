//! Spellings are those of PROTOCOL, and survive the way there and back.

use super::*;

/// Every word of an enum reads back as itself, and the spellings are exactly these.
macro_rules! spelled {
    ($name:ident, $($text:literal),+) => {{
        let texts: Vec<_> = $name::ALL.iter().map(|word| word.as_str()).collect();
        assert_eq!(texts, [$($text),+]);
        for word in $name::ALL {
            assert_eq!($name::parse(word.as_str()), Some(*word));
            assert_eq!(word.to_string(), word.as_str());
        }
        assert_eq!($name::parse(""), None);
        assert_eq!($name::parse(&$name::ALL[0].as_str().to_uppercase()), None);
    }};
}

#[test]
fn words_are_spelled_as_the_protocol_says() {
    spelled!(Priority, "low", "normal", "high", "critical");
    spelled!(Role, "guest", "member", "moderator", "admin", "owner");
    spelled!(RoomType, "public", "protected", "private", "invite_only");
    spelled!(Mode, "best_effort", "reliable", "guaranteed");
    spelled!(SlowConsumer, "disconnect", "drop_oldest", "drop_newest", "latest");
    spelled!(FilterAction, "block", "mask");
    spelled!(PresenceAction, "join", "leave", "update");
    spelled!(LeftReason, "kicked", "banned", "room_deleted", "permission_revoked");
    spelled!(
        GapReason,
        "slow_consumer",
        "expired",
        "history_truncated",
        "epoch_changed",
        "overload"
    );
    spelled!(ModerationAction, "invite", "ban", "unban", "mute", "unmute", "kick", "role");
    spelled!(
        ErrorCode,
        "bad_request",
        "unauthorized",
        "forbidden",
        "not_found",
        "not_joined",
        "room_full",
        "room_exists",
        "banned",
        "muted",
        "invite_required",
        "invalid_room",
        "too_large",
        "rate_limited",
        "limit_exceeded",
        "expired",
        "timeout",
        "unavailable",
        "internal"
    );
}

#[test]
fn urgency_and_power_are_ordered() {
    assert!(Priority::ALL.is_sorted());
    assert!(Role::ALL.is_sorted());
    assert_eq!(Priority::default(), Priority::Normal);
}

#[test]
fn retry_after_comes_with_four_codes() {
    let with: Vec<_> =
        ErrorCode::ALL.iter().filter(|code| code.has_retry_after()).map(|c| c.as_str()).collect();
    assert_eq!(with, ["muted", "rate_limited", "timeout", "unavailable"]);
}

#[test]
fn close_reasons_have_the_codes_of_the_table() {
    let table = [
        (1001, "heartbeat_timeout", true),
        (1002, "protocol_error", false),
        (1003, "protocol_error", false),
        (1007, "protocol_error", false),
        (1009, "too_large", false),
        (1008, "auth_failed", false),
        (1008, "auth_timeout", false),
        (1008, "token_expired", true),
        (1008, "revoked", false),
        (1008, "banned", false),
        (1008, "bad_messages", false),
        (1008, "rate_limited", false),
        (1008, "connection_limit", false),
        (1008, "replaced", false),
        (1008, "suspended", false),
        (1011, "internal", true),
        (1012, "drain", true),
        (1013, "slow_consumer", true),
        (1013, "overloaded", true),
    ];
    let reasons: Vec<_> =
        CloseReason::ALL.iter().map(|r| (r.close_code(), r.as_str(), r.reconnect())).collect();
    assert_eq!(reasons, table);
}

#[test]
fn durability_reads_back_and_refuses_loose_numbers() {
    let all = ["memory", "everysec", "always", "replicas:1", "replicas:255"];
    for text in all {
        let read = Durability::parse(text).map(|durability| durability.to_string());
        assert_eq!(read.as_deref(), Some(text));
    }
    let bad = ["", "replicas", "replicas:", "replicas:0", "replicas:+1", "replicas:01"];
    for text in bad.into_iter().chain(["replicas:256", "replicas:-1", "Memory"]) {
        assert_eq!(Durability::parse(text), None, "{text}");
    }
}

#[test]
fn request_ids_end_at_their_limits() {
    assert_eq!(RequestId::number((1 << 53) - 1), Some(RequestId::Number((1 << 53) - 1)));
    assert_eq!(RequestId::number(1 << 53), None);
    assert!(RequestId::text(&"x".repeat(64)).is_some());
    assert_eq!(RequestId::text(&"x".repeat(65)), None);
}
