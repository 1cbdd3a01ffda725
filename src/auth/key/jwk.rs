//! Keys as JSON (RFC 7517, RFC 7518 §6, RFC 8037).
//!
//! Invariant: a key that cannot be used for signatures, or not by us, is left out of a set and
//! does not spoil it; one that is malformed does.

use serde::Deserialize;

use super::{KeyError, VerifyingKey};
use crate::auth::algorithm::Family;
use crate::auth::base64url;
use crate::config::Algorithm;

/// Keys in a set.
pub const KEYS_MAX: usize = 64;
/// The longest `kid`.
pub(in crate::auth) const ID_BYTES: usize = 256;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
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

/// Reads a set of keys. `public`: shared secrets in it are an error.
///
/// # Errors
/// If it is no set, or one of its keys is malformed, or none can be used.
pub fn jwk_set(
    text: &str,
    algorithm: Option<Algorithm>,
    public: bool,
) -> Result<Vec<VerifyingKey>, KeyError> {
    let set: Set = serde_json::from_str(text).map_err(|_| KeyError::Jwk)?;
    if set.keys.len() > KEYS_MAX {
        return Err(KeyError::Set);
    }
    let mut keys = Vec::with_capacity(set.keys.len());
    for jwk in &set.keys {
        if public && jwk.kty == "oct" {
            return Err(KeyError::SecretInPublic);
        }
        match jwk.key(algorithm) {
            Ok(key) => keys.push(key),
            Err(KeyError::Unsupported | KeyError::OtherAlgorithm) => {}
            Err(error) => return Err(error),
        }
    }
    if keys.is_empty() { Err(KeyError::Set) } else { Ok(keys) }
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
