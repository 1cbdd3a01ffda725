//! Sessions in cookies, signed by the backend: `v1.KEY.PAYLOAD.SIGNATURE`, the last two in base64url.
//!
//! The payload is a JSON object of claims with `exp`. The signature is HMAC-SHA256 over the name of
//! the cookie, the tenant, the key's id and the payload, each with its length before it, so that a
//! session is good under one name, for one tenant, with one key.
//!
//! Invariants: it is compared in constant time; a session without an end is none.

use std::fmt;

use ring::hmac;

use super::base64url;
use super::key::{KeyError, VerifyingKey};
use super::refusal::Refusal;

/// The longest cookie value.
pub const COOKIE_BYTES: usize = 4_096;
/// What every value begins with.
const VERSION: &str = "v1";
/// What the signature begins with, so that it is one of nothing else that the key may sign.
const CONTEXT: &[u8] = b"ringroom cookie v1";

/// A key that sessions are signed with.
pub struct CookieKey {
    id: Box<str>,
    key: hmac::Key,
}

impl fmt::Debug for CookieKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether it can name a key in a cookie: 1 to 64 letters, digits, `-` and `_`.
#[must_use]
pub fn is_key_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

impl CookieKey {
    /// The key `id`.
    ///
    /// # Errors
    /// If the secret has less than 32 bytes, or `id` cannot name a key.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self, KeyError> {
        if !is_key_id(id) {
            return Err(KeyError::Unsupported);
        }
        if secret.len() < VerifyingKey::SECRET_BYTES {
            return Err(KeyError::SecretTooShort);
        }
        Ok(Self { id: id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of the cookie `name` that says `claims` of someone of `tenant`.
    #[must_use]
    pub fn sign(&self, name: &str, tenant: &str, claims: &str) -> String {
        let payload = base64url::encode(claims.as_bytes());
        let mut context = hmac::Context::with_key(&self.key);
        for part in self.parts(name, tenant, payload.as_bytes()) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let signature = base64url::encode(context.sign().as_ref());
        format!("{VERSION}.{}.{payload}.{signature}", self.id)
    }

    /// Whether the signature is this key's, on this cookie.
    pub(super) fn verifies(&self, name: &str, tenant: &str, session: &Session<'_>) -> bool {
        let mut signed =
            Vec::with_capacity(session.encoded.len() + name.len() + tenant.len() + 128);
        for part in self.parts(name, tenant, session.encoded.as_bytes()) {
            signed.extend_from_slice(&(part.len() as u64).to_be_bytes());
            signed.extend_from_slice(part);
        }
        hmac::verify(&self.key, &signed, &session.signature).is_ok()
    }

    fn parts<'a>(&'a self, name: &'a str, tenant: &'a str, payload: &'a [u8]) -> [&'a [u8]; 5] {
        [CONTEXT, name.as_bytes(), tenant.as_bytes(), self.id.as_bytes(), payload]
    }
}

/// A session whose parts have been read, and whose signature has not been checked.
pub(super) struct Session<'a> {
    /// The id of its key, as it says.
    pub(super) key_id: &'a str,
    encoded: &'a str,
    /// What it says; not to be believed before the signature is checked.
    pub(super) payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Session<'a> {
    /// Takes the value of a cookie apart.
    pub(super) fn parse(value: &'a str) -> Result<Self, Refusal> {
        if value.len() > COOKIE_BYTES {
            return Err(Refusal::TooLong);
        }
        let mut parts = value.split('.');
        let mut next = || parts.next().ok_or(Refusal::Malformed);
        let (version, key_id, encoded, signature) = (next()?, next()?, next()?, next()?);
        if version != VERSION || !is_key_id(key_id) || parts.next().is_some() {
            return Err(Refusal::Malformed);
        }
        let decode = |part| base64url::decode(part).ok_or(Refusal::Malformed);
        Ok(Self { key_id, encoded, payload: decode(encoded)?, signature: decode(signature)? })
    }
}
