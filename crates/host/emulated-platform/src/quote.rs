//! The bytes of a DCAP quote, version 3.
//!
//! Source: Intel SGX ECDSA QuoteLibReference, "Quote Format", version 3. Integers are little-endian.
//!
//! | offset | length | |
//! |---|---|---|
//! | 0 | 48 | header |
//! | 48 | 384 | report body of the enclave; the attestation key signs up to here |
//! | 432 | 4 | length of what follows |
//! | 436 | 64 | signature by the attestation key |
//! | 500 | 64 | attestation key |
//! | 564 | 384 | report body of the quoting enclave, which holds a digest of the attestation key |
//! | 948 | 64 | signature over it by the PCK |
//! | 1012 | 2 + 32 | authentication data, with its length |
//! | 1046 | 2 + 4 + n | certification data: type 5, length, the PCK chain in PEM |

use crate::key::Key;
use sgx::report::ReportBody;
use sha2::{Digest, Sha256};

/// Verifiers take no other. It names the format's author, not who made this quote.
const QE_VENDOR_ID: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
const VERSION: u16 = 3;
const ECDSA_P256: u16 = 2;
const PCK_CHAIN: u16 = 5;
/// Verifiers ask for exactly 32 bytes.
const AUTHENTICATION_DATA: [u8; 32] = *b"EMULATED QE AUTHENTICATION DATA\0";
/// Header, report body.
const SIGNED_LENGTH: usize = 48 + ReportBody::SIZE;

/// What is the same in all quotes of a platform.
#[derive(Clone)]
pub(crate) struct Template {
    pub(crate) qe_svn: u16,
    pub(crate) pce_svn: u16,
    pub(crate) qe_id: [u8; 16],
    pub(crate) qe_report: ReportBody,
    pub(crate) qe_report_signature: [u8; 64],
    pub(crate) attestation_key: [u8; 64],
    /// PEM: leaf, CA, root.
    pub(crate) chain: String,
}

/// How the quoting enclave vouches for its attestation key.
pub(crate) fn qe_report_data(attestation_key: &Key) -> [u8; 64] {
    let digest = Sha256::new()
        .chain_update(attestation_key.public())
        .chain_update(AUTHENTICATION_DATA)
        .finalize();
    let mut data = [0; 64];
    data[..32].copy_from_slice(&digest);
    data
}

impl Template {
    /// Header and report body.
    pub(crate) fn signed_part(&self, body: &ReportBody) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(ECDSA_P256.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.qe_svn.to_le_bytes());
        bytes.extend(self.pce_svn.to_le_bytes());
        bytes.extend(QE_VENDOR_ID);
        // User data: the platform's QE id and four bytes without a meaning.
        bytes.extend(self.qe_id);
        bytes.extend([0; 4]);
        bytes.extend(body.to_bytes());
        bytes
    }

    /// The quote, from its signed part and the signature over it.
    pub(crate) fn complete(&self, mut quote: Vec<u8>, signature: &[u8; 64]) -> Vec<u8> {
        quote.extend(length(self.signature_data_size()));
        quote.extend(signature);
        quote.extend(self.attestation_key);
        quote.extend(self.qe_report.to_bytes());
        quote.extend(self.qe_report_signature);
        quote.extend((AUTHENTICATION_DATA.len() as u16).to_le_bytes());
        quote.extend(AUTHENTICATION_DATA);
        quote.extend(PCK_CHAIN.to_le_bytes());
        quote.extend(length(self.chain.len()));
        quote.extend(self.chain.as_bytes());
        quote
    }

    /// Length of a quote in bytes.
    pub(crate) fn size(&self) -> usize {
        SIGNED_LENGTH + 4 + self.signature_data_size()
    }

    fn signature_data_size(&self) -> usize {
        64 + 64 + ReportBody::SIZE + 64 + 2 + AUTHENTICATION_DATA.len() + 2 + 4 + self.chain.len()
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a chain of three certificates has a few thousand bytes")
        .to_le_bytes()
}
