//! QE identity: which quoting enclave an issuer vouches for.
//!
//! Source: Intel, "SGX and TDX Provisioning Certification Service" API v4, "Get QE identity".

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::Deserialize;

use super::json::{JsonError, refuse_duplicate_keys};
use super::tcb_info::{date, dates, field, status};
use crate::tcb::TcbStatus;
use crate::time::Validity;

/// The largest document that is read.
const MAX_BYTES: usize = 256 << 10;

/// Which quoting enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QeIdentityId {
    /// The one that quotes SGX enclaves.
    Qe,
    /// The one that quotes trust domains.
    TdQe,
}

impl QeIdentityId {
    /// As the document spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qe => "QE",
            Self::TdQe => "TD_QE",
        }
    }
}

/// QE identity, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QeIdentity {
    /// Which quoting enclave.
    pub id: QeIdentityId,
    /// From issue date to next update.
    pub validity: Validity,
    /// Counts the issuer's reviews of all levels.
    pub tcb_evaluation_data_number: u32,
    /// MISCSELECT, under the mask.
    pub miscselect: u32,
    /// Which bits are compared.
    pub miscselect_mask: u32,
    /// ATTRIBUTES, under the mask.
    pub attributes: [u8; 16],
    /// Which bits are compared.
    pub attributes_mask: [u8; 16],
    /// Its signer.
    pub mrsigner: [u8; 32],
    /// Its product id.
    pub isvprodid: u16,
    /// Levels, best first.
    pub levels: Vec<QeTcbLevel>,
}

/// One patch level of a quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QeTcbLevel {
    /// Least ISVSVN.
    pub isvsvn: u16,
    /// When this was the newest level, in Unix seconds.
    pub date: u64,
    /// What it is worth.
    pub status: TcbStatus,
    /// Advisories that apply.
    pub advisories: Vec<String>,
}

/// The statuses that a document may give.
const STATUSES: &[TcbStatus] = &[
    TcbStatus::UpToDate,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];

impl QeIdentity {
    /// Reads the signed JSON.
    ///
    /// # Errors
    ///
    /// [`JsonError`].
    pub fn parse(json: &str) -> Result<Self, JsonError> {
        if json.len() > MAX_BYTES {
            return Err(JsonError::TooLong { limit: MAX_BYTES, got: json.len() });
        }
        refuse_duplicate_keys(json)?;
        let wire: Wire<'_> = serde_json::from_str(json)?;
        let id = match &*wire.id {
            "QE" => QeIdentityId::Qe,
            "TD_QE" => QeIdentityId::TdQe,
            _ => return Err(JsonError::Field { name: "id" }),
        };
        if !matches!((id, wire.version), (_, 2) | (QeIdentityId::TdQe, 3)) {
            return Err(JsonError::Version { got: wire.version });
        }
        let mut levels =
            wire.tcb_levels.into_iter().map(WireLevel::read).collect::<Result<Vec<_>, _>>()?;
        levels.sort_by_key(|level| Reverse(level.isvsvn));
        Ok(Self {
            id,
            validity: dates(&wire.issue_date, &wire.next_update)?,
            tcb_evaluation_data_number: wire.tcb_evaluation_data_number,
            // The bytes as they lie in a report.
            miscselect: u32::from_le_bytes(field("miscselect", &wire.miscselect)?),
            miscselect_mask: u32::from_le_bytes(field("miscselectMask", &wire.miscselect_mask)?),
            attributes: field("attributes", &wire.attributes)?,
            attributes_mask: field("attributesMask", &wire.attributes_mask)?,
            mrsigner: field("mrsigner", &wire.mrsigner)?,
            isvprodid: wire.isvprodid,
            levels,
        })
    }
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    version: u32,
    #[serde(borrow)]
    issue_date: Cow<'a, str>,
    #[serde(borrow)]
    next_update: Cow<'a, str>,
    tcb_evaluation_data_number: u32,
    #[serde(borrow)]
    miscselect: Cow<'a, str>,
    #[serde(borrow)]
    miscselect_mask: Cow<'a, str>,
    #[serde(borrow)]
    attributes: Cow<'a, str>,
    #[serde(borrow)]
    attributes_mask: Cow<'a, str>,
    #[serde(borrow)]
    mrsigner: Cow<'a, str>,
    isvprodid: u16,
    #[serde(borrow)]
    tcb_levels: Vec<WireLevel<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLevel<'a> {
    tcb: WireTcb,
    #[serde(borrow)]
    tcb_date: Cow<'a, str>,
    tcb_status: TcbStatus,
    #[serde(rename = "advisoryIDs", default)]
    advisories: Vec<String>,
}

#[derive(Deserialize)]
struct WireTcb {
    isvsvn: u16,
}

impl WireLevel<'_> {
    fn read(self) -> Result<QeTcbLevel, JsonError> {
        Ok(QeTcbLevel {
            isvsvn: self.tcb.isvsvn,
            date: date("tcbDate", &self.tcb_date)?,
            status: status(self.tcb_status, STATUSES)?,
            advisories: self.advisories,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collateral::Collateral;

    fn json() -> String {
        let collateral = include_bytes!("../../tests/vectors/tdx/tdx_quote_collateral.json");
        Collateral::from_json(collateral).expect("collateral").qe_identity
    }

    #[test]
    fn a_real_document_is_read() {
        let identity = QeIdentity::parse(&json()).expect("TD_QE");
        assert_eq!((identity.id, identity.isvprodid), (QeIdentityId::TdQe, 2));
        assert_eq!(identity.miscselect_mask, u32::MAX);
        assert_eq!(identity.attributes[0], 0x11);
        assert_eq!(identity.levels[0].isvsvn, 4);
    }

    #[test]
    fn other_forms_are_refused() {
        for (from, to) in [
            (r#""version":2"#, r#""version":1"#),
            (r#""version":2"#, r#""version":4"#),
            (r#""id":"TD_QE""#, r#""id":"QVE""#),
            (r#""miscselect":"00000000""#, r#""miscselect":"000000""#),
            (r#""isvprodid":2"#, r#""isvprodid":2,"isvprodid":3"#),
            ("UpToDate", "SWHardeningNeeded"),
        ] {
            assert!(json().contains(from));
            assert!(QeIdentity::parse(&json().replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
