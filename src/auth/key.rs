//! A key that signatures are checked with.
//!
//! Invariants: a key is made for one algorithm, and checks no signature of another; a shared secret
//! is at least 32 bytes long; an RSA key has 2,048 to 8,192 bits; nothing shows a secret.

mod der;
mod jwk;
mod pem;

use std::fmt;

use ring::{hmac, signature};

use super::algorithm::Family;
use crate::config::Algorithm;

pub use jwk::{KEYS_MAX, KeySet, jwk, jwk_set};
pub use pem::public_key_pem;

/// A key that signatures are checked with.
pub struct VerifyingKey {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    Rsa(signature::RsaPublicKeyComponents<Box<[u8]>>, &'static signature::RsaParameters),
    Point(signature::UnparsedPublicKey<Box<[u8]>>),
}

/// Why something is no key. Says nothing of what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A shared secret that can be guessed.
    SecretTooShort,
    /// Not PEM, or not of a public key.
    Pem,
    /// A certificate or a private key where a public key is wanted.
    NotAPublicKey,
    /// Not a JWK, or a JWK set, or a member of it is missing or malformed.
    Jwk,
    /// Of a kind, on a curve or for an algorithm that is not supported.
    Unsupported,
    /// Of another kind than its algorithm wants.
    OtherAlgorithm,
    /// An RSA key with less than 2,048 bits or more than 8,192.
    RsaSize,
    /// A shared secret where only public keys may be.
    SecretInPublic,
    /// A set without a key that can be used, or with too many.
    Set,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretTooShort => "a shared secret of less than 32 bytes can be guessed",
            Self::Pem => "not the PEM of a public key",
            Self::NotAPublicKey => {
                "wanted a public key: `openssl pkey -in key.pem -pubout`, or for a certificate \
                 `openssl x509 -in cert.pem -noout -pubkey`, makes one"
            }
            Self::Jwk => "not a JSON Web Key, or set of them",
            Self::Unsupported => "a kind of key, a curve or an algorithm that is not supported",
            Self::OtherAlgorithm => "a key of another kind than its algorithm wants",
            Self::RsaSize => "an RSA key has 2048 to 8192 bits",
            Self::SecretInPublic => "a shared secret, where only public keys may be",
            Self::Set => "a set without any key that can be used, or with too many",
        })
    }
}

impl std::error::Error for KeyError {}

impl VerifyingKey {
    /// The least length of a shared secret.
    pub const SECRET_BYTES: usize = 32;

    /// A shared secret.
    ///
    /// # Errors
    /// If it is too short, or the algorithm wants no secret.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let Family::Secret(hash) = algorithm.family() else { return Err(KeyError::OtherAlgorithm) };
        if secret.len() < Self::SECRET_BYTES {
            return Err(KeyError::SecretTooShort);
        }
        let material = Material::Secret(hmac::Key::new(hash, secret));
        Ok(Self { id: None, algorithm, material })
    }

    /// An RSA key of this modulus and exponent.
    fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let Family::Rsa(parameters) = algorithm.family() else {
            return Err(KeyError::OtherAlgorithm);
        };
        let modulus = without_zeros(modulus);
        let exponent = without_zeros(exponent);
        let bits =
            modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros()) as usize;
        if !(2_048..=8_192).contains(&bits) || exponent.is_empty() {
            return Err(KeyError::RsaSize);
        }
        let components =
            signature::RsaPublicKeyComponents { n: modulus.into(), e: exponent.into() };
        Ok(Self { id: None, algorithm, material: Material::Rsa(components, parameters) })
    }

    /// A point of the algorithm's curve: for ECDSA uncompressed, for Ed25519 as RFC 8032 has it.
    fn point(algorithm: Algorithm, curve: &str, point: &[u8]) -> Result<Self, KeyError> {
        let Family::Curve(wanted, bytes, verification) = algorithm.family() else {
            return Err(KeyError::OtherAlgorithm);
        };
        if wanted != curve {
            return Err(KeyError::OtherAlgorithm);
        }
        let length = if algorithm == Algorithm::EdDsa { bytes } else { 1 + 2 * bytes };
        if point.len() != length {
            return Err(KeyError::Jwk);
        }
        let key = signature::UnparsedPublicKey::new(verification, point.into());
        Ok(Self { id: None, algorithm, material: Material::Point(key) })
    }

    /// The same key, called `id`.
    #[must_use]
    pub fn called(self, id: Option<&str>) -> Self {
        Self { id: id.map(Into::into), ..self }
    }

    /// Its `kid`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it was made for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's on `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa(key, parameters) => key.verify(parameters, message, signature).is_ok(),
            Material::Point(key) => key.verify(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
