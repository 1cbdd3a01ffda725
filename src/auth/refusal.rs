//! Why a credential is refused.
//!
//! Invariant: a refusal says which rule was broken and repeats nothing of the credential, so that
//! it may be logged, counted and sent.

use std::fmt;

macro_rules! refusals {
    ($($(#[doc = $about:literal])+ $Variant:ident = $word:literal, $status:literal;)+) => {
        /// Why a credential is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $( $(#[doc = $about])+ $Variant, )+ }

        impl Refusal {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Variant),+];

            /// One word, for logs and metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }

            /// The status that a handshake is refused with: 401, 403 or 503.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $( Self::$Variant => $status, )+ }
            }
        }
    };
}

refusals! {
    /// Nothing is configured that could check such a credential.
    Unsupported = "unsupported", 401;
    /// It is longer than any that is accepted.
    TooLong = "too_long", 401;
    /// It is not written as its kind is.
    Malformed = "malformed", 401;
    /// Its header asks for what is not done: `crit`, `b64`, an embedded or linked key, another type.
    Header = "header", 401;
    /// Its algorithm is none that is accepted, or not its key's.
    Algorithm = "algorithm", 401;
    /// No key is known by its name.
    UnknownKey = "unknown_key", 401;
    /// The signature is not its key's.
    Signature = "signature", 401;
    /// A claim is missing or of the wrong kind.
    Claims = "claims", 401;
    /// Its time is over.
    Expired = "expired", 401;
    /// Its time has not come, or it says that it was made in the future.
    NotYet = "not_yet", 401;
    /// It was made by someone who is not trusted.
    Issuer = "issuer", 401;
    /// It was made for someone else.
    Audience = "audience", 401;
    /// It was taken back.
    Revoked = "revoked", 401;
    /// There is no such tenant.
    UnknownTenant = "unknown_tenant", 401;
    /// It belongs to another tenant than was asked for.
    TenantMismatch = "tenant_mismatch", 403;
    /// It belongs to another user or room than it is shown for.
    NotForThis = "not_for_this", 403;
    /// It is not the room's password.
    Password = "password", 403;
    /// Whoever knows it said no.
    Denied = "denied", 401;
    /// Whoever knows it did not answer, or not in time.
    Unavailable = "unavailable", 503;
    /// Too many wait for an answer already.
    Busy = "busy", 503;
}

impl Refusal {
    /// Whether the same credential may be accepted a little later, so that neither the peer nor
    /// its address is to blame.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        self.status() == 503
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for Refusal {}
