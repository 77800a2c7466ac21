//! ECDSA P-256 keys, as certificates, collateral and quotes use them.
//!
//! Signatures are deterministic (RFC 6979): the same certificate is the same bytes wherever it is made.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};

/// A private key. It is zeroized when dropped.
#[derive(Clone)]
pub(crate) struct Key {
    private: SigningKey,
    /// SEC 1, uncompressed: 4, X, Y.
    public: [u8; 65],
}

impl Key {
    /// `None` if the scalar is zero or not below the order.
    pub(crate) fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        let private = SigningKey::from_slice(scalar).ok()?;
        let point = private.verifying_key().to_sec1_point(false);
        let public = point.as_bytes().try_into().ok()?;
        Some(Self { private, public })
    }

    /// X and Y, 32 bytes each, big-endian: as quotes have it.
    pub(crate) fn public(&self) -> [u8; 64] {
        let mut raw = [0; 64];
        raw.copy_from_slice(&self.public[1..]);
        raw
    }

    /// R and S, 32 bytes each, big-endian, over SHA-256: as quotes and collateral have it.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.private.sign(message);
        signature.to_bytes().into()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.private.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::Verifier;

    #[test]
    fn scalars_out_of_range_are_no_keys() {
        assert!(Key::from_scalar(&[0; 32]).is_none());
        assert!(Key::from_scalar(&[0xff; 32]).is_none());
    }

    #[test]
    fn signatures_verify_and_repeat() {
        let key = Key::from_scalar(&[7; 32]).expect("in range");
        let verifying = VerifyingKey::from_sec1_bytes(&key.public).expect("a point");
        let signature = Signature::from_slice(&key.sign(b"quote")).expect("a signature");
        assert!(verifying.verify(b"quote", &signature).is_ok());
        assert!(verifying.verify(b"other", &signature).is_err());
        assert_eq!(key.sign(b"quote"), key.sign(b"quote"));
    }
}
