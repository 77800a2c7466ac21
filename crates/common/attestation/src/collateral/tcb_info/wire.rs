//! The document as it is written. Unknown keys are the issuer's to add and are ignored.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::Deserialize;

use super::{JsonError, LEVEL_STATUSES, MODULE_STATUSES, TcbInfoId, date, field, status};
use crate::tcb::TcbStatus;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcbInfo<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) version: u32,
    #[serde(borrow)]
    pub(super) issue_date: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) next_update: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) fmspc: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) pce_id: Cow<'a, str>,
    pub(super) tcb_type: u32,
    pub(super) tcb_evaluation_data_number: u32,
    #[serde(borrow)]
    pub(super) tcb_levels: Vec<Level<'a>>,
    #[serde(default, borrow)]
    pub(super) tdx_module: Option<TdxModule<'a>>,
    #[serde(default, borrow)]
    pub(super) tdx_module_identities: Vec<TdxModuleIdentity<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Level<'a> {
    tcb: Tcb,
    #[serde(borrow)]
    tcb_date: Cow<'a, str>,
    tcb_status: TcbStatus,
    #[serde(rename = "advisoryIDs", default)]
    advisories: Vec<String>,
}

/// Arrays of any other length are an error of the parser.
#[derive(Deserialize)]
struct Tcb {
    sgxtcbcomponents: [Component; 16],
    #[serde(default)]
    tdxtcbcomponents: Option<[Component; 16]>,
    pcesvn: u16,
}

#[derive(Deserialize)]
struct Component {
    svn: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TdxModule<'a> {
    #[serde(borrow)]
    mrsigner: Cow<'a, str>,
    #[serde(borrow)]
    attributes: Cow<'a, str>,
    #[serde(borrow)]
    attributes_mask: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TdxModuleIdentity<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    mrsigner: Cow<'a, str>,
    #[serde(borrow)]
    attributes: Cow<'a, str>,
    #[serde(borrow)]
    attributes_mask: Cow<'a, str>,
    #[serde(borrow)]
    tcb_levels: Vec<ModuleLevel<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleLevel<'a> {
    tcb: ModuleTcb,
    #[serde(borrow)]
    tcb_date: Cow<'a, str>,
    tcb_status: TcbStatus,
    #[serde(rename = "advisoryIDs", default)]
    advisories: Vec<String>,
}

#[derive(Deserialize)]
struct ModuleTcb {
    isvsvn: u8,
}

fn svns(components: &[Component; 16]) -> [u8; 16] {
    core::array::from_fn(|index| components[index].svn)
}

impl Level<'_> {
    pub(super) fn read(self, id: TcbInfoId) -> Result<super::TcbLevel, JsonError> {
        if id == TcbInfoId::Tdx && self.tcb.tdxtcbcomponents.is_none() {
            return Err(JsonError::Field { name: "tdxtcbcomponents" });
        }
        Ok(super::TcbLevel {
            sgx_components: svns(&self.tcb.sgxtcbcomponents),
            tdx_components: self.tcb.tdxtcbcomponents.as_ref().map(svns),
            pcesvn: self.tcb.pcesvn,
            date: date("tcbDate", &self.tcb_date)?,
            status: status(self.tcb_status, LEVEL_STATUSES)?,
            advisories: self.advisories,
        })
    }
}

impl TdxModule<'_> {
    pub(super) fn read(&self) -> Result<super::TdxModule, JsonError> {
        module(&self.mrsigner, &self.attributes, &self.attributes_mask)
    }
}

impl TdxModuleIdentity<'_> {
    pub(super) fn read(self) -> Result<super::TdxModuleIdentity, JsonError> {
        // `TDX_` and the version in two hex digits.
        let version = self.id.strip_prefix("TDX_").and_then(|hex| crate::hex::array(hex).ok());
        let [version] = version.ok_or(JsonError::Field { name: "tdxModuleIdentities.id" })?;
        let mut levels =
            self.tcb_levels.into_iter().map(ModuleLevel::read).collect::<Result<Vec<_>, _>>()?;
        levels.sort_by_key(|level| Reverse(level.isvsvn));
        Ok(super::TdxModuleIdentity {
            version,
            module: module(&self.mrsigner, &self.attributes, &self.attributes_mask)?,
            levels,
        })
    }
}

impl ModuleLevel<'_> {
    fn read(self) -> Result<super::TdxModuleTcbLevel, JsonError> {
        Ok(super::TdxModuleTcbLevel {
            isvsvn: self.tcb.isvsvn,
            date: date("tcbDate", &self.tcb_date)?,
            status: status(self.tcb_status, MODULE_STATUSES)?,
            advisories: self.advisories,
        })
    }
}

fn module(
    mrsigner: &str,
    attributes: &str,
    attributes_mask: &str,
) -> Result<super::TdxModule, JsonError> {
    Ok(super::TdxModule {
        mrsigner: field("mrsigner", mrsigner)?,
        attributes: field("attributes", attributes)?,
        attributes_mask: field("attributesMask", attributes_mask)?,
    })
}
