//! The second half of a quote: signatures, the quoting enclave's report, certificates.

use super::QuoteError;
use crate::bytes::Reader;

/// Certification data type: a PEM chain of PCK certificate, its CA and the root.
const PCK_CERTIFICATE_CHAIN: u16 = 5;
/// Certification data type: a quoting enclave's report and what certifies it; versions 4 and 5.
const QE_REPORT: u16 = 6;

/// Signature data of an ECDSA P-256 quote; the same content in all versions.
#[derive(Clone, Copy, Debug)]
pub struct SignatureData<'a> {
    /// Signature of header and body by the attestation key: r, s.
    pub signature: [u8; 64],
    /// The attestation key: x, y.
    pub attestation_key: [u8; 64],
    /// The quoting enclave's report body, 384 bytes.
    pub qe_report: &'a [u8],
    /// Signature of `qe_report` by the PCK: r, s.
    pub qe_report_signature: [u8; 64],
    /// Authentication data of the quoting enclave: hashed into its report data after the key.
    pub qe_auth_data: &'a [u8],
    /// What certifies the PCK.
    pub certification: CertificationData<'a>,
}

/// What certifies the key that signed the quoting enclave's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificationData<'a> {
    /// Type 5: PEM of the PCK certificate, its CA and the root.
    PckChain(&'a [u8]),
    /// Another type. None is enough for a verifier that asks nobody: 1 to 3 name the platform by its
    /// PPID, 4 is a certificate without its CA, 7 is a platform manifest.
    Other {
        /// The type.
        kind: u16,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> SignatureData<'a> {
    pub(super) fn parse(version: u16, mut reader: Reader<'a>) -> Result<Self, QuoteError> {
        let (signature, attestation_key) = (reader.array()?, reader.array()?);
        let mut reader = if version == 3 { reader } else { unwrap_qe_report(reader)? };
        let qe_report = reader.take(super::SGX_BODY_BYTES)?;
        let qe_report_signature = reader.array()?;
        let qe_auth_data = reader.counted_u16()?;
        let (kind, bytes) = certification(&mut reader)?;
        let certification = match kind {
            PCK_CERTIFICATE_CHAIN => CertificationData::PckChain(bytes.rest()),
            kind => CertificationData::Other { kind, bytes: bytes.rest() },
        };
        all_read(&reader)?;
        Ok(Self {
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_auth_data,
            certification,
        })
    }
}

/// Versions 4 and 5 wrap the quoting enclave's report into certification data of its own type.
fn unwrap_qe_report(mut reader: Reader<'_>) -> Result<Reader<'_>, QuoteError> {
    let (kind, inner) = certification(&mut reader)?;
    all_read(&reader)?;
    if kind != QE_REPORT {
        return Err(QuoteError::OuterCertification { got: kind });
    }
    Ok(inner)
}

/// Type and bytes: u16, u32 length, bytes.
fn certification<'a>(reader: &mut Reader<'a>) -> Result<(u16, Reader<'a>), QuoteError> {
    let (kind, len) = (reader.u16()?, reader.u32()?);
    Ok((kind, reader.nested(usize::try_from(len).unwrap_or(usize::MAX))?))
}

fn all_read(reader: &Reader<'_>) -> Result<(), QuoteError> {
    match reader.rest().len() {
        0 => Ok(()),
        bytes => Err(QuoteError::Unread { offset: reader.offset(), bytes }),
    }
}
