//! Endorsements as one JSON document, for files and caches: what [`crate::Collateral`] is to quotes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::genuine::Endorsements;
use crate::collateral::hex_bytes;

/// The longest document that is read: two certificates, and a CRL of 2 MiB as hex.
pub const MAX_ENDORSEMENTS_BYTES: usize = 5 << 20;

/// Certificates and CRL, DER each, hex in the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsementsDocument {
    /// VCEK or VLEK.
    #[serde(with = "hex_bytes")]
    pub endorsement_key: Vec<u8>,
    /// ASK or ASVK.
    #[serde(with = "hex_bytes")]
    pub authority: Vec<u8>,
    /// The root's CRL.
    #[serde(with = "hex_bytes")]
    pub root_ca_crl: Vec<u8>,
}

/// Why bytes are not such a document.
#[derive(Debug)]
pub enum EndorsementsError {
    /// Longer than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Not the JSON of one: the error names line, column and field.
    Json(serde_json::Error),
}

impl fmt::Display for EndorsementsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(
                    f,
                    "endorsements: expected at most {MAX_ENDORSEMENTS_BYTES} bytes, got {got}"
                )
            }
            Self::Json(error) => write!(f, "endorsements: {error}"),
        }
    }
}

impl core::error::Error for EndorsementsError {}

impl EndorsementsDocument {
    /// Reads the document. A key that comes twice or is not known is an error.
    ///
    /// # Errors
    /// [`EndorsementsError`].
    pub fn from_json(json: &[u8]) -> Result<Self, EndorsementsError> {
        if json.len() > MAX_ENDORSEMENTS_BYTES {
            return Err(EndorsementsError::TooLong { got: json.len() });
        }
        serde_json::from_slice(json).map_err(EndorsementsError::Json)
    }

    /// Writes the document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("byte strings always serialise")
    }

    /// To be examined.
    #[must_use]
    pub fn endorsements(&self) -> Endorsements<'_> {
        Endorsements {
            key: &self.endorsement_key,
            authority: &self.authority,
            crl: &self.root_ca_crl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_goes_there_and_back_and_nothing_else_is_read() {
        let document = EndorsementsDocument {
            endorsement_key: alloc::vec![1, 2],
            authority: alloc::vec![3],
            root_ca_crl: Vec::new(),
        };
        let json = document.to_json();
        assert_eq!(json, r#"{"endorsement_key":"0102","authority":"03","root_ca_crl":""}"#);
        assert_eq!(EndorsementsDocument::from_json(json.as_bytes()).expect("one"), document);
        for bad in [
            r#"{"endorsement_key":"0102","authority":"03"}"#,
            r#"{"endorsement_key":"0102","authority":"03","root_ca_crl":"","root":""}"#,
            r#"{"endorsement_key":"0102","authority":"03","authority":"04","root_ca_crl":""}"#,
            r#"{"endorsement_key":"012","authority":"03","root_ca_crl":""}"#,
            "",
        ] {
            assert!(EndorsementsDocument::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
