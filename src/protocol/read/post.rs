//! Messages that are delivered: `publish`, `send`, `broadcast`.

use crate::protocol::command::{Post, Publish, Recipient, Send};
use crate::protocol::fault::Fault;
use crate::protocol::fields::Fields;
use crate::protocol::name::Name;
use crate::protocol::{Data, Filter, Priority, Scalar};

use super::{ANY_BYTES, EVENT_BYTES, LIST_MAX, USER_BYTES};

/// How long a publish's key may be.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 0..=64;

/// Keys of the credential that a filter may name: few, because each receiver is asked for each.
const METADATA_MAX: usize = 16;

pub(super) fn publish<'a>(fields: &Fields<'a>, content: Name) -> Result<Publish<'a>, Fault> {
    Ok(Publish { room: fields.text(Name::Room)?, post: post(fields, content)? })
}

pub(super) fn post<'a>(fields: &Fields<'a>, content: Name) -> Result<Post<'a>, Fault> {
    let receipt = fields.word(Name::Receipt, |word| (word == "delivered").then_some(()))?;
    Ok(Post {
        data: fields.data(content)?,
        event: fields.optional_text(Name::Event, EVENT_BYTES)?,
        exclude_self: fields.flag(Name::ExcludeSelf)?,
        transient: fields.flag(Name::Transient)?,
        key: fields.optional_text(Name::Key, KEY_BYTES)?,
        priority: priority(fields)?,
        ttl_ms: fields.number(Name::TtlMs)?,
        filter: fields.map(Name::Filter)?.map(|given| filter(&given).map(Box::new)).transpose()?,
        receipt: receipt.is_some(),
    })
}

pub(super) fn send<'a>(fields: &Fields<'a>) -> Result<Send<'a>, Fault> {
    Ok(Send {
        to: recipient(&fields.map(Name::To)?.ok_or(Fault::Missing(Name::To))?)?,
        data: fields.data(Name::Data)?,
        event: fields.optional_text(Name::Event, EVENT_BYTES)?,
        transient: fields.flag(Name::Transient)?,
        priority: priority(fields)?,
        ttl_ms: fields.number(Name::TtlMs)?,
    })
}

fn priority(fields: &Fields<'_>) -> Result<Priority, Fault> {
    Ok(fields.word(Name::Priority, Priority::parse)?.unwrap_or_default())
}

fn recipient<'a>(to: &Fields<'a>) -> Result<Recipient<'a>, Fault> {
    let user = to.optional_text(Name::User, USER_BYTES)?;
    let users = to.texts(Name::Users, LIST_MAX, USER_BYTES)?;
    let connection = to.optional_text(Name::Connection, ANY_BYTES)?;
    match (user, users, connection) {
        (Some(user), None, None) => Ok(Recipient::User(user)),
        (None, Some(users), None) => Ok(Recipient::Users(users)),
        (None, None, Some(connection)) => Ok(Recipient::Connection(connection)),
        (None, None, None) => Err(Fault::Missing(Name::User)),
        (_, _, None) => Err(Fault::NotOneOf(Name::User, Name::Users)),
        _ => Err(Fault::NotOneOf(Name::User, Name::Connection)),
    }
}

fn filter(given: &Fields<'_>) -> Result<Filter, Fault> {
    let users = |name| -> Result<Option<Box<[Box<str>]>>, Fault> {
        let texts = given.texts(name, LIST_MAX, USER_BYTES)?;
        Ok(texts.map(|texts| texts.iter().map(|text| text.as_ref().into()).collect()))
    };
    Ok(Filter {
        users: users(Name::Users)?,
        exclude_users: users(Name::ExcludeUsers)?.unwrap_or_default(),
        metadata: given.get(Name::Metadata).map_or(Ok(Vec::new()), metadata)?.into(),
        min_connection_age_ms: given.number(Name::MinConnectionAgeMs)?,
        max_connections: given.number(Name::MaxConnections)?,
    })
}

/// What the credential must say: each key once.
fn metadata(value: Data<'_>) -> Result<Vec<(Box<str>, Scalar)>, Fault> {
    let wrong = Fault::WrongKind(Name::Metadata);
    let mut entries = value.entries().ok_or(wrong)?;
    let mut pairs = Vec::<(Box<str>, Scalar)>::new();
    while let Some(key) = entries.next_key()? {
        let value = entries.value(0).map_err(|_| wrong)?;
        if pairs.len() == METADATA_MAX {
            return Err(Fault::TooMany(Name::Metadata));
        }
        let key = str::from_utf8(&key).map_err(|_| Fault::Malformed)?;
        if pairs.iter().any(|(known, _)| &**known == key) {
            return Err(Fault::Twice(Name::Metadata));
        }
        pairs.push((key.into(), scalar(value).ok_or(wrong)?));
    }
    Ok(pairs)
}

fn scalar(value: Data<'_>) -> Option<Scalar> {
    let boolean = value.boolean().map(Scalar::Bool);
    boolean
        .or_else(|| value.signed().map(Scalar::Integer))
        .or_else(|| value.text().map(|text| Scalar::Text(text.as_ref().into())))
}
