//! X.509 certificates and CRLs, as far as attestation needs them; bytes from outside, read and not yet
//! believed.
//!
//! The crate `der` enforces DER; this module knows the few shapes that the issuers of attestation
//! certificates use and refuses the rest: a critical extension it does not understand, an extension that
//! comes twice, a CRL without a next update. It holds no clock and no trust: [`Certificate::is_signed_by`]
//! checks one signature, and `verify` composes chains. Names are compared byte for byte.

use core::fmt;

mod certificate;
mod crl;
mod pck;
mod pem;
mod read;

pub use certificate::{BasicConstraints, Certificate, Extension, KeyUsage, common_name};
pub use crl::{Crl, Serial, SignedCrl};
pub use pck::{PckExtension, SgxType};
pub use pem::{MAX_CHAIN, PemError, chain, one};

use crate::crypto::Algorithm;

/// Object identifiers.
pub(crate) mod oid {
    use der::asn1::ObjectIdentifier as Oid;

    pub(crate) const EC_PUBLIC_KEY: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
    pub(crate) const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
    pub(crate) const P384: Oid = Oid::new_unwrap("1.3.132.0.34");
    pub(crate) const RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
    pub(crate) const ECDSA_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
    pub(crate) const ECDSA_SHA384: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");
    pub(crate) const RSA_PSS: Oid = Oid::new_unwrap("1.2.840.113549.1.1.10");
    pub(crate) const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
    pub(crate) const BASIC_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.19");
    pub(crate) const KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.15");
    pub(crate) const CRL_NUMBER: Oid = Oid::new_unwrap("2.5.29.20");
    pub(crate) const AUTHORITY_KEY_IDENTIFIER: Oid = Oid::new_unwrap("2.5.29.35");
    pub(crate) const ISSUING_DISTRIBUTION_POINT: Oid = Oid::new_unwrap("2.5.29.28");
    pub(crate) const SGX_EXTENSION: Oid = Oid::new_unwrap("1.2.840.113741.1.13.1");
}

/// Bytes that are not the certificate or CRL they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum X509Error {
    /// More bytes than are read.
    TooLong {
        /// The most that is read.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Not DER, or not of the shape of RFC 5280.
    Der(der::Error),
    /// Another version than v3 for a certificate, v2 for a CRL.
    Version,
    /// The signature algorithm inside the signed part is not the one outside.
    AlgorithmMismatch,
    /// A signature or key algorithm that is not one of [`Algorithm`].
    Algorithm(der::asn1::ObjectIdentifier),
    /// A critical extension that is not understood.
    Critical(der::asn1::ObjectIdentifier),
    /// An extension that comes twice.
    Duplicate(der::asn1::ObjectIdentifier),
    /// A serial number longer than 20 bytes, or empty.
    Serial {
        /// Its length in bytes.
        got: usize,
    },
    /// A part that must be there and is not.
    Missing(&'static str),
    /// A field whose length or value is not the one its format says.
    Field {
        /// Its name.
        name: &'static str,
    },
}

impl From<der::Error> for X509Error {
    fn from(error: der::Error) -> Self {
        Self::Der(error)
    }
}

impl fmt::Display for X509Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, got } => write!(f, "expected at most {limit} bytes, got {got}"),
            Self::Der(error) => write!(f, "not the expected DER: {error}"),
            Self::Version => f.write_str("expected a v3 certificate or a v2 CRL"),
            Self::AlgorithmMismatch => {
                f.write_str("signature algorithms inside and outside of the signed part differ")
            }
            Self::Algorithm(oid) => write!(f, "unknown algorithm {oid}"),
            Self::Critical(oid) => write!(f, "unknown critical extension {oid}"),
            Self::Duplicate(oid) => write!(f, "extension {oid} comes twice"),
            Self::Serial { got } => {
                write!(f, "serial number: expected 1 to 20 bytes, got {got}")
            }
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Field { name } => write!(f, "{name} is not of its length or value"),
        }
    }
}

impl core::error::Error for X509Error {}

/// A public key as a certificate carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey<'a> {
    /// What the key can verify.
    pub algorithm: Algorithm,
    /// The bits: a point, or a DER RSAPublicKey.
    pub bits: &'a [u8],
}
