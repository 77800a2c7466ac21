//! The crate ring: assembly chosen at run time, for hosts.

use ring::digest::{SHA256, SHA384, digest};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};

use super::{Algorithm, BadSignature, Crypto, Signature};

/// The crate ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ring;

fn fixed<const N: usize>(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest(algorithm, bytes).as_ref());
    out
}

impl Crypto for Ring {
    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        fixed(&SHA256, bytes)
    }

    fn sha384(&self, bytes: &[u8]) -> [u8; 48] {
        fixed(&SHA384, bytes)
    }

    fn verify(
        &self,
        algorithm: Algorithm,
        key: &[u8],
        message: &[u8],
        signature: Signature<'_>,
    ) -> Result<(), BadSignature> {
        use Algorithm::{EcdsaP256Sha256, EcdsaP384Sha384, RsaPssSha384};
        let (scheme, bytes): (&'static dyn VerificationAlgorithm, _) = match (algorithm, signature)
        {
            (EcdsaP256Sha256, Signature::Der(bytes)) => (&ECDSA_P256_SHA256_ASN1, bytes),
            (EcdsaP256Sha256, Signature::Fixed(bytes)) => (&ECDSA_P256_SHA256_FIXED, bytes),
            (EcdsaP384Sha384, Signature::Der(bytes)) => (&ECDSA_P384_SHA384_ASN1, bytes),
            (EcdsaP384Sha384, Signature::Fixed(bytes)) => (&ECDSA_P384_SHA384_FIXED, bytes),
            (RsaPssSha384, Signature::Der(bytes) | Signature::Fixed(bytes)) => {
                (&RSA_PSS_2048_8192_SHA384, bytes)
            }
        };
        UnparsedPublicKey::new(scheme, key).verify(message, bytes).map_err(|_| BadSignature)
    }
}
