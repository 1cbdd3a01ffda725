//! API keys: `rr_PREFIX_SECRET`.
//!
//! The prefix is public: it names the key in the configuration and where it is taken back. Of the
//! secret, 256 random bits, only the SHA-256 is kept. A secret that long cannot be guessed, so a slow
//! hash would add nothing but load.
//!
//! Invariants: a key is found by the whole of it, never by its prefix, so that neither an answer nor the
//! time that it takes tells whether a prefix is known; hashes are compared in constant time. Only
//! whoever has a secret learns anything of its key, that it has expired for instance.

mod known;

use std::fmt;
use std::sync::Arc;

use ring::digest;
use zeroize::Zeroizing;

use super::base64url;
use super::quota::Quota;
use super::refusal::Refusal;
use super::rights::Rights;
use crate::id::TenantId;

pub(super) use known::KnownKeys;

/// What every key begins with.
pub const BEGINNING: &str = "rr_";
/// Random bytes of a prefix.
pub const PREFIX_BYTES: usize = 9;
/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// What a stored hash begins with.
const HASH_NAME: &str = "sha256:";
/// Letters of a prefix, and of a secret.
const PREFIX_LETTERS: usize = PREFIX_BYTES / 3 * 4;
const SECRET_LETTERS: usize = (SECRET_BYTES * 4).div_ceil(3);

/// The hash of a key's secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Reads `sha256:…`, 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HASH_NAME)?;
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let value = digit(digits[0])? << 4 | digit(digits[1])?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(hash))
    }

    /// The hash of a secret.
    pub(super) fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_NAME)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(hidden)")
    }
}

/// A key that is known.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What names it.
    pub prefix: Box<str>,
    /// The hash of its secret.
    pub hash: SecretHash,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: Arc<str>,
    /// Whom it stands for; none: a program without a name.
    pub user: Option<Arc<str>>,
    /// What it may.
    pub rights: Arc<Rights>,
    /// When it ends, in Unix time.
    pub expires_at_ms: Option<u64>,
    /// What all its connections may take together.
    pub quota: Arc<Quota>,
}

/// A new key: what is given away once, and what is kept.
pub struct NewKey {
    /// The whole key.
    pub key: Zeroizing<String>,
    /// What names it.
    pub prefix: String,
    /// The hash of its secret.
    pub hash: SecretHash,
}

impl NewKey {
    /// The key that these random bytes make.
    #[must_use]
    pub fn of(prefix: &[u8; PREFIX_BYTES], secret: &[u8; SECRET_BYTES]) -> Self {
        // An underscore divides the parts, so none may stand in the prefix.
        let prefix = base64url::encode(prefix).replace(['_', '-'], "x");
        let secret = Zeroizing::new(base64url::encode(secret));
        let key = Zeroizing::new([BEGINNING, &prefix, "_", &secret].concat());
        Self { key, prefix, hash: SecretHash::of(&secret) }
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Whether it can be the prefix of a key.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    // All of them are looked at, whatever they are.
    let letters =
        text.bytes().fold(0, |count, byte| count + usize::from(byte.is_ascii_alphanumeric()));
    text.len() == PREFIX_LETTERS && letters == PREFIX_LETTERS
}

/// The prefix and the secret of a key.
pub(super) fn parse(text: &str) -> Result<(&str, &str), Refusal> {
    let rest = text.strip_prefix(BEGINNING).ok_or(Refusal::Malformed)?;
    let (prefix, rest) = rest.split_at_checked(PREFIX_LETTERS).ok_or(Refusal::Malformed)?;
    let secret = rest.strip_prefix('_').ok_or(Refusal::Malformed)?;
    if !is_prefix(prefix) || secret.len() != SECRET_LETTERS {
        return Err(Refusal::Malformed);
    }
    Ok((prefix, secret))
}
