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
mod custom;
mod gate;
mod policy;
mod question;
mod refusal;
pub mod revocation;
mod right;
mod rights;
mod zeroed;

pub use accepted::{Accepted, Strategy};
pub use custom::{Custom, Proof};
pub use gate::{Gate, Limits, Verdict};
pub use policy::{Policy, Setup, TenantSetup};
pub use question::{Answer, Fingerprint, Question, SourceId, Whom};
pub use refusal::Refusal;
pub use revocation::{Revocation, Revoked};
pub use right::{Open, Permit, Right, RightSet};
pub use rights::{NoPermission, Permission, Rights, RightsBuilder, TooManyGrants};
pub use zeroed::Zeroed;
