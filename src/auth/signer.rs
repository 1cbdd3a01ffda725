//! Makes tokens: for the command line, for tests, and for programs that embed the server.
//!
//! Invariant: a key signs for the algorithm it was made for, and shows nowhere.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::{hmac, signature};
use zeroize::Zeroizing;

use super::algorithm::Family;
use super::base64url;
use super::key::{KeyError, VerifyingKey};
use super::token::ROOM_TYPE;
use crate::config::Algorithm;

/// A key that tokens are signed with.
pub struct SigningKey {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    Rsa(Box<signature::RsaKeyPair>, &'static dyn signature::RsaEncoding),
    Ecdsa(signature::EcdsaKeyPair),
    Ed25519(signature::Ed25519KeyPair),
}

/// It could not be signed: the machine gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl SigningKey {
    /// A shared secret.
    ///
    /// # Errors
    /// If it is too short, or the algorithm wants no secret.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let Family::Secret(hash) = algorithm.family() else { return Err(KeyError::OtherAlgorithm) };
        if secret.len() < VerifyingKey::SECRET_BYTES {
            return Err(KeyError::SecretTooShort);
        }
        let material = Material::Secret(hmac::Key::new(hash, secret));
        Ok(Self { id: None, algorithm, material })
    }

    /// A private key in PEM (PKCS #8), as `openssl genpkey` makes one.
    ///
    /// # Errors
    /// If it is no such key, or not one for the algorithm.
    pub fn private_pem(
        algorithm: Algorithm,
        text: &str,
        random: &dyn SecureRandom,
    ) -> Result<Self, KeyError> {
        let body = text.split_once("-----BEGIN PRIVATE KEY-----").ok_or(KeyError::Pem)?.1;
        let body = body.split_once("-----END PRIVATE KEY-----").ok_or(KeyError::Pem)?.0;
        let body: Zeroizing<String> =
            Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let der = Zeroizing::new(STANDARD.decode(&*body).map_err(|_| KeyError::Pem)?);
        let material = match algorithm {
            Algorithm::Es256 => {
                let by = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                signature::EcdsaKeyPair::from_pkcs8(by, &der, random).map(Material::Ecdsa)
            }
            Algorithm::Es384 => {
                let by = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
                signature::EcdsaKeyPair::from_pkcs8(by, &der, random).map(Material::Ecdsa)
            }
            Algorithm::EdDsa => {
                signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Material::Ed25519)
            }
            _ => {
                let encoding = encoding(algorithm).ok_or(KeyError::OtherAlgorithm)?;
                signature::RsaKeyPair::from_pkcs8(&der)
                    .map(|pair| Material::Rsa(Box::new(pair), encoding))
            }
        };
        let material = material.map_err(|_| KeyError::OtherAlgorithm)?;
        Ok(Self { id: None, algorithm, material })
    }

    /// The same key, called `id`.
    #[must_use]
    pub fn called(self, id: Option<&str>) -> Self {
        Self { id: id.map(Into::into), ..self }
    }

    /// A token that says `claims`, a JSON object, of its holder.
    ///
    /// # Errors
    /// If the machine gives no randomness.
    pub fn token(&self, claims: &str, random: &dyn SecureRandom) -> Result<String, NoRandomness> {
        self.sign(&self.header("JWT"), claims, random)
    }

    /// A token for one room, with these claims: a JSON object with `room` and `exp`.
    ///
    /// # Errors
    /// If the machine gives no randomness.
    pub fn room_token(
        &self,
        claims: &str,
        random: &dyn SecureRandom,
    ) -> Result<String, NoRandomness> {
        self.sign(&self.header(ROOM_TYPE), claims, random)
    }

    fn header(&self, kind: &str) -> String {
        let id = self.id.as_deref().map(|id| serde_json::Value::from(id).to_string());
        let id = id.map(|id| format!(",\"kid\":{id}")).unwrap_or_default();
        format!("{{\"alg\":\"{}\",\"typ\":\"{kind}\"{id}}}", self.algorithm.word())
    }

    /// Signs whatever header and payload are given.
    pub(super) fn sign(
        &self,
        header: &str,
        payload: &str,
        random: &dyn SecureRandom,
    ) -> Result<String, NoRandomness> {
        let header = base64url::encode(header.as_bytes());
        let signed = format!("{header}.{}", base64url::encode(payload.as_bytes()));
        let signature = self.signature(signed.as_bytes(), random)?;
        Ok(format!("{signed}.{}", base64url::encode(&signature)))
    }

    fn signature(
        &self,
        message: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, NoRandomness> {
        match &self.material {
            Material::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Material::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Material::Ecdsa(pair) => match pair.sign(random, message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(NoRandomness),
            },
            Material::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                match pair.sign(*encoding, random, message, &mut signature) {
                    Ok(()) => Ok(signature),
                    Err(_) => Err(NoRandomness),
                }
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn encoding(algorithm: Algorithm) -> Option<&'static dyn signature::RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_SHA512),
        _ => None,
    }
}
