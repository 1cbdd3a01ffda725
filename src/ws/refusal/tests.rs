#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;

/// The error codes of the protocol.
const CODES: [&str; 18] = [
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
    "internal",
];

/// Lists them, and is no list that compiles if one is missing.
macro_rules! all {
    ($($variant:ident $({ $($fields:tt)* })?,)*) => {
        const ALL: &[Refusal] = &[$(Refusal::$variant $({ $($fields)* })?,)*];

        #[expect(unreachable_patterns, reason = "some stand there with several values")]
        const _: fn(Refusal) = |refusal| match refusal {
            $(Refusal::$variant { .. } => {})*
        };
    };
}

all! {
    RequestLine,
    HeaderLine,
    HttpVersion,
    TargetTooLong,
    HeadTooLarge,
    TooManyHeaders,
    Deadline,
    RepeatedHeader,
    HeaderNotText,
    Body,
    TargetForm,
    PercentEncoding,
    NotFound,
    Method,
    OldHttp,
    Host,
    Plain,
    NotAnUpgrade,
    Connection,
    WebSocketVersion,
    Key,
    Origin,
    OriginMissing,
    SubprotocolSyntax,
    Subprotocol,
    RepeatedParameter,
    Tenant,
    TwoCredentials,
    Unauthorized,
    Forbidden,
    Credential { word: "expired", status: 401 },
    Credential { word: "tenant_mismatch", status: 403 },
    Credential { word: "unavailable", status: 503 },
    Suspended,
    ShutOut,
    TenantLimit { retry_after_ms: 1_500 },
    CredentialLimit { retry_after_ms: 1_500 },
    Banned { retry_after_ms: 1_500 },
    AddressLimit { retry_after_ms: 1_500 },
    Unavailable { retry_after_ms: 30_000 },
}

/// The value of the one header of that name.
fn header<'a>(response: &'a httparse::Response<'_, 'a>, name: &str) -> Option<&'a str> {
    let mut found = response.headers.iter().filter(|header| header.name == name);
    let value = found.next().map(|header| std::str::from_utf8(header.value).unwrap());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[test]
fn every_refusal_is_one_complete_http_response_with_a_json_body() {
    for &refusal in ALL {
        let bytes = refusal.response();
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let length = response.parse(&bytes).unwrap().unwrap();
        let body = &bytes[length..];

        assert_eq!(response.code, Some(refusal.status()));
        let named = response.reason.unwrap() != "Bad Request";
        assert_eq!(named, refusal.status() != 400, "{refusal:?} has no name for its status");
        assert_eq!(header(&response, "Content-Length"), Some(body.len().to_string().as_str()));
        assert!(header(&response, "Connection").unwrap().ends_with("close"));
        assert_eq!(header(&response, "Content-Type"), Some("application/json"));

        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["error"]["code"], refusal.code());
        assert_eq!(body["error"]["message"], refusal.message());
        assert!(CODES.contains(&refusal.code()), "{refusal:?}");
    }
}

#[test]
fn a_refusal_says_what_the_status_demands() {
    let response = |refusal: Refusal| String::from_utf8(refusal.response()).unwrap();
    let version = response(Refusal::WebSocketVersion);
    assert!(version.starts_with("HTTP/1.1 426 "));
    assert!(version.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(version.contains("\r\nConnection: Upgrade, close\r\n"));
    assert!(response(Refusal::NotAnUpgrade).contains("\r\nUpgrade: websocket\r\n"));
    assert!(response(Refusal::Method).contains("\r\nAllow: GET\r\n"));
    assert!(response(Refusal::Unauthorized).contains("\r\nWWW-Authenticate: Bearer\r\n"));
    for name in [JSON_SUBPROTOCOL, MESSAGE_PACK_SUBPROTOCOL] {
        assert!(Refusal::Subprotocol.message().contains(name));
    }
}

#[test]
fn waiting_time_is_told_in_milliseconds_and_in_whole_seconds_rounded_up() {
    let response = Refusal::AddressLimit { retry_after_ms: 1_500 }.response();
    let response = String::from_utf8(response).unwrap();
    assert!(response.contains("\r\nRetry-After: 2\r\n"));
    assert!(response.ends_with(r#","retry_after_ms":1500}}"#));
}
