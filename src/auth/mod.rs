//! Who someone is, and what they may: from a credential to an identity with its rights.
//!
//! A [`Policy`] is made once from the settings and shared by all cores; a [`Gate`] is one core's
//! side of it, with what that core remembers. [`Gate::judge`] answers at once, or with a
//! [`Question`] for the control plane; its [`Answer`] is learned, and the credential judged again.
//!
//! Invariants: nothing here waits, reads a clock or draws a number; no error, figure or formatting
//! repeats anything of a credential; everything that remembers is bounded; a key is made for one
//! algorithm, and what a token says of its own is compared and never followed.

mod accepted;
mod algorithm;
pub mod api_key;
pub mod ban;
mod base64url;
mod claims;
pub mod cookie;
mod custom;
mod gate;
#[doc = include_str!("GUIDE.md")]
pub mod guide {}
pub mod key;
mod policy;
mod question;
mod quota;
mod refusal;
pub mod revocation;
mod right;
mod rights;
mod room_token;
mod settings;
mod signer;
#[cfg(test)]
mod tests;
mod token;
mod zeroed;

pub use crate::config::Algorithm;
pub use accepted::{Accepted, Strategy};
pub use claims::{ID_BYTES, Naming};
pub use custom::{Custom, Proof};
pub use gate::{Gate, Limits, RoomVerdict, Verdict};
pub use policy::{DEFAULT_TENANT, KeySource, Policy, Setup, TenantSetup, Trust, TrustedKey};
pub use question::{Answer, Fingerprint, Question, SourceId, Whom};
pub use quota::Quota;
pub use refusal::Refusal;
pub use revocation::{Revocation, Revoked};
pub use right::{Open, Permit, Right, RightSet};
pub use rights::{NoPermission, Permission, Rights, RightsBuilder, TooManyGrants};
pub use room_token::RoomGrant;
pub use settings::{SettingsCause, SettingsProblem, SettingsProblems, Sources};
pub use signer::{NoRandomness, SigningKey};
pub use token::TOKEN_BYTES;
pub use zeroed::Zeroed;
