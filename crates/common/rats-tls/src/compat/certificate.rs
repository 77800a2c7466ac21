//! The certificate around the evidence, read and written.

use super::encoding::{
    CompatClaims, EncodingFault, HashAlgorithm, Kind, decode_claims, decode_evidence,
    encode_claims, encode_evidence, report_data,
};
use super::legacy::Legacy;
use crate::tls::IdentityError;
use attestation::crypto::{Algorithm, Ring};
use attestation::time::Validity;
use attestation::x509::{Certificate, X509Error};
use core::fmt;
use rcgen::{
    CertificateParams, CustomExtension, DnType, IsCa, KeyPair, PublicKeyData as _, SerialNumber,
};
use ring::signature::{ECDSA_P384_SHA256_ASN1, UnparsedPublicKey};
use std::collections::BTreeMap;

/// tcg-dice-conceptual-message-wrapper.
const EVIDENCE: &str = "2.23.133.5.4.9";
const EVIDENCE_ARCS: &[u64] = &[2, 23, 133, 5, 4, 9];

/// A certificate of this level whose structure holds: it signs itself, and its claims name its own key. Whether
/// the evidence is genuine is not yet known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatPeer {
    /// What the evidence is.
    pub kind: Kind,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// What the evidence's report data must be: all 64 bytes.
    pub expected_report_data: [u8; 64],
    /// What the claims buffer says.
    pub claims: CompatClaims,
    /// The certificate's dates.
    pub validity: Validity,
}

/// A certificate that is none of this level. The peer is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompatFault {
    /// Not a certificate that is read.
    Certificate(X509Error),
    /// Not signed by its own key.
    Signature,
    /// No evidence; what an older certificate holds in its place.
    NoEvidence {
        /// Named, and not accepted: nothing in it says for what it was made.
        legacy: Option<Box<Legacy>>,
    },
    /// Evidence or claims that cannot be read.
    Encoding(EncodingFault),
    /// The claims are of another key.
    Key {
        /// The certificate's, by the claims' hash.
        expected: Vec<u8>,
        /// The claims'.
        got: Vec<u8>,
    },
    /// Outside the certificate's dates, in Unix seconds.
    Expired {
        /// The dates.
        expected: Validity,
        /// The moment.
        got: u64,
    },
}

impl fmt::Display for CompatFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| attestation::hex::Hex(bytes).to_string();
        match self {
            Self::Certificate(error) => write!(f, "peer's certificate: {error}"),
            Self::Signature => f.write_str("peer's certificate: not signed by its own key"),
            Self::NoEvidence { legacy: None } => {
                write!(f, "peer's certificate: expected evidence (extension {EVIDENCE}), got none")
            }
            Self::NoEvidence { legacy: Some(what) } => write!(
                f,
                "peer's certificate: expected evidence (extension {EVIDENCE}), got {what}"
            ),
            Self::Encoding(fault) => write!(f, "peer's certificate: {fault}"),
            Self::Key { expected, got } => write!(
                f,
                "pubkey-hash: expected {} of the certificate's key, got {}",
                hex(expected),
                hex(got)
            ),
            Self::Expired { expected, got } => write!(
                f,
                "peer's certificate: expected a time from {} to {}, got {got}",
                expected.not_before, expected.not_after
            ),
        }
    }
}

impl core::error::Error for CompatFault {}

impl From<EncodingFault> for CompatFault {
    fn from(fault: EncodingFault) -> Self {
        Self::Encoding(fault)
    }
}

impl CompatPeer {
    /// Reads a certificate, DER, and checks its structure at a moment in Unix seconds.
    ///
    /// # Errors
    /// Whatever does not hold first.
    pub fn read(der: &[u8], now: u64) -> Result<Self, CompatFault> {
        let older = || Legacy::find(der).map(Box::new);
        // Enclave-TLS's own are no certificates to a strict reader.
        let certificate = Certificate::parse(der).map_err(|error| match older() {
            Some(legacy) => CompatFault::NoEvidence { legacy: Some(legacy) },
            None => CompatFault::Certificate(error),
        })?;
        let evidence = certificate.extensions().find(|found| found.oid.to_string() == EVIDENCE);
        let Some(extension) = evidence else {
            return Err(CompatFault::NoEvidence { legacy: older() });
        };
        if !signs_itself(&certificate) {
            return Err(CompatFault::Signature);
        }
        let (kind, evidence, buffer) = decode_evidence(extension.value)?;
        let claims = decode_claims(buffer)?;
        let (algorithm, got) = &claims.pubkey_hash;
        let expected = algorithm.digest(certificate.spki);
        if expected != *got {
            return Err(CompatFault::Key { expected, got: got.clone() });
        }
        if !certificate.validity.contains(now) {
            return Err(CompatFault::Expired { expected: certificate.validity, got: now });
        }
        Ok(Self {
            kind,
            evidence: evidence.to_vec(),
            expected_report_data: report_data(buffer),
            claims,
            validity: certificate.validity,
        })
    }
}

/// rats-tls signs with P-256, Gramine and the SGX SDK with P-384 and still SHA-256.
fn signs_itself(certificate: &Certificate<'_>) -> bool {
    let key = certificate.key;
    if (key.algorithm, certificate.algorithm)
        == (Algorithm::EcdsaP384Sha384, Algorithm::EcdsaP256Sha256)
    {
        return certificate.issuer == certificate.subject
            && UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, key.bits)
                .verify(certificate.tbs, certificate.signature)
                .is_ok();
    }
    certificate.is_signed_by(&Ring, certificate.subject, key).is_ok()
}

/// Makes a key and a certificate as rats-tls does. `quote` makes evidence over 64 bytes of report data.
///
/// # Errors
/// No key, no certificate, or what `quote` says.
pub fn self_signed<E: From<IdentityError>>(
    custom: BTreeMap<String, Vec<u8>>,
    now: u64,
    quote: impl FnOnce(&[u8; 64]) -> Result<Vec<u8>, E>,
) -> Result<(KeyPair, rcgen::Certificate), E> {
    let fail = |error| E::from(IdentityError::Certificate(error));
    let key = KeyPair::generate().map_err(fail)?;
    let hash = HashAlgorithm::Sha256.digest(&key.subject_public_key_info());
    let pubkey_hash = (HashAlgorithm::Sha256, hash);
    let claims = encode_claims(&CompatClaims { pubkey_hash, nonce: None, custom });
    let evidence = quote(&report_data(&claims))?;
    let value = encode_evidence(Kind::Quote, &evidence, &claims);

    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from(1));
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.use_authority_key_identifier_extension = true;
    // Peers' clocks differ.
    let day = |seconds: u64| time::OffsetDateTime::from_unix_timestamp(seconds.cast_signed());
    let date = |seconds: u64| day(seconds).map_err(|_| fail(rcgen::Error::Time));
    parameters.not_before = date(now.saturating_sub(3600))?;
    parameters.not_after = date(now + 365 * 86_400)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Inclavare Containers");
    parameters.distinguished_name.push(DnType::CommonName, "RATS-TLS");
    let extension = CustomExtension::from_oid_content(EVIDENCE_ARCS, value);
    parameters.custom_extensions.push(extension);
    let certificate = parameters.self_signed(&key).map_err(fail)?;
    Ok((key, certificate))
}
