//! What a checked credential says of its holder: the members of a token, of a session cookie, of an
//! introspection's answer and of a hook's answer alike.
//!
//! Invariant: a member that is there has the right kind, or the whole is refused: nobody gets
//! more, or other, than was meant because something was misspelled.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::refusal::Refusal;
use super::rights::{Permission, RightsBuilder};
use crate::protocol::Scalar;
use crate::protocol::json::{self, Object};
use crate::room::name::{RoomName, USER_BYTES, has_control};
use crate::room::pattern::Pattern;

/// The last second that has a date of four digits: what is later is a mistake.
const LAST_SECOND: u64 = 253_402_300_799;
/// The longest id of a credential, and the longest name of an issuer.
pub const ID_BYTES: usize = 512;
/// Roles of a credential.
const ROLES_MAX: usize = 64;
/// Members of its metadata.
const METADATA_MAX: usize = 64;
/// Rooms that are joined with it.
const JOIN_MAX: usize = 128;

/// What the members are called that have no fixed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Whose id is the user.
    pub user: Box<str>,
    /// Whose name is the tenant.
    pub tenant: Box<str>,
}

impl Default for Naming {
    fn default() -> Self {
        Self { user: "sub".into(), tenant: "tenant".into() }
    }
}

/// What a credential says of its holder.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    pub(super) user: Option<Arc<str>>,
    pub(super) info: Option<Arc<str>>,
    pub(super) metadata: Metadata,
    pub(super) roles: Box<[Box<str>]>,
    /// None: it does not say, so the defaults hold.
    pub(super) grants: Option<RightsBuilder>,
    pub(super) join: Box<[RoomName]>,
    pub(super) times: Times,
    pub(super) token_id: Option<Arc<str>>,
}

/// When a credential was made, begins and ends, in Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) issued_at_ms: Option<u64>,
    pub(super) not_before_ms: Option<u64>,
    pub(super) expires_at_ms: Option<u64>,
}

impl Times {
    /// Whether its time is now.
    pub(super) fn check(self, now_unix_ms: u64, leeway_ms: u64) -> Result<(), Refusal> {
        let over = |end_ms: u64| end_ms.saturating_add(leeway_ms) <= now_unix_ms;
        let ahead = |start_ms: u64| start_ms > now_unix_ms.saturating_add(leeway_ms);
        if self.expires_at_ms.is_some_and(over) {
            Err(Refusal::Expired)
        } else if self.not_before_ms.is_some_and(ahead) || self.issued_at_ms.is_some_and(ahead) {
            Err(Refusal::NotYet)
        } else {
            Ok(())
        }
    }
}

/// The value of a member, if it is there and not null.
pub(super) fn member<'a, T: Deserialize<'a>>(
    object: &Object<'a>,
    name: &str,
) -> Result<Option<T>, Refusal> {
    match object.get(name) {
        None | Some("null") => Ok(None),
        Some(text) => serde_json::from_str(text).map(Some).map_err(|_| Refusal::Claims),
    }
}

/// A text of 1 to `most` bytes without control characters.
pub(super) fn text(
    object: &Object<'_>,
    name: &str,
    most: usize,
) -> Result<Option<Arc<str>>, Refusal> {
    let Some(value) = object.get(name).filter(|value| *value != "null") else { return Ok(None) };
    let text = json::said(value).ok_or(Refusal::Claims)?;
    let is_sound = (1..=most).contains(&text.len()) && !has_control(&text);
    if is_sound { Ok(Some(Arc::from(&*text))) } else { Err(Refusal::Claims) }
}

/// Who made it.
pub(super) fn issuer(object: &Object<'_>) -> Result<Option<Arc<str>>, Refusal> {
    text(object, "iss", ID_BYTES)
}

/// A point in time, in whole seconds of Unix time, as milliseconds.
fn seconds(object: &Object<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    // Not null either: an end that is null is no end.
    let Some(text) = object.get(name) else { return Ok(None) };
    let seconds = whole_number(text).filter(|seconds| *seconds <= LAST_SECOND);
    Ok(Some(seconds.ok_or(Refusal::Claims)? * 1_000))
}

/// A number that is written with digits alone.
fn whole_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A list of texts, if it is there and not null.
pub(super) fn texts<'a>(
    object: &Object<'a>,
    name: &str,
) -> Result<Option<Vec<Cow<'a, str>>>, Refusal> {
    match object.get(name) {
        None | Some("null") => Ok(None),
        Some(list) => json::texts(list).map(Some).ok_or(Refusal::Claims),
    }
}

impl Claims {
    pub(super) fn read(object: &Object<'_>, naming: &Naming) -> Result<Self, Refusal> {
        Ok(Self {
            user: user(object, &naming.user)?,
            info: object.get("info").filter(|info| *info != "null").map(Arc::from),
            metadata: metadata(object)?,
            roles: roles(object)?,
            grants: grants(object)?,
            join: join(object)?,
            times: Times {
                issued_at_ms: seconds(object, "iat")?,
                not_before_ms: seconds(object, "nbf")?,
                expires_at_ms: seconds(object, "exp")?,
            },
            token_id: text(object, "jti", ID_BYTES)?,
        })
    }
}

/// The user: a text, or a whole number as its digits.
fn user(object: &Object<'_>, name: &str) -> Result<Option<Arc<str>>, Refusal> {
    match object.get(name).and_then(whole_number) {
        Some(number) => Ok(Some(number.to_string().into())),
        None => text(object, name, USER_BYTES),
    }
}

type Metadata = Box<[(Box<str>, Scalar)]>;

fn metadata(object: &Object<'_>) -> Result<Metadata, Refusal> {
    let Some(text) = object.get("metadata").filter(|text| *text != "null") else {
        return Ok(Box::default());
    };
    let members = Object::parse(text.as_bytes()).ok_or(Refusal::Claims)?;
    let values = members.iter().map(|(name, value)| Ok((name.into(), scalar(value)?)));
    let values = values.collect::<Result<Metadata, Refusal>>()?;
    if values.len() > METADATA_MAX { Err(Refusal::Claims) } else { Ok(values) }
}

fn scalar(text: &str) -> Result<Scalar, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Bool(bool),
        Integer(i64),
        Text(Box<str>),
    }
    match serde_json::from_str(text) {
        Ok(Value::Bool(value)) => Ok(Scalar::Bool(value)),
        Ok(Value::Integer(value)) => Ok(Scalar::Integer(value)),
        Ok(Value::Text(value)) => Ok(Scalar::Text(value)),
        Err(_) => Err(Refusal::Claims),
    }
}

fn roles(object: &Object<'_>) -> Result<Box<[Box<str>]>, Refusal> {
    let roles = texts(object, "roles")?.unwrap_or_default();
    if roles.len() > ROLES_MAX {
        return Err(Refusal::Claims);
    }
    Ok(roles.into_iter().map(Box::from).collect())
}

fn join(object: &Object<'_>) -> Result<Box<[RoomName]>, Refusal> {
    let rooms = texts(object, "join")?.unwrap_or_default();
    if rooms.len() > JOIN_MAX {
        return Err(Refusal::Claims);
    }
    rooms.iter().map(|room| RoomName::parse(room).map_err(|_| Refusal::Claims)).collect()
}

/// `permissions`: a list for everything. `rooms`: by pattern, or a list of patterns that may be
/// joined, read and published in.
fn grants(object: &Object<'_>) -> Result<Option<RightsBuilder>, Refusal> {
    let said = |name| object.get(name).filter(|text| *text != "null");
    let (everywhere, rooms) = (said("permissions"), said("rooms"));
    if everywhere.is_none() && rooms.is_none() {
        return Ok(None);
    }
    let mut rights = RightsBuilder::default();
    if let Some(words) = everywhere {
        permissions(words, |permission| _ = rights.state(permission))?;
    }
    match rooms {
        Some(text) if text.starts_with('{') => {
            let members = Object::parse(text.as_bytes()).ok_or(Refusal::Claims)?;
            for (name, value) in members.iter() {
                let grant = rights.grant_on(Pattern::parse(name).map_err(|_| Refusal::Claims)?);
                permissions(value, |permission| grant.add(permission))?;
            }
        }
        Some(text) => {
            let names = json::each_text(text, |name| {
                let grant = rights.grant_on(Pattern::parse(&name).ok()?);
                Permission::in_a_room().iter().for_each(|permission| grant.add(permission));
                Some(())
            });
            names.ok_or(Refusal::Claims)?;
        }
        None => {}
    }
    Ok(Some(rights))
}

/// Reads a list of permissions.
fn permissions(list: &str, mut read: impl FnMut(&Permission)) -> Result<(), Refusal> {
    let words = json::each_text(list, |word| Permission::parse(&word).ok().map(|it| read(&it)));
    words.ok_or(Refusal::Claims)
}
