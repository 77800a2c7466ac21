//! Signing keys: RSA-3072 with exponent 3, in PEM.
//!
//! The private operation is blinded and constant-time (crate rsa). Keys are wiped from memory when dropped;
//! PEM text that comes from or goes to a file is the caller's to protect.

use std::string::{String, ToString};

use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use getrandom::SysRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding,
};
use rsa::rand_core::UnwrapErr;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};

use crate::hash::Sha256;
use crate::sigstruct::{self, EXPONENT, PublicKey, RSA_SIZE, Sigstruct, SigstructError};

/// Why a key or signature cannot be had.
#[derive(Debug)]
pub enum SignError {
    /// Not a PEM of one of the kinds that are read.
    Pem {
        /// What was expected.
        expected: &'static str,
        /// The label that came; empty if the text is no PEM.
        got: String,
    },
    /// The PEM's content is damaged.
    Content(String),
    /// Wrong length or exponent, or a signature that does not fit.
    Sigstruct(SigstructError),
    /// The private operation failed.
    Rsa(rsa::Error),
}

impl core::fmt::Display for SignError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Pem { expected, got } if got.is_empty() => {
                write!(f, "key file: expected a PEM of {expected}, got no PEM")
            }
            Self::Pem { expected, got } => {
                write!(f, "key file: expected a PEM of {expected}, got {got}")
            }
            Self::Content(reason) => write!(f, "key file: damaged: {reason}"),
            Self::Sigstruct(error) => error.fmt(f),
            Self::Rsa(error) => write!(f, "rsa: {error}"),
        }
    }
}

impl std::error::Error for SignError {}

impl From<SigstructError> for SignError {
    fn from(error: SigstructError) -> Self {
        Self::Sigstruct(error)
    }
}

/// A signer's private key.
pub struct SigningKey(RsaPrivateKey);

impl SigningKey {
    /// A fresh key from the system's random source. Takes about a second.
    ///
    /// # Errors
    /// The key generation failed.
    ///
    /// # Panics
    /// If the system has no random source.
    pub fn generate() -> Result<Self, SignError> {
        let exponent = BoxedUint::from(u64::from(EXPONENT));
        let key = RsaPrivateKey::from_p_q(prime(), prime(), exponent).map_err(SignError::Rsa)?;
        public_key(&key)?;
        Ok(Self(key))
    }

    /// From a PEM file's text: PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// Another kind of file, a damaged one, or a key that is not RSA-3072 with exponent 3.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key =
            match label(pem) {
                "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_pem(pem)
                    .map_err(|e| SignError::Content(e.to_string())),
                "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_pem(pem)
                    .map_err(|e| SignError::Content(e.to_string())),
                got => Err(SignError::Pem {
                    expected: "PRIVATE KEY or RSA PRIVATE KEY",
                    got: got.to_string(),
                }),
            }?;
        public_key(&key)?;
        Ok(Self(key))
    }

    /// As PKCS#8 PEM. The text is wiped when dropped.
    ///
    /// # Errors
    /// The encoding failed.
    pub fn to_pem(&self) -> Result<impl core::ops::Deref<Target = String> + use<>, SignError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map_err(|e| SignError::Content(e.to_string()))
    }

    /// Its public half.
    ///
    /// # Panics
    /// Never: the key was checked when it was made.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        public_key(&self.0).expect("checked when the key was made")
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 of a message, most significant byte first: a detached signature for
    /// [`sigstruct::assemble`].
    ///
    /// # Errors
    /// The private operation failed.
    pub fn sign_message<H: Sha256>(&self, message: &[u8]) -> Result<[u8; RSA_SIZE], SignError> {
        let scheme =
            Pkcs1v15Sign { hash_len: Some(32), prefix: sigstruct::DIGEST_INFO[1..].into() };
        let signature = self
            .0
            .sign_with_rng(&mut UnwrapErr(SysRng), scheme, &H::digest(message))
            .map_err(SignError::Rsa)?;
        let got = signature.len() as u64;
        signature.try_into().map_err(|_| {
            let (field, expected) = ("SIGNATURE length", RSA_SIZE as u64);
            SignError::Sigstruct(SigstructError::Number { field, expected, got })
        })
    }

    /// Signs: the signed fields of `unsigned`, with everything that EINIT wants. The result is verified.
    ///
    /// # Errors
    /// As [`sign_message`](Self::sign_message), and a header that EINIT refuses.
    pub fn sign<H: Sha256>(&self, unsigned: &Sigstruct) -> Result<Sigstruct, SignError> {
        let signature = self.sign_message::<H>(&unsigned.signed_bytes())?;
        Ok(sigstruct::assemble::<H>(unsigned, &self.public(), &signature)?)
    }
}

impl PublicKey {
    /// From a PEM file's text: SubjectPublicKeyInfo (`PUBLIC KEY`) or PKCS#1 (`RSA PUBLIC KEY`).
    ///
    /// # Errors
    /// Another kind of file, a damaged one, or a key that is not RSA-3072 with exponent 3.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let key = match label(pem) {
            "PUBLIC KEY" => RsaPublicKey::from_public_key_pem(pem)
                .map_err(|e| SignError::Content(e.to_string())),
            "RSA PUBLIC KEY" => {
                RsaPublicKey::from_pkcs1_pem(pem).map_err(|e| SignError::Content(e.to_string()))
            }
            got => Err(SignError::Pem {
                expected: "PUBLIC KEY or RSA PUBLIC KEY",
                got: got.to_string(),
            }),
        }?;
        Ok(public_key(&key)?)
    }

    /// As SubjectPublicKeyInfo PEM.
    ///
    /// # Errors
    /// The encoding failed.
    pub fn to_pem(&self) -> Result<String, SignError> {
        let modulus = BoxedUint::from_le_slice(self.modulus(), 8 * RSA_SIZE as u32)
            .map_err(|e| SignError::Content(e.to_string()))?;
        RsaPublicKey::new(modulus, BoxedUint::from(u64::from(EXPONENT)))
            .map_err(SignError::Rsa)?
            .to_public_key_pem(LineEnding::LF)
            .map_err(|e| SignError::Content(e.to_string()))
    }
}

/// A random prime of 1536 bits that can be a factor for exponent 3: one above a multiple of 3 cannot. The
/// crate rsa tests candidates for that only after their primality, which takes four times as long.
///
/// Both of the highest bits are set, so that two such primes make a modulus of 3072 bits.
fn prime() -> BoxedUint {
    let bits = 4 * RSA_SIZE as u32;
    let sieve = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb)
        .expect("the size is in range");
    sieve_and_find(&mut UnwrapErr(SysRng), sieve, |_, candidate: &BoxedUint| {
        is_two_above_a_multiple_of_three(candidate) && is_prime(Flavor::Any, candidate)
    })
    .expect("the size is in range")
    .expect("the sieve does not end")
}

/// By the sum of its 64-bit digits: 2^64 is one above a multiple of 3.
fn is_two_above_a_multiple_of_three(number: &BoxedUint) -> bool {
    number.as_words().iter().map(|word| word % 3).sum::<u64>() % 3 == 2
}

/// The public half, if it is RSA-3072 with exponent 3.
fn public_key(key: &impl PublicKeyParts) -> Result<PublicKey, SigstructError> {
    // An exponent beyond 64 bits is not 3 either.
    let exponent = key.e_bytes();
    let exponent = exponent
        .iter()
        .try_fold(0u64, |value, &byte| value.checked_mul(256).map(|value| value | u64::from(byte)));
    PublicKey::new(&key.n_bytes(), exponent.unwrap_or(u64::MAX))
}

/// The label of the first PEM block; empty if there is none.
fn label(pem: &str) -> &str {
    pem.split_once("-----BEGIN ")
        .and_then(|(_, rest)| rest.split_once("-----"))
        .map_or("", |(label, _)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_of_three_are_those_of_the_number() {
        for low in 0..9u64 {
            for high in 0..9u64 {
                let value = u128::from(high) << 64 | u128::from(low);
                let number = BoxedUint::from(value);
                assert_eq!(is_two_above_a_multiple_of_three(&number), value % 3 == 2, "{value}");
            }
        }
    }

    #[test]
    fn the_label_is_that_of_the_first_block() {
        assert_eq!(label("x\n-----BEGIN A B-----\n-----BEGIN C-----"), "A B");
        assert_eq!(label("-----BEGIN A"), "");
        assert_eq!(label(""), "");
    }
}
