//! TCB info: which patch levels a platform model knows, and what each is worth.
//!
//! Source: Intel, "SGX and TDX Provisioning Certification Service" API v4, "Get TCB Info". Version 3 of
//! the document only, the one of that API.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::json::{JsonError, refuse_duplicate_keys};
use crate::hex;
use crate::tcb::TcbStatus;
use crate::time::{Validity, parse_rfc3339};

mod wire;

/// The largest document that is read.
const MAX_BYTES: usize = 1 << 20;

/// For which TEE a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbInfoId {
    /// SGX.
    Sgx,
    /// TDX.
    Tdx,
}

impl TcbInfoId {
    /// As the document spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sgx => "SGX",
            Self::Tdx => "TDX",
        }
    }
}

/// TCB info, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbInfo {
    /// For which TEE.
    pub id: TcbInfoId,
    /// From issue date to next update.
    pub validity: Validity,
    /// Platform model.
    pub fmspc: [u8; 6],
    /// Provisioning certification enclave.
    pub pceid: [u8; 2],
    /// Counts the issuer's reviews of all levels; a higher one knows more.
    pub tcb_evaluation_data_number: u32,
    /// Levels, best first.
    pub levels: Vec<TcbLevel>,
    /// The TDX module, where its version is 0; always there for TDX.
    pub tdx_module: Option<TdxModule>,
    /// The TDX modules of other versions.
    pub tdx_module_identities: Vec<TdxModuleIdentity>,
}

/// One patch level of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbLevel {
    /// Least component SVNs of the processor.
    pub sgx_components: [u8; 16],
    /// Least component SVNs of the TDX module; always there for TDX.
    pub tdx_components: Option<[u8; 16]>,
    /// Least PCESVN.
    pub pcesvn: u16,
    /// When this was the newest level, in Unix seconds.
    pub date: u64,
    /// What it is worth.
    pub status: TcbStatus,
    /// Advisories that apply.
    pub advisories: Vec<String>,
}

/// A TDX module: who signed it and with which attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdxModule {
    /// MRSIGNERSEAM.
    pub mrsigner: [u8; 48],
    /// SEAMATTRIBUTES, under the mask.
    pub attributes: [u8; 8],
    /// Which bits are compared.
    pub attributes_mask: [u8; 8],
}

/// A TDX module of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdxModuleIdentity {
    /// The version.
    pub version: u8,
    /// Signer and attributes.
    pub module: TdxModule,
    /// Levels, best first.
    pub levels: Vec<TdxModuleTcbLevel>,
}

/// One patch level of a TDX module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdxModuleTcbLevel {
    /// Least ISVSVN.
    pub isvsvn: u8,
    /// When this was the newest level, in Unix seconds.
    pub date: u64,
    /// What it is worth.
    pub status: TcbStatus,
    /// Advisories that apply.
    pub advisories: Vec<String>,
}

impl TcbInfo {
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
        let wire: wire::TcbInfo<'_> = serde_json::from_str(json)?;
        if wire.version != 3 {
            return Err(JsonError::Version { got: wire.version });
        }
        // 0 is the only rule for comparing SVNs that there is: component by component.
        if wire.tcb_type != 0 {
            return Err(JsonError::Field { name: "tcbType" });
        }
        let id = match &*wire.id {
            "SGX" => TcbInfoId::Sgx,
            "TDX" => TcbInfoId::Tdx,
            _ => return Err(JsonError::Field { name: "id" }),
        };
        let mut levels = wire
            .tcb_levels
            .into_iter()
            .map(|level| level.read(id))
            .collect::<Result<Vec<_>, _>>()?;
        // Best first is a property of the levels, not of the order in which they were written.
        levels.sort_by_key(|level| Reverse(level.order()));
        let tdx_module = wire.tdx_module.map(|module| module.read()).transpose()?;
        if (id == TcbInfoId::Tdx) != tdx_module.is_some() {
            return Err(JsonError::Field { name: "tdxModule" });
        }
        Ok(Self {
            id,
            validity: dates(&wire.issue_date, &wire.next_update)?,
            fmspc: field("fmspc", &wire.fmspc)?,
            pceid: field("pceId", &wire.pce_id)?,
            tcb_evaluation_data_number: wire.tcb_evaluation_data_number,
            levels,
            tdx_module,
            tdx_module_identities: module_identities(wire.tdx_module_identities)?,
        })
    }
}

impl TcbLevel {
    fn order(&self) -> ([u8; 16], u16, Option<[u8; 16]>) {
        (self.sgx_components, self.pcesvn, self.tdx_components)
    }
}

fn module_identities(
    wire: Vec<wire::TdxModuleIdentity<'_>>,
) -> Result<Vec<TdxModuleIdentity>, JsonError> {
    let mut identities: Vec<TdxModuleIdentity> = Vec::with_capacity(wire.len());
    for identity in wire {
        let identity = identity.read()?;
        // Which of two would count?
        if identities.iter().any(|other| other.version == identity.version) {
            return Err(JsonError::Field { name: "tdxModuleIdentities" });
        }
        identities.push(identity);
    }
    Ok(identities)
}

pub(super) fn field<const N: usize>(name: &'static str, text: &str) -> Result<[u8; N], JsonError> {
    hex::array(text).map_err(|_| JsonError::Field { name })
}

pub(super) fn date(name: &'static str, text: &str) -> Result<u64, JsonError> {
    parse_rfc3339(text).map_err(|_| JsonError::Field { name })
}

pub(super) fn dates(issue_date: &str, next_update: &str) -> Result<Validity, JsonError> {
    Ok(Validity {
        not_before: date("issueDate", issue_date)?,
        not_after: date("nextUpdate", next_update)?,
    })
}

/// The statuses that a document may give: the others come from combining.
pub(super) fn status(status: TcbStatus, allowed: &[TcbStatus]) -> Result<TcbStatus, JsonError> {
    if allowed.contains(&status) { Ok(status) } else { Err(JsonError::Field { name: "tcbStatus" }) }
}

const LEVEL_STATUSES: &[TcbStatus] = &[
    TcbStatus::UpToDate,
    TcbStatus::SWHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSWHardeningNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];

const MODULE_STATUSES: &[TcbStatus] =
    &[TcbStatus::UpToDate, TcbStatus::OutOfDate, TcbStatus::Revoked];

#[cfg(test)]
mod tests;
