//! TLS whose certificates are the evidence. The handshake fails where the evidence is refused.

use super::certificate::CompatPeer;
use super::encoding::Kind;
use crate::appraiser::{Clock, CollateralSource};
use crate::frame::Format;
use crate::judge::Judge;
use crate::party::Refusal;
use crate::session::Offered;
use crate::tls::tls13_signatures;
use attestation::crypto::Ring;
use attestation::policy::Level;
use attestation::{ExpectedReportData, Policy, ReferenceValues, TrustAnchor, Verdict, Verifier};
use core::fmt;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, OtherError, ServerConfig, version};
use std::sync::Arc;

/// Accepts certificates of this level by a policy that names it.
pub struct CompatAppraiser<S> {
    judge: Judge<S>,
}

impl<S> fmt::Debug for CompatAppraiser<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompatAppraiser").finish_non_exhaustive()
    }
}

impl<S: CollateralSource> CompatAppraiser<S> {
    /// Under one anchor, by one policy.
    #[must_use]
    pub fn new(verifier: Verifier<Ring>, policy: Policy, source: S, clock: Clock) -> Self {
        Self { judge: Judge::new(verifier, policy, source, clock) }
    }

    /// With reference values for the policy's names.
    #[must_use]
    pub fn references(mut self, references: ReferenceValues) -> Self {
        self.judge.references = references;
        self
    }

    /// The anchor that all evidence must end in.
    #[must_use]
    pub const fn anchor(&self) -> &TrustAnchor {
        self.judge.anchor()
    }

    /// Decides on a certificate, DER.
    ///
    /// # Errors
    /// The policy names another level, the certificate is none of this one, or its evidence is refused.
    pub fn appraise(&self, certificate: &[u8]) -> Result<Verdict, Box<Refusal>> {
        self.decide(certificate).map(|verdict| *verdict).map_err(Box::new)
    }

    fn decide(&self, certificate: &[u8]) -> Result<Box<Verdict>, Refusal> {
        self.judge.check_level(Level::Compat)?;
        let now = self.judge.now();
        let peer = CompatPeer::read(certificate, now.seconds).map_err(Refusal::Compat)?;
        if peer.kind != Kind::Quote {
            return Err(Refusal::Denied {
                field: "evidence tag".into(),
                expected: "a quote (60000)".into(),
                got: format!("{:?} ({})", peer.kind, peer.kind as u64),
            });
        }
        let offered = Offered {
            format: Format::Sgx,
            evidence: peer.evidence,
            claims: vec![],
            endorsements: vec![],
        };
        let expected = ExpectedReportData::new(&peer.expected_report_data)
            .expect("a digest and zeros are 64 bytes and not all zero");
        self.judge.decide(&offered, &expected, now)
    }
}

/// A client that verifies servers of this level. TLS 1.3 only, no resumption.
///
/// # Errors
/// The cryptography does not do TLS 1.3.
pub fn client<S: CollateralSource + 'static>(
    appraiser: Arc<CompatAppraiser<S>>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Evidence(appraiser)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// A server that presents a certificate of this level.
///
/// # Errors
/// The certificate and the key do not fit.
pub fn server(
    key: &rcgen::KeyPair,
    certificate: &rcgen::Certificate,
) -> Result<ServerConfig, Error> {
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Evidence in place of a chain to some web root.
struct Evidence<S>(Arc<CompatAppraiser<S>>);

impl<S> fmt::Debug for Evidence<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: CollateralSource> ServerCertVerifier for Evidence<S> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.appraise(leaf) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => Err(Error::InvalidCertificate(CertificateError::Other(OtherError(
                Arc::new(*refusal),
            )))),
        }
    }

    tls13_signatures!();
}
