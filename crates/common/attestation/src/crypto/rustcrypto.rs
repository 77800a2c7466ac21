//! The RustCrypto crates: pure Rust, no_std, code chosen at compile time.
//!
//! Inside an enclave CPUID faults and its answer would be the host's, so nothing here may ask for it.

use p256::ecdsa::signature::Verifier as _;
use sha2::Digest as _;

use super::{Algorithm, BadSignature, Crypto, Signature};

/// The RustCrypto crates. RSA only with the feature `rsa`: without, [`Algorithm::RsaPssSha384`] never verifies.
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
            Algorithm::RsaPssSha384 => verify_rsa_pss(key, message, signature),
        }
    }
}

#[cfg(feature = "rsa")]
fn verify_rsa_pss(
    key: &[u8],
    message: &[u8],
    (Signature::Der(signature) | Signature::Fixed(signature)): Signature<'_>,
) -> Result<(), BadSignature> {
    use rsa::pkcs1::DecodeRsaPublicKey as _;
    use rsa::pss::{Signature as Sig, VerifyingKey};
    use rsa::traits::PublicKeyParts as _;

    let key = rsa::RsaPublicKey::from_pkcs1_der(key).map_err(|_| BadSignature)?;
    if key.size() < MIN_RSA_BYTES {
        return Err(BadSignature);
    }
    // The salt is as long as the digest, as in AMD's certificates and in ring.
    let signature = Sig::try_from(signature).map_err(|_| BadSignature)?;
    let key = VerifyingKey::<sha2::Sha384>::new(key);
    key.verify(message, &signature).map_err(|_| BadSignature)
}

/// Fewer bits than 2048 are none.
#[cfg(feature = "rsa")]
const MIN_RSA_BYTES: usize = 256;

#[cfg(not(feature = "rsa"))]
const fn verify_rsa_pss(_: &[u8], _: &[u8], _: Signature<'_>) -> Result<(), BadSignature> {
    Err(BadSignature)
}
