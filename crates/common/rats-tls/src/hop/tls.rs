//! TLS between a verifier and inclavared: 1.3, and a key that the verifier's policy names.

use crate::tls::{IdentityError, tls13_signatures};
use attestation::hex::Hex;
use core::fmt;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{self, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, Error, OtherError, ServerConfig, version};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use zeroize::Zeroize as _;

/// What a verifier knows inclavared by: SHA-256 of its certificate's SubjectPublicKeyInfo.
///
/// # Errors
/// No certificate.
pub fn pin(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(Sha256::digest(spki).into())
}

/// A server with this key, PKCS#8 in PEM, and its [`pin`]. TLS 1.3 only, no resumption. Its certificate is made
/// anew and says nothing but the key.
///
/// # Errors
/// It is no key, or none of a kind that TLS 1.3 takes.
pub fn server(pem: &str) -> Result<(ServerConfig, [u8; 32]), IdentityError> {
    let mut key = KeyPair::from_pem(pem).map_err(IdentityError::Certificate)?;
    let mut parameters = CertificateParams::default();
    // For people who look at a capture; verifiers look at the key.
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "inclavared, hop-by-hop");
    let certificate = parameters.self_signed(&key).map_err(IdentityError::Certificate)?;
    let mut private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = any_supported_type(&private).map_err(IdentityError::Key);
    // The copies on the way; what signs is kept by ring until the process ends.
    private.zeroize();
    key.zeroize();
    let certificate = certificate.der().clone();
    let pin = pin(&certificate).map_err(IdentityError::Key)?;
    let certified = CertifiedKey::new(vec![certificate], signing?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(IdentityError::Key)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.send_tls13_tickets = 0;
    Ok((config, pin))
}

/// A client that takes a server with one of these keys, by [`pin`], and no other: the handshake fails with
/// [`Stranger`]. TLS 1.3 only, no resumption.
///
/// # Errors
/// The cryptography does not do TLS 1.3.
pub fn client(pins: Vec<[u8; 32]>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pins)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A server that has another key, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger(pub [u8; 32]);

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inclavared: expected a key that the policy names, got {}", Hex(&self.0))
    }
}

impl core::error::Error for Stranger {}

#[derive(Debug)]
struct Pinned(Vec<[u8; 32]>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let got = pin(leaf)?;
        if self.0.contains(&got) {
            return Ok(ServerCertVerified::assertion());
        }
        let stranger = OtherError(Arc::new(Stranger(got)));
        Err(Error::InvalidCertificate(CertificateError::Other(stranger)))
    }

    tls13_signatures!();
}

/// Says one thing, and hears what the other end says until it closes; of what is longer than any message, the
/// beginning, which is too long as well.
///
/// # Errors
/// Those of the connection, and an end that TLS does not vouch for.
#[cfg(feature = "tokio")]
pub async fn exchange(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    question: &[u8],
) -> std::io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(question).await?;
    stream.flush().await?;
    let most = super::MAX_MESSAGE + 1;
    let mut answer = Vec::with_capacity(most);
    stream.take(most as u64).read_to_end(&mut answer).await?;
    Ok(answer)
}
