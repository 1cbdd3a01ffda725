//! The table of commands.

use super::{Ann, Anonymous, Back, Badly, Bob, Nobody, Row, Silence, Well};
use crate::config::{Config, RoomDefaults};
use crate::protocol::ErrorCode as Code;

pub(super) const JOIN: &str = r#"{"type":"join","id":100,"room":"r"}"#;
const PUBLISH: &str = r#"{"type":"publish","id":101,"room":"r","data":1}"#;
const KEEP: &str = r#"{"type":"room.create","id":102,"room":"r","config":{"history_size":9}}"#;

/// A list of ten, for what has to be long.
macro_rules! ten {
    ($of:expr) => {
        concat!($of, $of, $of, $of, $of, $of, $of, $of, $of, $of)
    };
}
const MANY_USERS: &str =
    concat!(r#"{"type":"send","id":1,"to":{"users":["#, ten!(ten!("\"u\",")), r#""u"]},"data":1}"#);
const LONG_INFO: &str = concat!(
    r#"{"type":"presence.set","id":1,"room":"r","info":""#,
    ten!(ten!("0123456789012")),
    r#""}"#
);

/// Small enough that limits are met by hand.
pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.limits.rooms_per_connection = 2;
    config.limits.state_bytes = 16;
    config.rate.messages_per_second = 100;
    config.rate.burst = 5;
    config.users.messages_per_second = 0;
    let user = RoomDefaults { message_bytes: Some(16), ..RoomDefaults::default() };
    config.namespace_rooms.insert("@user".to_owned(), user);
    config
}

/// Commands of which there is no good form here: no handler and no credential is configured.
/// `auth::tests` and `shard::tests::application` have those.
pub(super) const ONLY_REFUSED: &[&str] = &["any other"];
/// Commands that a client that sends them well-formed is never refused; `auth` is not where no
/// credential is asked for, and its refusals are in `tests/e2e/identity.rs`.
pub(super) const NEVER_REFUSED: &[&str] =
    &["auth", "rooms", "state.get", "batch", "ping", "response"];
/// Codes that no command of one engine alone is refused with: `unavailable` needs a broker
/// (`shard::tests::nodes`), as does `timeout` (`shard::tests::governing`), `internal` is for our own
/// faults, and before the welcome all is `unauthorized` (`tests/e2e/identity.rs`).
pub(super) const ELSEWHERE: &[Code] =
    &[Code::Unauthorized, Code::Timeout, Code::Unavailable, Code::Internal];

pub(super) const NEEDS_A_RIGHT: &[&str] = &[
    r#"{"type":"join","id":1,"room":"r"}"#,
    r#"{"type":"history","id":1,"room":"r"}"#,
    r#"{"type":"presence","id":1,"room":"r"}"#,
    r#"{"type":"room.create","id":1,"room":"new"}"#,
    r#"{"type":"broadcast","id":1,"data":1}"#,
    r#"{"type":"send","id":1,"to":{"user":"bob"},"data":1}"#,
    r#"{"type":"subscribe","id":1,"pattern":"**"}"#,
    r#"{"type":"room.kick","id":1,"room":"r","user":"ann"}"#,
    r#"{"type":"room.update","id":1,"room":"r","config":{}}"#,
    r#"{"type":"room.delete","id":1,"room":"r"}"#,
];

pub(super) const ROWS: &[Row] = &[
    (&[], Ann, r#"{"type":"auth","id":1,"token":"t"}"#, Well(r#"{"user":"ann"}"#)),
    // join
    (
        &[],
        Ann,
        r#"{"type":"join","id":"j","room":"r","presence":true,"events":["e"],"min_priority":"high"}"#,
        Well(r#"{"room":"r","offset":0,"recovered":false,"role":"owner","user_count":1}"#),
    ),
    (&[(Ann, JOIN)], Bob, JOIN, Well(r#"{"role":"guest","user_count":2}"#)),
    (
        &[(Ann, KEEP), (Ann, JOIN), (Ann, PUBLISH)],
        Bob,
        r#"{"type":"join","id":1,"room":"r","since":{"epoch":"EPOCH","offset":0}}"#,
        Well(r#"{"recovered":true,"offset":1}"#),
    ),
    (
        &[(Ann, JOIN), (Ann, PUBLISH)],
        Bob,
        r#"{"type":"join","id":1,"room":"r","since":{"epoch":"EPOCH","offset":0}}"#,
        Well(r#"{"recovered":false,"offset":1}"#),
    ),
    (&[], Ann, r#"{"type":"join_room","id":1,"room":"r"}"#, Well(r#"{"room":"r"}"#)),
    (&[], Ann, r#"{"type":"join","id":1,"room":"/r"}"#, Badly(Code::InvalidRoom)),
    (&[], Ann, r#"{"type":"join","id":1,"room":"@all"}"#, Badly(Code::InvalidRoom)),
    (
        &[
            (Ann, r#"{"type":"join","id":1,"room":"a"}"#),
            (Ann, r#"{"type":"join","id":2,"room":"b"}"#),
        ],
        Ann,
        r#"{"type":"join","id":3,"room":"c"}"#,
        Badly(Code::LimitExceeded),
    ),
    (
        &[
            (Ann, r#"{"type":"room.create","id":1,"room":"r","config":{"max_members":1}}"#),
            (Ann, JOIN),
        ],
        Bob,
        JOIN,
        Badly(Code::RoomFull),
    ),
    (
        &[(Ann, r#"{"type":"room.create","id":1,"room":"r","config":{"type":"invite_only"}}"#)],
        Bob,
        JOIN,
        Badly(Code::InviteRequired),
    ),
    (
        &[(Ann, r#"{"type":"room.create","id":1,"room":"r","config":{"type":"private"}}"#)],
        Bob,
        JOIN,
        Badly(Code::Forbidden),
    ),
    (
        &[(
            Ann,
            r#"{"type":"room.create","id":1,"room":"r","config":{"type":"protected","password":"p"}}"#,
        )],
        Bob,
        r#"{"type":"join","id":1,"room":"r","password":"q"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(
            Ann,
            r#"{"type":"room.create","id":1,"room":"r","config":{"type":"protected","password":"p"}}"#,
        )],
        Bob,
        r#"{"type":"join","id":1,"room":"r","password":"p"}"#,
        Well(r#"{"room":"r"}"#),
    ),
    (
        &[(Ann, JOIN), (Ann, r#"{"type":"room.ban","id":1,"room":"r","user":"bob"}"#)],
        Bob,
        JOIN,
        Badly(Code::Banned),
    ),
    // leave
    (&[(Ann, JOIN)], Ann, r#"{"type":"leave","id":0,"room":"r"}"#, Well(r#"{"room":"r"}"#)),
    (&[(Ann, JOIN)], Ann, r#"{"type":"leave_room","id":"","room":"r"}"#, Well(r#"{"room":"r"}"#)),
    (&[], Ann, r#"{"type":"leave","id":1,"room":"r"}"#, Badly(Code::NotJoined)),
    (&[], Ann, r#"{"type":"leave","id":1,"room":"@user/ann"}"#, Badly(Code::NotJoined)),
    // publish
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"publish","id":1,"room":"r","data":{"a":1},"event":"e","exclude_self":true,
            "key":"k","priority":"critical","ttl_ms":1000,
            "filter":{"users":["bob"],"exclude_users":["ann"],"metadata":{},
            "min_connection_age_ms":0,"max_connections":9},"receipt":"delivered"}"#,
        Well(r#"{"room":"r","offset":1,"delivered":1,"total":1}"#),
    ),
    (
        &[(Ann, JOIN), (Ann, r#"{"type":"publish","id":1,"room":"r","data":1,"key":"k"}"#)],
        Ann,
        r#"{"type":"publish","id":2,"room":"r","data":2,"key":"k"}"#,
        Well(r#"{"room":"r","offset":1,"duplicate":true}"#),
    ),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"publish","id":1,"room":"r","data":null,"transient":true}"#,
        Well(r#"{"room":"r"}"#),
    ),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"send_message","id":1,"room":"r","content":1}"#,
        Well(r#"{"room":"r","offset":1}"#),
    ),
    (&[(Ann, JOIN)], Ann, r#"{"type":"publish","room":"r","data":1,"exclude_self":true}"#, Silence),
    (&[(Ann, JOIN)], Bob, PUBLISH, Badly(Code::NotJoined)),
    (
        &[
            (Ann, JOIN),
            (Bob, JOIN),
            (Ann, r#"{"type":"room.mute","id":1,"room":"r","user":"bob"}"#),
        ],
        Bob,
        PUBLISH,
        Badly(Code::Muted),
    ),
    (
        &[
            (
                Ann,
                r#"{"type":"room.create","id":1,"room":"r","config":{"publish_role":"moderator"}}"#,
            ),
            (Bob, JOIN),
        ],
        Bob,
        PUBLISH,
        Badly(Code::Forbidden),
    ),
    (
        &[
            (Ann, r#"{"type":"room.create","id":1,"room":"r","config":{"message_bytes":1}}"#),
            (Ann, JOIN),
        ],
        Ann,
        r#"{"type":"publish","id":2,"room":"r","data":10}"#,
        Badly(Code::TooLarge),
    ),
    (
        &[
            (Ann, r#"{"type":"room.create","id":1,"room":"r","config":{"slow_mode_ms":1000}}"#),
            (Ann, JOIN),
            (Ann, PUBLISH),
        ],
        Ann,
        PUBLISH,
        Badly(Code::RateLimited),
    ),
    (
        &[
            (
                Ann,
                r#"{"type":"room.create","id":1,"room":"r","config":{"word_filter":{"words":["bad"]}}}"#,
            ),
            (Ann, JOIN),
        ],
        Ann,
        r#"{"type":"publish","id":2,"room":"r","data":"so bad"}"#,
        Badly(Code::Forbidden),
    ),
    // send
    (
        &[],
        Ann,
        r#"{"type":"send","id":1,"to":{"user":"bob"},"data":1,"event":"e","transient":true,
            "priority":"low","ttl_ms":9}"#,
        Well(r#"{"delivered":1}"#),
    ),
    (
        &[],
        Ann,
        r#"{"type":"send","id":1,"to":{"users":["ann","bob"]},"data":1}"#,
        Well(r#"{"delivered":2}"#),
    ),
    (
        &[],
        Ann,
        r#"{"type":"send","id":1,"to":{"connection":"BOB"},"data":1}"#,
        Well(r#"{"delivered":1}"#),
    ),
    (
        &[],
        Ann,
        r#"{"type":"send","id":1,"to":{"user":"nobody"},"data":1}"#,
        Well(r#"{"delivered":0}"#),
    ),
    (&[], Ann, r#"{"type":"send","id":1,"to":{"connection":"x"},"data":1}"#, Badly(Code::NotFound)),
    // Refused by the homes of all whom it is for.
    (
        &[],
        Ann,
        r#"{"type":"send","id":1,"to":{"users":["ann","bob"]},"data":"longer than allowed"}"#,
        Badly(Code::TooLarge),
    ),
    (&[], Ann, MANY_USERS, Badly(Code::LimitExceeded)),
    // broadcast
    (
        &[],
        Ann,
        r#"{"type":"broadcast","id":1,"data":1,"event":"e","receipt":"delivered"}"#,
        Well(r#"{"room":"@all","offset":1,"delivered":4,"total":4}"#),
    ),
    (&[], Anonymous, r#"{"type":"broadcast","id":1,"data":1}"#, Badly(Code::Forbidden)),
    // ack
    (
        &[(Ann, JOIN), (Ann, PUBLISH)],
        Ann,
        r#"{"type":"ack","id":1,"room":"r","offset":1}"#,
        Well("{}"),
    ),
    (&[], Ann, r#"{"type":"ack","id":1,"room":"r","offset":1}"#, Badly(Code::NotJoined)),
    // history
    (
        &[(Ann, KEEP), (Ann, JOIN), (Ann, PUBLISH)],
        Ann,
        r#"{"type":"history","id":1,"room":"r","since":{"epoch":"EPOCH","offset":0},"limit":1000}"#,
        Well(r#"{"room":"r","offset":1,"truncated":false}"#),
    ),
    (
        &[(Ann, JOIN), (Ann, PUBLISH)],
        Ann,
        r#"{"type":"history","id":1,"room":"r","before":{"epoch":"EPOCH","offset":9},"reverse":true}"#,
        Well(r#"{"offset":1,"messages":[],"truncated":true}"#),
    ),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"history","id":1,"room":"r","since":{"epoch":"another","offset":0}}"#,
        Badly(Code::Expired),
    ),
    (&[], Ann, r#"{"type":"history","id":1,"room":"r"}"#, Badly(Code::NotFound)),
    // presence
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"presence","id":1,"room":"r","limit":1}"#,
        Well(
            r#"{"room":"r","count":2,"users":[{"user":"ann","info":null,"connections":1}],"next":"ann"}"#,
        ),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"presence","id":1,"room":"r","after":"ann"}"#,
        Well(r#"{"count":2,"users":[{"user":"bob","info":null,"connections":1}]}"#),
    ),
    (&[], Ann, r#"{"type":"presence","id":1,"room":"r"}"#, Badly(Code::NotFound)),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"presence.set","id":1,"room":"r","info":{"m":1}}"#,
        Well("{}"),
    ),
    (&[], Ann, r#"{"type":"presence.set","id":1,"room":"r","info":1}"#, Badly(Code::NotJoined)),
    (
        &[(Anonymous, JOIN)],
        Anonymous,
        r#"{"type":"presence.set","id":1,"room":"r","info":1}"#,
        Badly(Code::Forbidden),
    ),
    (&[(Ann, JOIN)], Ann, LONG_INFO, Badly(Code::TooLarge)),
    // rooms, state
    (&[], Ann, r#"{"type":"rooms","id":1}"#, Well(r#"{"rooms":[]}"#)),
    (&[(Ann, JOIN)], Ann, r#"{"type":"rooms","id":9007199254740991}"#, Well("{}")),
    (&[], Ann, r#"{"type":"state.set","id":1,"data":[1]}"#, Well("{}")),
    (&[], Ann, r#"{"type":"state.set","id":1,"data":"more than 16 bytes"}"#, Badly(Code::TooLarge)),
    (
        &[(Ann, r#"{"type":"state.set","id":1,"data":7}"#)],
        Ann,
        r#"{"type":"state.get","id":2}"#,
        Well(r#"{"data":7}"#),
    ),
    (&[], Ann, r#"{"type":"state.get","id":1}"#, Well(r#"{"data":null}"#)),
    // rooms as such
    (
        &[],
        Ann,
        r#"{"type":"room.create","id":1,"room":"r","config":{"type":"public","persistent":false,
            "max_members":5,"mode":"reliable","durability":"memory","history_size":3,
            "history_bytes":10000,"history_ttl_ms":1000,"slow_consumer":"latest","presence":true,
            "publish_role":"guest","message_bytes":100,"rate":{"per_second":5,"burst":5},
            "slow_mode_ms":0,"word_filter":{"words":["x"],"patterns":["y+"],"action":"mask"},
            "compress":true,"metadata":{"m":1},"parent_inherit":false}}"#,
        Well(r#"{"room":"r","role":"owner"}"#),
    ),
    (&[(Ann, JOIN)], Bob, r#"{"type":"room.create","id":1,"room":"r"}"#, Badly(Code::RoomExists)),
    (&[], Ann, r#"{"type":"room.create","id":1,"room":"@x"}"#, Badly(Code::InvalidRoom)),
    (
        &[],
        Ann,
        r#"{"type":"room.create","id":1,"room":"r","config":{"mode":"reliable","history_size":0}}"#,
        Badly(Code::BadRequest),
    ),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"room.update","id":1,"room":"r","config":{"max_members":2}}"#,
        Well(r#"{"role":"owner"}"#),
    ),
    (&[], Ann, r#"{"type":"room.update","id":1,"room":"r","config":{}}"#, Badly(Code::NotFound)),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.update","id":1,"room":"r","config":{}}"#,
        Badly(Code::Forbidden),
    ),
    (&[(Ann, JOIN)], Ann, r#"{"type":"room.delete","id":1,"room":"r"}"#, Well("{}")),
    (&[], Ann, r#"{"type":"room.delete","id":1,"room":"r"}"#, Badly(Code::NotFound)),
    (&[(Ann, JOIN)], Bob, r#"{"type":"room.delete","id":1,"room":"r"}"#, Badly(Code::Forbidden)),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.info","id":1,"room":"r"}"#,
        Well(
            r#"{"room":"r","user_count":1,"member_count":1,"offset":0,"created_at":1700000000000}"#,
        ),
    ),
    (&[], Ann, r#"{"type":"room.info","id":1,"room":"r"}"#, Badly(Code::NotFound)),
    // moderation
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"room.invite","id":1,"room":"r","user":"bob","role":"member","for_ms":9}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.invite","id":1,"room":"r","user":"ann"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.ban","id":1,"room":"r","user":"bob","reason":"x"}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN)],
        Ann,
        r#"{"type":"room.ban","id":1,"room":"r","ip":"10.0.0.1","for_ms":1}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.ban","id":1,"room":"r","user":"ann"}"#,
        Badly(Code::Forbidden),
    ),
    (&[(Ann, JOIN)], Ann, r#"{"type":"room.unban","id":1,"room":"r","user":"bob"}"#, Well("{}")),
    (&[], Ann, r#"{"type":"room.unban","id":1,"room":"r","user":"bob"}"#, Badly(Code::NotFound)),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.mute","id":1,"room":"r","user":"bob","for_ms":9}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.mute","id":1,"room":"r","user":"ann"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.unmute","id":1,"room":"r","user":"bob"}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN)],
        Bob,
        r#"{"type":"room.unmute","id":1,"room":"r","user":"ann"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.kick","id":1,"room":"r","user":"bob"}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Bob,
        r#"{"type":"room.kick","id":1,"room":"r","user":"ann"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.role","id":1,"room":"r","user":"bob","role":"admin"}"#,
        Well("{}"),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Bob,
        r#"{"type":"room.role","id":1,"room":"r","user":"bob","role":"member"}"#,
        Badly(Code::Forbidden),
    ),
    (
        &[(Ann, JOIN), (Bob, JOIN)],
        Ann,
        r#"{"type":"room.members","id":1,"room":"r","limit":1,"after":""}"#,
        Well("{}"),
    ),
    (&[], Ann, r#"{"type":"room.members","id":1,"room":"r"}"#, Badly(Code::NotFound)),
    // patterns
    (
        &[],
        Ann,
        r#"{"type":"subscribe","id":1,"pattern":"a/*","events":["e"],"min_priority":"low"}"#,
        Well(r#"{"pattern":"a/*"}"#),
    ),
    (&[], Ann, r#"{"type":"subscribe","id":1,"pattern":"a/"}"#, Badly(Code::InvalidRoom)),
    (
        &[(Ann, r#"{"type":"subscribe","id":1,"pattern":"**"}"#)],
        Ann,
        r#"{"type":"unsubscribe","id":2,"pattern":"**"}"#,
        Well(r#"{"pattern":"**"}"#),
    ),
    (&[], Ann, r#"{"type":"unsubscribe","id":2,"pattern":"**"}"#, Badly(Code::NotFound)),
    // the rest
    (&[], Ann, r#"{"type":"batch","id":"b","messages":[]}"#, Well("{}")),
    (&[], Ann, r#"{"type":"ping","id":1,"data":[1,2]}"#, Back),
    (&[], Ann, r#"{"type":"response","id":1,"data":1}"#, Silence),
    (&[], Ann, r#"{"type":"cart.add","id":1,"data":1,"room":"r"}"#, Badly(Code::NotFound)),
    (&[], Nobody, r#"{"type":"ping","id":1}"#, Back),
];
