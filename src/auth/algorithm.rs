//! What signature algorithms are of: how keys of each are checked.

use ring::{hmac, signature};

use crate::config::Algorithm;

/// What its keys are.
#[derive(Clone, Copy)]
pub(super) enum Family {
    /// A shared secret.
    Secret(hmac::Algorithm),
    /// An RSA key pair.
    Rsa(&'static signature::RsaParameters),
    /// A key pair on the curve of this name, with points of so many bytes.
    Curve(&'static str, usize, &'static dyn signature::VerificationAlgorithm),
}

impl Algorithm {
    /// The one of this name, which is compared exactly.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // RFC 9864 gives EdDSA over Ed25519 a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.iter().copied().find(|algorithm| algorithm.word() == name)
    }

    pub(super) fn family(self) -> Family {
        use signature as by;
        match self {
            Self::Hs256 => Family::Secret(hmac::HMAC_SHA256),
            Self::Hs384 => Family::Secret(hmac::HMAC_SHA384),
            Self::Hs512 => Family::Secret(hmac::HMAC_SHA512),
            Self::Rs256 => Family::Rsa(&by::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Family::Rsa(&by::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Family::Rsa(&by::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Family::Rsa(&by::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Family::Rsa(&by::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Family::Rsa(&by::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Family::Curve("P-256", 32, &by::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Family::Curve("P-384", 48, &by::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Family::Curve("Ed25519", 32, &by::ED25519),
        }
    }
}
