//! A TLS key and the certificate that carries it.

use crate::binding::{Digest, key_digest};
use core::fmt;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use zeroize::Zeroize as _;

/// A key made here, and a certificate that it signed itself. The private half never leaves this value.
pub struct Identity {
    certified: Arc<CertifiedKey>,
    key_digest: Digest,
}

/// No key or no certificate could be made.
#[derive(Debug)]
pub enum IdentityError {
    /// The certificate.
    Certificate(rcgen::Error),
    /// The key, by TLS.
    Key(rustls::Error),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "make a certificate: {error}"),
            Self::Key(error) => write!(f, "make a tls key: {error}"),
        }
    }
}

impl core::error::Error for IdentityError {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new P-256 key. One a process, or one a session.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut key = KeyPair::generate().map_err(IdentityError::Certificate)?;
        let mut parameters = CertificateParams::default();
        // Ignored by every peer; said for people who look at a capture.
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "eaa-bound");
        let certificate = parameters.self_signed(&key).map_err(IdentityError::Certificate)?;
        let key_digest = key_digest(&key.subject_public_key_info());
        let mut private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![CertificateDer::clone(certificate.der())];
        let signing = any_ecdsa_type(&private).map_err(IdentityError::Key);
        // The copies on the way; what signs is kept by ring until the process ends.
        private.zeroize();
        key.zeroize();
        let certified = CertifiedKey::new(chain, signing?);
        Ok(Self { certified: Arc::new(certified), key_digest })
    }

    /// SHA-384 of its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn key_digest(&self) -> &Digest {
        &self.key_digest
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}
