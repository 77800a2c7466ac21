//! Collateral: what an issuer publishes about its platforms, as one JSON document; bytes from outside,
//! read and not yet believed.
//!
//! The document is the one that the crate dcap-qvl calls QuoteCollateralV3: PEM chains as text, signed
//! JSON as text byte for byte as the issuer signed it, everything else hex.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

mod json;
mod qe_identity;
mod signed;
mod tcb_info;

pub use json::JsonError;
pub use qe_identity::{QeIdentity, QeIdentityId, QeTcbLevel};
pub use signed::{Signed, SignedMember};
pub use tcb_info::{TcbInfo, TcbInfoId, TcbLevel, TdxModule, TdxModuleIdentity, TdxModuleTcbLevel};

/// The largest document that is read; a CRL of 2 MiB is 4 MiB of hex.
pub const MAX_COLLATERAL_BYTES: usize = 8 << 20;

/// Collateral for one platform model, TEE and CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collateral {
    /// PEM: PCK CA and root.
    pub pck_crl_issuer_chain: String,
    /// DER of the root's CRL.
    #[serde(with = "hex_bytes")]
    pub root_ca_crl: Vec<u8>,
    /// DER of the PCK CA's CRL.
    #[serde(with = "hex_bytes")]
    pub pck_crl: Vec<u8>,
    /// PEM: TCB signer and root.
    pub tcb_info_issuer_chain: String,
    /// JSON, byte for byte as signed.
    pub tcb_info: String,
    /// r, s.
    #[serde(with = "hex_bytes")]
    pub tcb_info_signature: Vec<u8>,
    /// PEM: TCB signer and root.
    pub qe_identity_issuer_chain: String,
    /// JSON, byte for byte as signed.
    pub qe_identity: String,
    /// r, s.
    #[serde(with = "hex_bytes")]
    pub qe_identity_signature: Vec<u8>,
    /// PEM: PCK certificate, PCK CA, root. The quote's own chain, where it has one; carried and never
    /// read by this verifier, which takes the quote's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pck_certificate_chain: Option<String>,
}

/// A document that is not collateral.
#[derive(Debug)]
pub enum CollateralError {
    /// Larger than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Not the JSON of a collateral document: the error names line, column and field.
    Json(serde_json::Error),
}

impl fmt::Display for CollateralError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "collateral: expected at most {MAX_COLLATERAL_BYTES} bytes, got {got}")
            }
            Self::Json(error) => write!(f, "collateral: {error}"),
        }
    }
}

impl core::error::Error for CollateralError {}

impl Collateral {
    /// Reads the JSON document. A key that comes twice or is not known is an error.
    ///
    /// # Errors
    ///
    /// [`CollateralError`].
    pub fn from_json(json: &[u8]) -> Result<Self, CollateralError> {
        if json.len() > MAX_COLLATERAL_BYTES {
            return Err(CollateralError::TooLong { got: json.len() });
        }
        serde_json::from_slice(json).map_err(CollateralError::Json)
    }

    /// Writes the JSON document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and byte strings always serialise")
    }
}

mod hex_bytes {
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&crate::hex::Hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = alloc::borrow::Cow::<'de, str>::deserialize(from)?;
        crate::hex::vec(&text).map_err(D::Error::custom)
    }
}
