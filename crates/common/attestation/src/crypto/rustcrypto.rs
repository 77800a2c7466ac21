//! The RustCrypto crates: pure Rust, no_std, code chosen at compile time.
//!
//! Inside an enclave CPUID faults and its answer would be the host's, so nothing here may ask for it.

use p256::ecdsa::signature::Verifier as _;
use sha2::Digest as _;

use super::{Algorithm, BadSignature, Crypto, Signature};

/// The RustCrypto crates. RSA is not among them: [`Algorithm::RsaPssSha384`] never verifies.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

/// First byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

impl Crypto for RustCrypto {
    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }

    fn sha384(&self, bytes: &[u8]) -> [u8; 48] {
        sha2::Sha384::digest(bytes).into()
    }

    fn verify(
        &self,
        algorithm: Algorithm,
        key: &[u8],
        message: &[u8],
        signature: Signature<'_>,
    ) -> Result<(), BadSignature> {
        // The crates would read a compressed point too, ring would not: one form for both.
        if algorithm != Algorithm::RsaPssSha384 && key.first() != Some(&UNCOMPRESSED) {
            return Err(BadSignature);
        }
        match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                use p256::ecdsa::{Signature as Sig, VerifyingKey};
                let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| BadSignature)?;
                let signature = match signature {
                    Signature::Der(bytes) => Sig::from_der(bytes),
                    Signature::Fixed(bytes) => Sig::from_slice(bytes),
                };
                key.verify(message, &signature.map_err(|_| BadSignature)?).map_err(|_| BadSignature)
            }
            Algorithm::EcdsaP384Sha384 => {
                use p384::ecdsa::{Signature as Sig, VerifyingKey};
                let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| BadSignature)?;
                let signature = match signature {
                    Signature::Der(bytes) => Sig::from_der(bytes),
                    Signature::Fixed(bytes) => Sig::from_slice(bytes),
                };
                key.verify(message, &signature.map_err(|_| BadSignature)?).map_err(|_| BadSignature)
            }
            Algorithm::RsaPssSha384 => Err(BadSignature),
        }
    }
}
