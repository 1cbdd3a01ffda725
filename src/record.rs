//! What the audit trail says of one deed: who did what to whom, when, and why.
//!
//! Invariants: no text in it is longer than [`TEXT_BYTES`], whoever wrote it; nothing in it is a
//! credential.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest text of a record; what is longer is cut.
pub const TEXT_BYTES: usize = 256;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Whoever has the operator's token.
    Operator,
    /// The server by itself.
    Server,
    /// A user of the tenant; none: an anonymous one.
    User(Option<Box<str>>),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deed {
    /// A user was let into a room ahead of time.
    #[serde(rename = "room.invite")]
    Invite,
    /// A user or an address was shut out of a room.
    #[serde(rename = "room.ban")]
    Ban,
    /// That was taken back.
    #[serde(rename = "room.unban")]
    Unban,
    /// A user may not publish in a room.
    #[serde(rename = "room.mute")]
    Mute,
    /// That was taken back.
    #[serde(rename = "room.unmute")]
    Unmute,
    /// A user was sent out of a room.
    #[serde(rename = "room.kick")]
    Kick,
    /// A user has another role in a room.
    #[serde(rename = "room.role")]
    Role,
    /// A room was made, by a command of its own.
    #[serde(rename = "room.create")]
    Create,
    /// A room is configured otherwise.
    #[serde(rename = "room.update")]
    Update,
    /// A room was ended.
    #[serde(rename = "room.delete")]
    Delete,
    /// A token, a user or a tenant is believed no more.
    #[serde(rename = "revoke")]
    Revoke,
    /// The operator has shut out a user or an address.
    #[serde(rename = "ban")]
    ShutOut,
    /// That was taken back.
    #[serde(rename = "unban")]
    LetIn,
    /// A tenant was suspended.
    #[serde(rename = "tenant.suspend")]
    Suspend,
    /// A tenant may connect again.
    #[serde(rename = "tenant.activate")]
    Activate,
    /// Credentials were refused.
    #[serde(rename = "credential.refuse")]
    Refuse,
    /// An address that showed many bad credentials was shut out for a time.
    #[serde(rename = "address.ban")]
    Shut,
}

/// To whom it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A user of the tenant.
    User(Box<str>),
    /// A token, by its `jti`.
    Token(Box<str>),
    /// The whole tenant.
    Tenant,
    /// A network address.
    Address(IpAddr),
}

/// One deed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When, in Unix time.
    #[serde(rename = "at")]
    pub at_ms: u64,
    /// In whose world; none: in nobody's, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Box<str>>,
    /// By whom.
    pub by: Actor,
    /// What.
    #[serde(rename = "action")]
    pub deed: Deed,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// In which room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Box<str>>,
    /// For how long, in Unix time.
    #[serde(rename = "until", skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Why, in the words of whoever did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// How often, where several are told in one.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

impl Record {
    /// A deed without more to say of it.
    #[must_use]
    pub fn new(at_ms: u64, by: Actor, deed: Deed) -> Self {
        Self {
            at_ms,
            tenant: None,
            by,
            deed,
            subject: None,
            room: None,
            until_ms: None,
            reason: None,
            count: 1,
        }
    }

    /// What it holds in memory, at most.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.room.as_deref().map_or(0, str::len) + TEXT_BYTES
    }
}

/// The first [`TEXT_BYTES`] of a text, as far as they are whole characters.
#[must_use]
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_is_known_and_no_more() {
        let mut record = Record::new(7, Actor::Operator, Deed::Suspend);
        record.tenant = Some("acme".into());
        record.subject = Some(Subject::Tenant);
        let json = serde_json::to_string(&record).expect("a record is JSON");
        assert_eq!(
            json,
            r#"{"at":7,"tenant":"acme","by":"operator","action":"tenant.suspend","subject":"tenant"}"#
        );
        let mut record = Record::new(8, Actor::User(Some("ann".into())), Deed::Mute);
        record.subject = Some(Subject::User("bob".into()));
        record.count = 2;
        let json = serde_json::to_string(&record).expect("a record is JSON");
        assert_eq!(
            json,
            r#"{"at":8,"by":{"user":"ann"},"action":"room.mute","subject":{"user":"bob"},"count":2}"#
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ä".repeat(TEXT_BYTES);
        assert_eq!(cut(&long).len(), TEXT_BYTES);
        assert_eq!(cut(&format!("x{long}")).len(), TEXT_BYTES - 1);
        assert_eq!(cut("short"), "short");
    }
}
