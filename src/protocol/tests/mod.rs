//! Every message of PROTOCOL §2, in its good form and its bad ones, in both codecs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod bad;
mod batch;
mod opaque;
mod rooms;
mod talk;

use serde_json::Value;

use crate::ws::MessageKind;

use super::*;

const LIMITS: ParseLimits = ParseLimits { depth: 32, batch_messages: 4 };

/// The message in MessagePack, made by code that is not ours.
fn packed(json: &str) -> Vec<u8> {
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    rmp_serde::to_vec_named(&value).unwrap()
}

/// Reads one message.
fn read(kind: MessageKind, payload: &[u8]) -> Result<Envelope<'_>, Bad> {
    let mut messages = parse(kind, payload, &LIMITS);
    let first = messages.next().expect("one message gives one answer");
    assert!(messages.next().is_none(), "one message gives one answer");
    first
}

/// Reads a good message in both codecs.
fn good(json: &str, check: impl Fn(Envelope<'_>)) {
    let binary = packed(json);
    for (kind, payload) in [(MessageKind::Text, json.as_bytes()), (MessageKind::Binary, &binary)] {
        match read(kind, payload) {
            Ok(envelope) => check(envelope),
            Err(bad) => panic!("{kind:?} {json}: {bad:?}"),
        }
    }
}

/// Reads a bad message in both codecs: its id, its code, its message.
fn refused(json: &str, id: Option<u64>, code: ErrorCode, message: &str) {
    let binary = packed(json);
    for (kind, payload) in [(MessageKind::Text, json.as_bytes()), (MessageKind::Binary, &binary)] {
        match read(kind, payload) {
            Ok(envelope) => panic!("{kind:?} {json}: {envelope:?}"),
            Err(bad) => {
                let id = id.map(RequestId::Number);
                assert_eq!((bad.id, bad.code, &*bad.message), (id, code, message), "{json}");
            }
        }
    }
}

/// What opaque data says.
fn value(data: Data<'_>) -> Value {
    serde_json::from_slice(&data.to_codec(Codec::Json)).unwrap()
}
