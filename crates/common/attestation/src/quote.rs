//! DCAP quotes: SGX versions 3 and 4, TDX versions 4 and 5, read and not yet believed.
//!
//! Source: Intel, "SGX ECDSA Quote Library Reference DCAP API", appendix "Quote Format", and "TDX DCAP
//! Quoting Library API", appendix "Quote Format"; all integers little-endian.
//!
//! Parsing is total and allocates nothing. It guarantees that every length fits and that nothing but zero
//! bytes follows the quote; it says nothing about signatures. A quote's bytes are no unique name for it:
//! key caches, logs and replay checks by [`Quote::signed`].

use core::fmt;

use crate::bytes::{Reader, Truncated};

mod signature;
mod td_report;

pub use sgx::ReportBody;
pub use signature::{CertificationData, SignatureData};
pub use td_report::{TdReport, TdReport15, TdReport15Ex};

/// The longest quote that is read. Real ones are below 8 KiB.
pub const MAX_QUOTE_BYTES: usize = 64 << 10;

/// Vendor id of Intel's quoting enclaves, 939a7233-f79c-4ca9-940a-0db3957f0607.
pub const INTEL_QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Attestation key type: ECDSA with P-256.
pub const ECDSA_P256: u16 = 2;

const HEADER_BYTES: usize = 48;
const SGX_BODY_BYTES: usize = 384;

/// The trusted execution environment that a quote speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteTee {
    /// An SGX enclave, TEE type 0.
    Sgx,
    /// A TDX trust domain, TEE type 0x81.
    Tdx,
}

/// The first 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the format: 3, 4 or 5.
    pub version: u16,
    /// Type of the attestation key: 2 is ECDSA P-256.
    pub attestation_key_type: u16,
    /// The TEE.
    pub tee: QuoteTee,
    /// Bytes 8 to 12: QESVN and PCESVN in version 3, reserved later. Informative: the certified numbers
    /// are in the quoting enclave's report and the PCK certificate.
    pub svns: [u8; 4],
    /// Vendor of the quoting enclave.
    pub qe_vendor_id: [u8; 16],
    /// For the quoting enclave's owner; Intel puts the platform's QE id there.
    pub user_data: [u8; 20],
}

/// What is attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives per verification; a box would need the heap"
)]
pub enum Body {
    /// An enclave's report body.
    Sgx(ReportBody),
    /// A trust domain's report.
    Tdx(TdReport),
}

/// A quote, read.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// Its header.
    pub header: Header,
    /// What it attests.
    pub body: Body,
    /// Header and body: what the attestation key signed, and the quote's only unique name.
    pub signed: &'a [u8],
    /// Signatures and certificates.
    pub signature: SignatureData<'a>,
    /// Zero bytes after the end, which some platforms append.
    pub padding: usize,
}

/// Bytes that are not a quote this verifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteError {
    /// More than [`MAX_QUOTE_BYTES`].
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Too short for a field.
    Truncated(Truncated),
    /// A version of the format that is not known, or not for this TEE.
    Version {
        /// What came.
        got: u16,
    },
    /// A TEE type that is not known.
    Tee {
        /// What came.
        got: u32,
    },
    /// An attestation key that is not ECDSA P-256.
    KeyType {
        /// What came.
        got: u16,
    },
    /// A body type of version 5 that is not known, or not for this TEE.
    BodyType {
        /// What came.
        got: u16,
    },
    /// A body of version 5 whose length is not that of its type.
    BodyLength {
        /// Expected, in bytes.
        expected: usize,
        /// What came, in bytes.
        got: u32,
    },
    /// Certification data of version 4 or 5 that is not a quoting enclave's report (type 6).
    OuterCertification {
        /// What came.
        got: u16,
    },
    /// Bytes inside a length that nothing reads.
    Unread {
        /// Where they begin.
        offset: usize,
        /// How many.
        bytes: usize,
    },
    /// A byte after the end that is not zero.
    Trailing {
        /// Where.
        offset: usize,
        /// Its value.
        got: u8,
    },
}

impl From<Truncated> for QuoteError {
    fn from(error: Truncated) -> Self {
        Self::Truncated(error)
    }
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "quote: expected at most {MAX_QUOTE_BYTES} bytes, got {got}")
            }
            Self::Truncated(error) => write!(f, "quote: {error}"),
            Self::Version { got } => {
                write!(f, "version: expected 3 or 4 for SGX, 4 or 5 for TDX, got {got}")
            }
            Self::Tee { got } => write!(f, "tee_type: expected 0 or 0x81, got {got:#x}"),
            Self::KeyType { got } => {
                write!(f, "attestation_key_type: expected {ECDSA_P256}, got {got}")
            }
            Self::BodyType { got } => write!(f, "body type: expected 2, 3 or 4, got {got}"),
            Self::BodyLength { expected, got } => {
                write!(f, "body length: expected {expected}, got {got}")
            }
            Self::OuterCertification { got } => {
                write!(f, "outer certification data type: expected 6, got {got}")
            }
            Self::Unread { offset, bytes } => {
                write!(f, "signature data: {bytes} bytes at offset {offset} belong to no field")
            }
            Self::Trailing { offset, got } => {
                write!(f, "after the quote, at offset {offset}: expected zero, got {got:#04x}")
            }
        }
    }
}

impl core::error::Error for QuoteError {}

impl<'a> Quote<'a> {
    /// Reads a quote.
    ///
    /// # Errors
    ///
    /// [`QuoteError`], which names the field.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        if bytes.len() > MAX_QUOTE_BYTES {
            return Err(QuoteError::TooLong { got: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let header = Header::parse(&mut reader)?;
        let body = Body::parse(&header, &mut reader)?;
        let signed = &bytes[..reader.offset()];
        let len = reader.u32()?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let signature = SignatureData::parse(header.version, reader.nested(len)?)?;
        let padding = reader.rest();
        if let Some(at) = padding.iter().position(|&byte| byte != 0) {
            return Err(QuoteError::Trailing { offset: reader.offset() + at, got: padding[at] });
        }
        Ok(Self { header, body, signed, signature, padding: padding.len() })
    }

    /// What the report binds the evidence to.
    #[must_use]
    pub const fn report_data(&self) -> &[u8; 64] {
        match &self.body {
            Body::Sgx(report) => &report.reportdata,
            Body::Tdx(report) => &report.report_data,
        }
    }
}

impl Header {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, QuoteError> {
        let (version, attestation_key_type) = (reader.u16()?, reader.u16()?);
        let tee = match reader.u32()? {
            0 => QuoteTee::Sgx,
            0x81 => QuoteTee::Tdx,
            got => return Err(QuoteError::Tee { got }),
        };
        if !matches!((tee, version), (QuoteTee::Sgx, 3 | 4) | (QuoteTee::Tdx, 4 | 5)) {
            return Err(QuoteError::Version { got: version });
        }
        // The signature data of another key type has another form.
        if attestation_key_type != ECDSA_P256 {
            return Err(QuoteError::KeyType { got: attestation_key_type });
        }
        let svns = reader.array()?;
        let (qe_vendor_id, user_data) = (reader.array()?, reader.array()?);
        debug_assert_eq!(reader.offset(), HEADER_BYTES);
        Ok(Self { version, attestation_key_type, tee, svns, qe_vendor_id, user_data })
    }
}

impl Body {
    fn parse(header: &Header, reader: &mut Reader<'_>) -> Result<Self, QuoteError> {
        match (header.tee, header.version) {
            (QuoteTee::Sgx, _) => {
                Ok(Self::Sgx(ReportBody::from_bytes(&reader.array::<SGX_BODY_BYTES>()?)))
            }
            (QuoteTee::Tdx, 5) => {
                let (body_type, len) = (reader.u16()?, reader.u32()?);
                let expected = td_report::body_bytes(body_type)
                    .ok_or(QuoteError::BodyType { got: body_type })?;
                if len as usize != expected {
                    return Err(QuoteError::BodyLength { expected, got: len });
                }
                Ok(Self::Tdx(TdReport::parse(body_type, reader)?))
            }
            (QuoteTee::Tdx, _) => Ok(Self::Tdx(TdReport::parse(td_report::TDX_10, reader)?)),
        }
    }
}

#[cfg(test)]
mod tests;
