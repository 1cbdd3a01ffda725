//! Reading what Redis answers.

use redis::Value;

use crate::room::attendance::Mark;

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// `LIFE NUMBER`
pub(super) fn mark(text: &str) -> Option<Mark> {
    let (life, number) = text.split_once(' ')?;
    Some(Mark { life: life.into(), number: number.parse().ok()? })
}
