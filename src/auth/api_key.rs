//! API keys: `rr_PREFIX_SECRET`.
//!
//! The prefix is public and finds the key; of the secret, 256 random bits, only the SHA-256 is kept.
//! A secret that long cannot be guessed, so a slow hash would add nothing but load.
//!
//! Invariants: hashes are compared in constant time; an unknown prefix costs a hash and a comparison as
//! a wrong secret does, and is answered alike. Looking it up is not of constant time: some nanoseconds
//! may tell that a prefix, which is public, is known.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use zeroize::Zeroizing;

use super::base64url;
use super::refusal::Refusal;
use super::rights::Rights;
use crate::id::TenantId;

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

    fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    fn is_of(&self, secret: &str) -> bool {
        let hash = Self::of(secret);
        let pairs = self.0.iter().zip(hash.0);
        let differences = pairs.fold(0, |differences, (a, b)| differences | (a ^ b));
        std::hint::black_box(differences) == 0
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
    /// What finds it.
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
}

/// A new key: what is given away once, and what is kept.
pub struct NewKey {
    /// The whole key.
    pub key: Zeroizing<String>,
    /// What finds it.
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
    text.len() == PREFIX_LETTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The prefix and the secret of a key.
pub(super) fn parse(text: &str) -> Result<(&str, &str), Refusal> {
    let rest = text.strip_prefix(BEGINNING).ok_or(Refusal::Malformed)?;
    let (prefix, secret) = rest.split_once('_').ok_or(Refusal::Malformed)?;
    if !is_prefix(prefix) || secret.len() != SECRET_LETTERS {
        return Err(Refusal::Malformed);
    }
    Ok((prefix, secret))
}

/// Checks a secret against the key that its prefix found, if it found one.
pub(super) fn check(known: Option<&ApiKey>, secret: &str) -> Result<(), Refusal> {
    let nobody = SecretHash([0; 32]);
    let matches = known.map_or(&nobody, |key| &key.hash).is_of(secret);
    match known {
        Some(_) if matches => Ok(()),
        _ => Err(Refusal::UnknownKey),
    }
}
