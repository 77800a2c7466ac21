//! The cryptography that verification needs, exchangeable: [`Ring`](ring::Ring) on hosts,
//! [`RustCrypto`](rustcrypto::RustCrypto) where code must not ask the CPU what it can do, as in an enclave.
//!
//! Both accept the same signatures; the tests run every vector through both.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "ring")]
mod ring;
mod rustcrypto;

#[cfg(feature = "ring")]
pub use ring::Ring;
pub use rustcrypto::RustCrypto;

/// A signature algorithm, hash included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256. The key is an uncompressed point, 65 bytes.
    EcdsaP256Sha256,
    /// ECDSA with P-384 and SHA-384. The key is an uncompressed point, 97 bytes.
    EcdsaP384Sha384,
    /// RSASSA-PSS with SHA-384, salt 48 bytes, 2048 bits or more. The key is a DER RSAPublicKey.
    RsaPssSha384,
}

/// The bytes of a signature, in one of two forms.
#[derive(Clone, Copy, Debug)]
pub enum Signature<'a> {
    /// As DER in certificates and CRLs: ECDSA-Sig-Value, or the plain integer of RSA.
    Der(&'a [u8]),
    /// r then s, big-endian and of full length, as in quotes and collateral.
    Fixed(&'a [u8]),
}

/// A signature that does not belong to this key and message, or an algorithm that this backend lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signature does not verify")
    }
}

impl core::error::Error for BadSignature {}

/// Digests and signature checks.
pub trait Crypto {
    /// SHA-256.
    fn sha256(&self, bytes: &[u8]) -> [u8; 32];

    /// SHA-384.
    fn sha384(&self, bytes: &[u8]) -> [u8; 48];

    /// Checks a signature over a whole message.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] unless the signature is valid; also for a key or signature that cannot be read.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &[u8],
        message: &[u8],
        signature: Signature<'_>,
    ) -> Result<(), BadSignature>;
}

/// Counts the signature checks that pass through it: what a benchmark states beside its times.
#[derive(Debug, Default)]
pub struct Counted<C> {
    inner: C,
    signatures: AtomicU64,
}

impl<C> Counted<C> {
    /// Counts from zero.
    #[must_use]
    pub const fn new(inner: C) -> Self {
        Self { inner, signatures: AtomicU64::new(0) }
    }

    /// Signature checks so far.
    pub fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }
}

impl<C: Crypto> Crypto for Counted<C> {
    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        self.inner.sha256(bytes)
    }

    fn sha384(&self, bytes: &[u8]) -> [u8; 48] {
        self.inner.sha384(bytes)
    }

    fn verify(
        &self,
        algorithm: Algorithm,
        key: &[u8],
        message: &[u8],
        signature: Signature<'_>,
    ) -> Result<(), BadSignature> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        self.inner.verify(algorithm, key, message, signature)
    }
}

/// What to use where nothing speaks against it: the fastest backend that was built in.
#[cfg(feature = "ring")]
pub type Default = Ring;
/// What to use where nothing speaks against it: the fastest backend that was built in.
#[cfg(not(feature = "ring"))]
pub type Default = RustCrypto;
