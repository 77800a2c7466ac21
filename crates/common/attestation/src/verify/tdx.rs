//! What is particular to trust domains: the TDX module, its attributes, and those of the domain.

use super::pck::Pck;
use super::tcb::{Combined, Level, level};
use crate::check::{CheckId, Checks, Value};
use crate::collateral::{TcbInfo, TdxModule};
use crate::quote::TdReport;

/// TD attributes, Intel "TDX Module ABI Specification" 348551, table "TD attributes".
mod attributes {
    /// DEBUG and the three kinds of profiling: the host sees inside.
    pub(super) const UNDER_DEBUG: u64 = 1 | 0b111 << 4;
    /// The domain has service TDs: its report is in another form.
    pub(super) const SERVTD_EXT: u64 = 1 << 17;
    /// No exception on a page that the host took away: without it the host can inject them.
    pub(super) const SEPT_VE_DISABLE: u64 = 1 << 28;
    /// The domain may be moved by another one.
    pub(super) const MIGRATABLE: u64 = 1 << 29;
    /// Bits that no module may set.
    pub(super) const RESERVED: u64 = bits(1, 3) | bits(7, 15) | bits(23, 26) | bits(32, 61);

    const fn bits(first: u32, last: u32) -> u64 {
        (u64::MAX >> (63 - (last - first))) << first
    }
}

/// Whether the host can look inside.
pub(super) const fn is_debug(report: &TdReport) -> bool {
    report.td_attributes & attributes::UNDER_DEBUG != 0
}

/// Checks what the domain was started with.
pub(super) fn attributes(report: &TdReport, checks: &mut Checks) {
    let bits = report.td_attributes;
    let forbidden = attributes::RESERVED | attributes::MIGRATABLE;
    let ok = bits & forbidden == 0 && bits & attributes::SEPT_VE_DISABLE != 0;
    let expected = CheckId::TdxAttributes.expectation();
    checks.add(CheckId::TdxAttributes, ok, expected, &bits.to_le_bytes());
    let service_td = report.tdx_15.map_or([0; 48], |report| report.mrservicetd);
    let ok = service_td == [0; 48] && bits & attributes::SERVTD_EXT == 0;
    checks.add(CheckId::TdxServiceTd, ok, CheckId::TdxServiceTd.expectation(), &service_td);
}

/// Checks the TDX module and returns the level of platform and module together, at the domain's launch
/// and now.
pub(super) fn examine(
    report: &TdReport,
    info: &TcbInfo,
    pck: &Pck,
    checks: &mut Checks,
) -> Option<Combined> {
    module(report, info, checks);
    let mut launched = at(&report.tee_tcb_svn, info, pck)?;
    if let Some(tdx_15) = &report.tdx_15 {
        // The module may have been updated under the running domain; both levels must be known.
        let current = at(&tdx_15.tee_tcb_svn2, info, pck)?;
        launched = launched.with_current(current);
    }
    Some(launched)
}

/// The level of a platform whose TDX module has these SVNs.
fn at(tee_tcb_svn: &[u8; 16], info: &TcbInfo, pck: &Pck) -> Option<Combined> {
    let platform = Combined::new(level(info, pck, Some(tee_tcb_svn))?.into());
    let [isvsvn, version, ..] = *tee_tcb_svn;
    if version == 0 {
        return Some(platform);
    }
    let identity = info.tdx_module_identities.iter().find(|id| id.version == version)?;
    let module = identity.levels.iter().find(|level| level.isvsvn <= isvsvn)?;
    Some(platform.with_component(Level {
        status: module.status,
        advisories: &module.advisories,
        date: module.date,
    }))
}

/// Checks who signed the module, and its attributes.
fn module(report: &TdReport, info: &TcbInfo, checks: &mut Checks) {
    let version = report.tee_tcb_svn[1];
    let module: Option<&TdxModule> = match version {
        0 => info.tdx_module.as_ref(),
        _ => info
            .tdx_module_identities
            .iter()
            .find(|identity| identity.version == version)
            .map(|identity| &identity.module),
    };
    let Some(module) = module else {
        let got = Value::from(alloc::format!("module version {version}"));
        checks.add(CheckId::TdxModule, false, CheckId::TdxModule.expectation(), got);
        checks.not_run(CheckId::TdxSeamAttributes, CheckId::TdxModule);
        return;
    };
    checks.equal(CheckId::TdxModule, &module.mrsigner, &report.mrsignerseam);
    let mask = u64::from_le_bytes(module.attributes_mask);
    let expected = u64::from_le_bytes(module.attributes) & mask;
    let got = u64::from_le_bytes(report.seam_attributes);
    // What the mask leaves out must be clear: nobody said that it may be set.
    let ok = got == expected;
    checks.add(CheckId::TdxSeamAttributes, ok, &expected.to_le_bytes(), &got.to_le_bytes());
}
