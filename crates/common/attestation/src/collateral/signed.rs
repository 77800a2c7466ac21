//! The envelope in which an issuer's service sends a signed document: the document as one member of a JSON
//! object, its signature as another.
//!
//! The signature covers the bytes of the member as they came. They are cut out, never written again: a
//! writer that orders or spaces differently breaks the signature.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{JsonError, refuse_duplicate_keys};

/// The largest envelope that is read.
const MAX_BYTES: usize = 2 << 20;

/// Which document an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedMember {
    /// `tcbInfo`.
    TcbInfo,
    /// `enclaveIdentity`.
    EnclaveIdentity,
}

/// A document and its signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The JSON, byte for byte as it came.
    pub document: String,
    /// r, s; 64 bytes.
    pub signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    tcb_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    enclave_identity: Option<&'a RawValue>,
    signature: String,
}

impl Signed {
    /// Takes the envelope apart.
    ///
    /// # Errors
    ///
    /// [`JsonError`]: another form, another document, a signature that is not 64 bytes of hex.
    pub fn parse(json: &str, member: SignedMember) -> Result<Self, JsonError> {
        if json.len() > MAX_BYTES {
            return Err(JsonError::TooLong { limit: MAX_BYTES, got: json.len() });
        }
        refuse_duplicate_keys(json)?;
        let envelope: Envelope<'_> = serde_json::from_str(json)?;
        let (document, name) = match (member, envelope.tcb_info, envelope.enclave_identity) {
            (SignedMember::TcbInfo, document, None) => (document, "tcbInfo"),
            (SignedMember::EnclaveIdentity, None, document) => (document, "enclaveIdentity"),
            _ => (None, "document"),
        };
        let document = document.ok_or(JsonError::Field { name })?.get().to_owned();
        let signature = crate::hex::array::<64>(&envelope.signature)
            .map_err(|_| JsonError::Field { name: "signature" })?;
        Ok(Self { document, signature: signature.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_cut_out_byte_for_byte() {
        let signature = "ab".repeat(64);
        let json =
            alloc::format!(r#"{{"tcbInfo": {{ "b" : 1,"a":[ ] }},"signature":"{signature}"}}"#);
        let signed = Signed::parse(&json, SignedMember::TcbInfo).expect("an envelope");
        assert_eq!(signed.document, r#"{ "b" : 1,"a":[ ] }"#);
        assert_eq!(signed.signature, [0xab; 64]);
        assert!(Signed::parse(&json, SignedMember::EnclaveIdentity).is_err());
        let twice = json.replacen('{', r#"{"tcbInfo":{},"#, 1);
        assert!(matches!(
            Signed::parse(&twice, SignedMember::TcbInfo),
            Err(JsonError::DuplicateKey { .. })
        ));
        let short = json.replace("abab\"}", "\"}");
        assert!(Signed::parse(&short, SignedMember::TcbInfo).is_err());
    }
}
