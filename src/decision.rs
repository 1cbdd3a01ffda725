//! What the operator has decided, in names and not in the numbers of one process: the form in which
//! it is kept over a restart, and told to whoever else has to know.
//!
//! Invariant: of two decisions on one [`Topic`] the later counts, and nothing of the earlier is
//! needed any more.

pub mod shared;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Until when holds what does not end: the last second that has a date of four digits, which every reader
/// of numbers keeps exactly.
pub const FOR_GOOD_MS: u64 = 253_402_300_799_000;

/// A decision of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// Credentials are taken back.
    Revoke {
        /// Of which tenant.
        tenant: Box<str>,
        /// Which.
        what: Credentials,
        /// Only those made before, in Unix time; a token's id counts whenever it was made.
        issued_before_ms: u64,
        /// Until when, in Unix time.
        until_ms: u64,
    },
    /// Somebody is shut out.
    Ban {
        /// Who.
        whom: Whom,
        /// Until when, in Unix time.
        until_ms: u64,
    },
    /// Somebody is shut out no more.
    Unban {
        /// Who.
        whom: Whom,
    },
    /// A tenant is suspended, or active again.
    State {
        /// Which.
        tenant: Box<str>,
        /// Whether nobody of it is let in.
        suspended: bool,
    },
}

/// Which credentials are taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// One, by its id.
    Token(Box<str>),
    /// All of a user.
    User(Box<str>),
    /// All of the tenant.
    All,
}

/// Who is shut out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Whom {
    /// A user of a tenant.
    User {
        /// The tenant.
        tenant: Box<str>,
        /// The user.
        user: Box<str>,
    },
    /// An address (of IPv6: its /64), whatever the tenant.
    Address(IpAddr),
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Topic {
    /// Credentials of a tenant.
    Credentials(Box<str>, Credentials),
    /// Somebody who is shut out or not.
    Ban(Whom),
    /// A tenant's state.
    State(Box<str>),
}

impl Topic {
    /// A name that no other has.
    #[must_use]
    pub fn name(&self) -> String {
        serde_json::to_string(self).expect("texts are always JSON")
    }
}

impl Decision {
    /// It as one line of JSON.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }

    /// What it is about.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Revoke { tenant, what, .. } => Topic::Credentials(tenant.clone(), what.clone()),
            Self::Ban { whom, .. } | Self::Unban { whom } => Topic::Ban(whom.clone()),
            Self::State { tenant, .. } => Topic::State(tenant.clone()),
        }
    }

    /// Whether it still says something at `now_unix_ms`.
    #[must_use]
    pub fn stands(&self, now_unix_ms: u64) -> bool {
        match self {
            Self::Revoke { until_ms, .. } | Self::Ban { until_ms, .. } => now_unix_ms < *until_ms,
            Self::Unban { .. } => false,
            Self::State { .. } => true,
        }
    }

    /// This one, coming after `earlier` on the same topic: what was taken back stays taken back, for
    /// the longer of both times.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        match (self, earlier) {
            (
                Self::Revoke { tenant, what, issued_before_ms, until_ms },
                Self::Revoke { issued_before_ms: before, until_ms: until, .. },
            ) => Self::Revoke {
                tenant,
                what,
                issued_before_ms: issued_before_ms.max(*before),
                until_ms: until_ms.max(*until),
            },
            (later, _) => later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoke(issued_before_ms: u64, until_ms: u64) -> Decision {
        let what = Credentials::User("ann".into());
        Decision::Revoke { tenant: "acme".into(), what, issued_before_ms, until_ms }
    }

    #[test]
    fn every_decision_is_a_line_that_says_the_same_again() {
        let user = Whom::User { tenant: "a:b".into(), user: "x\ny".into() };
        let address = Whom::Address("2001:db8::1".parse().expect("an address"));
        for (decision, stands) in [
            (revoke(5, 9), true),
            (Decision::Ban { whom: user.clone(), until_ms: 9 }, true),
            (Decision::Ban { whom: address, until_ms: 3 }, false),
            (Decision::Unban { whom: user }, false),
            (Decision::State { tenant: "acme".into(), suspended: false }, true),
        ] {
            let line = decision.line();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Decision>(&line).expect("the same"), decision);
            assert_eq!(decision.stands(3), stands, "{line}");
        }
        let more = r#"{"unban":{"whom":{"address":"192.0.2.1"},"why":""}}"#;
        assert!(serde_json::from_str::<Decision>(more).is_err(), "nothing is overlooked");
    }

    #[test]
    fn of_two_revocations_the_stricter_times_hold_and_of_others_the_later() {
        assert_eq!(revoke(5, 6).after(&revoke(1, 9)), revoke(5, 9));
        let ban = |until_ms| Decision::Ban {
            whom: Whom::Address("192.0.2.1".parse().expect("an address")),
            until_ms,
        };
        assert_eq!(ban(5).after(&ban(9)), ban(5));
        assert_eq!(ban(5).topic(), ban(9).topic());
    }
}
