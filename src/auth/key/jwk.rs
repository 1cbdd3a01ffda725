//! Keys as JSON (RFC 7517, RFC 7518 §6, RFC 8037).
//!
//! Invariant: a key that cannot be used, whether it is not for signatures, not for us or not well made, is
//! left out of a set and does not spoil it (RFC 7517 §5); what is wrong with it is told by its place.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{KeyError, VerifyingKey};
use crate::auth::algorithm::Family;
use crate::auth::base64url;
use crate::config::Algorithm;

/// Keys in a set.
pub const KEYS_MAX: usize = 64;
/// The longest `kid`.
pub(in crate::auth) const ID_BYTES: usize = 256;

/// What a set comes to.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The keys that can be used.
    pub keys: Vec<VerifyingKey>,
    /// Where in the set, from 0, there is what is no sound key or must not be there, and why. Not those
    /// that are sound and not for us.
    pub odd: Vec<(usize, KeyError)>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// Reads one key. `algorithm` is what it is for where it does not say so itself; RSA keys that
/// nobody says it of are for `RS256`.
///
/// # Errors
/// If it is no key for signatures of an algorithm that is supported.
pub fn jwk(text: &str, algorithm: Option<Algorithm>) -> Result<VerifyingKey, KeyError> {
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| KeyError::Jwk)?;
    jwk.key(algorithm)
}

/// Reads a set of keys, of which none, too, may be one that can be used. `public`: shared secrets in it are
/// odd.
///
/// # Errors
/// If it is no set, or has too many keys.
pub fn jwk_set(text: &str, algorithm: Option<Algorithm>, public: bool) -> Result<KeySet, KeyError> {
    let entries: Set<'_> = serde_json::from_str(text).map_err(|_| KeyError::Jwk)?;
    if entries.keys.len() > KEYS_MAX {
        return Err(KeyError::Set);
    }
    let mut set = KeySet::default();
    for (index, entry) in entries.keys.iter().enumerate() {
        match key_of_a_set(entry.get(), algorithm, public) {
            Ok(key) => set.keys.push(key),
            Err(KeyError::Unsupported | KeyError::OtherAlgorithm) => {}
            Err(error) => set.odd.push((index, error)),
        }
    }
    Ok(set)
}

fn key_of_a_set(
    text: &str,
    algorithm: Option<Algorithm>,
    public: bool,
) -> Result<VerifyingKey, KeyError> {
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| KeyError::Jwk)?;
    if public && jwk.kty == "oct" {
        return Err(KeyError::SecretInPublic);
    }
    jwk.key(algorithm)
}

impl Jwk {
    fn key(&self, fallback: Option<Algorithm>) -> Result<VerifyingKey, KeyError> {
        let for_signatures = self.r#use.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if !for_signatures || !self.key_ops.as_ref().is_none_or(verifies) {
            return Err(KeyError::Unsupported);
        }
        if self.kid.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES) {
            return Err(KeyError::Jwk);
        }
        let algorithm = self.algorithm(fallback)?;
        let key = match (&*self.kty, algorithm.family()) {
            ("oct", Family::Secret(_)) => VerifyingKey::secret(algorithm, &decoded(&self.k)?),
            ("RSA", Family::Rsa(_)) => {
                VerifyingKey::rsa(algorithm, &decoded(&self.n)?, &decoded(&self.e)?)
            }
            ("EC" | "OKP", Family::Curve(_, bytes, _)) => {
                let curve = self.crv.as_deref().ok_or(KeyError::Jwk)?;
                VerifyingKey::point(algorithm, curve, &self.encoded_point(bytes)?)
            }
            _ => Err(KeyError::OtherAlgorithm),
        };
        key.map(|key| key.called(self.kid.as_deref()))
    }

    fn algorithm(&self, fallback: Option<Algorithm>) -> Result<Algorithm, KeyError> {
        if let Some(name) = &self.alg {
            return Algorithm::named(name).ok_or(KeyError::Unsupported);
        }
        match (&*self.kty, self.crv.as_deref()) {
            ("EC", Some("P-256")) => Ok(Algorithm::Es256),
            ("EC", Some("P-384")) => Ok(Algorithm::Es384),
            ("OKP", Some("Ed25519")) => Ok(Algorithm::EdDsa),
            ("RSA", _) => Ok(fallback.unwrap_or(Algorithm::Rs256)),
            ("oct", _) => Ok(fallback.unwrap_or(Algorithm::Hs256)),
            _ => Err(KeyError::Unsupported),
        }
    }

    fn encoded_point(&self, bytes: usize) -> Result<Vec<u8>, KeyError> {
        let x = decoded(&self.x)?;
        if self.kty == "OKP" {
            return Ok(x);
        }
        let y = decoded(&self.y)?;
        if x.len() != bytes || y.len() != bytes {
            return Err(KeyError::Jwk);
        }
        Ok([&[4], &*x, &*y].concat())
    }
}

fn decoded(member: &Option<String>) -> Result<Vec<u8>, KeyError> {
    let text = member.as_deref().ok_or(KeyError::Jwk)?;
    base64url::decode(text).ok_or(KeyError::Jwk)
}
