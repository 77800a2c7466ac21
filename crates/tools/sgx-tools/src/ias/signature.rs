//! Whether the attestation service signed a stored report: RSA with SHA-256, by a certificate that the one given
//! CA issued. The dates are those of the report, since all of this is past.

use attestation::time::parse_rfc3339;
use attestation::x509::{PemError, chain};
use base64ct::{Base64, Encoding};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode, Error as DerError, asn1::ObjectIdentifier};

const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// Why a stored report is not the service's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    /// The signature is no base64.
    Base64,
    /// The certificates are no PEM, plain or URL-encoded.
    Pem(PemError),
    /// A certificate cannot be read.
    Certificate(DerError),
    /// Another algorithm than RSA with SHA-256.
    Algorithm { got: ObjectIdentifier },
    /// The CA did not issue the signer's certificate.
    Issuer,
    /// The signer did not sign these bytes.
    Report,
    /// The report has no time.
    Timestamp { got: String },
    /// A certificate was not valid at the report's time (Unix seconds).
    Validity { of: &'static str, from: u64, until: u64, at: u64 },
}

impl core::fmt::Display for SignatureError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Base64 => write!(f, "signature: expected base64"),
            Self::Pem(error) => write!(f, "certificates: {error}"),
            Self::Certificate(error) => write!(f, "certificates: {error}"),
            Self::Algorithm { got } => {
                write!(
                    f,
                    "certificates: algorithm: expected RSA with SHA-256 ({RSA_SHA256}), got {got}"
                )
            }
            Self::Issuer => write!(f, "certificates: the signer's was not issued by the given CA"),
            Self::Report => write!(f, "signature: not the signer's over this report"),
            Self::Timestamp { got } => write!(f, "timestamp: expected a date and time, got {got}"),
            Self::Validity { of, from, until, at } => {
                write!(f, "{of}: valid from {from} to {until}, the report is of {at}")
            }
        }
    }
}

impl core::error::Error for SignatureError {}

impl From<DerError> for SignatureError {
    fn from(error: DerError) -> Self {
        Self::Certificate(error)
    }
}

/// Checks it. `certificates` begins with the signer's; those after it are not used, since the CA is given.
pub(super) fn check(
    report: &[u8],
    timestamp: &str,
    signature: &[u8],
    certificates: &[u8],
    root_der: &[u8],
) -> Result<(), SignatureError> {
    let signature = core::str::from_utf8(signature).map_err(|_| SignatureError::Base64)?;
    let signature = Base64::decode_vec(signature.trim()).map_err(|_| SignatureError::Base64)?;
    let signer = chain(&url_decoded(certificates)).map_err(SignatureError::Pem)?;
    // A chain that was read has at least one.
    let signer = Certificate::from_der(&signer[0])?;
    let root = Certificate::from_der(root_der)?;

    let at = moment(timestamp)?;
    check_validity("signer's certificate", &signer, at)?;
    check_validity("root certificate", &root, at)?;
    if signer.signature_algorithm().oid != RSA_SHA256 {
        return Err(SignatureError::Algorithm { got: signer.signature_algorithm().oid });
    }
    let issued = signer.tbs_certificate().to_der()?;
    let by_ca = signer.signature().raw_bytes();
    if signer.tbs_certificate().issuer() != root.tbs_certificate().subject()
        || !verifies(&root, &issued, by_ca)
    {
        return Err(SignatureError::Issuer);
    }
    if verifies(&signer, report, &signature) { Ok(()) } else { Err(SignatureError::Report) }
}

fn verifies(by: &Certificate, message: &[u8], signature: &[u8]) -> bool {
    let key = by.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(message, signature).is_ok()
}

fn check_validity(
    of: &'static str,
    certificate: &Certificate,
    at: u64,
) -> Result<(), SignatureError> {
    let validity = certificate.tbs_certificate().validity();
    let from = validity.not_before.to_unix_duration().as_secs();
    let until = validity.not_after.to_unix_duration().as_secs();
    if (from..=until).contains(&at) {
        Ok(())
    } else {
        Err(SignatureError::Validity { of, from, until, at })
    }
}

/// Unix seconds. The service writes UTC with fractions and without a zone.
fn moment(timestamp: &str) -> Result<u64, SignatureError> {
    let wrong = || SignatureError::Timestamp { got: timestamp.to_owned() };
    let seconds = timestamp.get(..19).ok_or_else(wrong)?;
    parse_rfc3339(&format!("{seconds}Z")).map_err(|_| wrong())
}

/// The header has the certificates URL-encoded; a file may have them plain. A `+` is one, not a space: PEM has
/// no other.
fn url_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &[u8] = include_bytes!("../../tests/ias/report.json");
    const SIGNATURE: &[u8] = include_bytes!("../../tests/ias/signature");
    const CERTIFICATES: &[u8] = include_bytes!("../../tests/ias/certificates");
    const AT: &str = "2027-01-02T03:04:05.678901";

    fn root() -> Vec<u8> {
        chain(include_bytes!("../../tests/ias/root.pem")).expect("PEM").remove(0)
    }

    fn verdict(report: &[u8], at: &str, signature: &[u8]) -> Result<(), SignatureError> {
        check(report, at, signature, CERTIFICATES, &root())
    }

    #[test]
    fn what_the_service_signed_is_taken() {
        assert_eq!(verdict(REPORT, AT, SIGNATURE), Ok(()));
        let plain = url_decoded(CERTIFICATES);
        assert!(plain.starts_with(b"-----BEGIN CERTIFICATE-----\n"));
        assert_eq!(check(REPORT, AT, SIGNATURE, &plain, &root()), Ok(()));
    }

    #[test]
    fn one_changed_byte_is_refused() {
        for at in [0, REPORT.len() / 2, REPORT.len() - 1] {
            let mut report = REPORT.to_vec();
            report[at] ^= 1;
            assert_eq!(verdict(&report, AT, SIGNATURE), Err(SignatureError::Report));
        }
        let mut signature = SIGNATURE.to_vec();
        signature[10] = if signature[10] == b'A' { b'B' } else { b'A' };
        assert_eq!(verdict(REPORT, AT, &signature), Err(SignatureError::Report));
        assert_eq!(verdict(REPORT, AT, b"?"), Err(SignatureError::Base64));
        assert_eq!(verdict(REPORT, AT, b""), Err(SignatureError::Report));
    }

    #[test]
    fn only_the_given_ca_counts() {
        // The signer's own certificate is no CA of its.
        let signer = chain(&url_decoded(CERTIFICATES)).expect("PEM").remove(0);
        let refusal = check(REPORT, AT, SIGNATURE, CERTIFICATES, &signer);
        assert_eq!(refusal, Err(SignatureError::Issuer));
        // Nor may the CA be the signer.
        let pem = include_bytes!("../../tests/ias/root.pem");
        let refusal = check(REPORT, AT, SIGNATURE, pem, &root());
        assert_eq!(refusal, Err(SignatureError::Report));
    }

    #[test]
    fn dates_are_compared_with_the_report() {
        for at in ["2020-03-20T10:07:26.711023", "2099-01-01T00:00:00"] {
            let refusal = verdict(REPORT, at, SIGNATURE);
            assert!(matches!(refusal, Err(SignatureError::Validity { .. })), "{refusal:?}");
        }
        for at in ["", "yesterday", "2027-13-02T03:04:05.678901"] {
            let got = at.to_owned();
            assert_eq!(verdict(REPORT, at, SIGNATURE), Err(SignatureError::Timestamp { got }));
        }
    }
}
