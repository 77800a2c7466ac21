//! The patch level of a platform, by TCB info.

use alloc::string::String;
use alloc::vec::Vec;

use super::collateral::constraints;
use super::pck::Pck;
use super::tdx;
use crate::check::{CheckId, Checks};
use crate::claims::Tcb;
use crate::collateral::{QeIdentity, TcbInfo, TcbInfoId, TcbLevel};
use crate::quote::{Body, QuoteTee};
use crate::tcb::TcbStatus;

/// The worth of one component.
#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    pub(super) status: TcbStatus,
    pub(super) advisories: &'a [String],
    pub(super) date: u64,
}

impl<'a> From<&'a TcbLevel> for Level<'a> {
    fn from(level: &'a TcbLevel) -> Self {
        Self { status: level.status, advisories: &level.advisories, date: level.date }
    }
}

/// Several components together.
pub(super) struct Combined {
    pub(super) status: TcbStatus,
    advisories: Vec<String>,
    date: u64,
}

impl Combined {
    pub(super) fn new(level: Level<'_>) -> Self {
        let Level { status, advisories, date } = level;
        Self { status, advisories: advisories.to_vec(), date }
    }

    pub(super) fn with_component(mut self, component: Level<'_>) -> Self {
        self.status = self.status.with_component(component.status);
        self.add(component.advisories);
        self.date = self.date.min(component.date);
        self
    }

    /// The level at a domain's launch together with the level now.
    pub(super) fn with_current(mut self, current: Self) -> Self {
        self.status = self.status.with_current(current.status);
        self.add(&current.advisories);
        self.date = self.date.min(current.date);
        self
    }

    fn add(&mut self, advisories: &[String]) {
        for advisory in advisories {
            if !self.advisories.contains(advisory) {
                self.advisories.push(advisory.clone());
            }
        }
    }
}

/// Compares platform and TCB info, and combines the levels of platform, TDX module and quoting enclave.
pub(super) fn examine(
    body: &Body,
    tee: QuoteTee,
    pck: Option<&Pck>,
    info: Option<&TcbInfo>,
    qe: Option<(&QeIdentity, Level<'_>)>,
    checks: &mut Checks,
) -> Option<Tcb> {
    let Some(info) = info else {
        for id in [CheckId::TcbInfoId, CheckId::TcbInfoFmspc, CheckId::TcbInfoPceid] {
            checks.not_run(id, CheckId::TcbInfoFormat);
        }
        not_run(body, CheckId::TcbInfoFormat, checks);
        return None;
    };
    let expected = match tee {
        QuoteTee::Sgx => TcbInfoId::Sgx,
        QuoteTee::Tdx => TcbInfoId::Tdx,
    };
    let is_for_tee =
        checks.add(CheckId::TcbInfoId, info.id == expected, expected.name(), info.id.name());
    let Some(pck) = pck else {
        checks.not_run(CheckId::TcbInfoFmspc, CheckId::PckExtension);
        checks.not_run(CheckId::TcbInfoPceid, CheckId::PckExtension);
        not_run(body, CheckId::PckExtension, checks);
        return None;
    };
    checks.equal(CheckId::TcbInfoFmspc, &pck.extension.fmspc, &info.fmspc);
    checks.equal(CheckId::TcbInfoPceid, &pck.extension.pceid, &info.pceid);
    if !is_for_tee {
        not_run(body, CheckId::TcbInfoId, checks);
        return None;
    }
    let platform = match body {
        Body::Sgx(_) => {
            let level = level(info, pck, None);
            list_level(level.is_some(), pck, checks);
            level.map(|level| Combined::new(level.into()))
        }
        Body::Tdx(report) => {
            let combined = tdx::examine(report, info, pck, checks);
            list_level(combined.is_some(), pck, checks);
            combined
        }
    };
    let Some(platform) = platform else {
        checks.not_run(CheckId::TcbRevoked, CheckId::TcbLevel);
        return None;
    };
    let Some((identity, qe)) = qe else {
        checks.not_run(CheckId::TcbRevoked, CheckId::QeTcb);
        return None;
    };
    let combined = platform.with_component(qe);
    let ok = combined.status != TcbStatus::Revoked;
    constraints(CheckId::TcbRevoked, ok, "Revoked", checks);
    Some(Tcb {
        status: combined.status,
        advisories: combined.advisories,
        date: combined.date,
        evaluation_data_number: info
            .tcb_evaluation_data_number
            .min(identity.tcb_evaluation_data_number),
    })
}

fn not_run(body: &Body, because: CheckId, checks: &mut Checks) {
    if matches!(body, Body::Tdx(_)) {
        checks.not_run(CheckId::TdxModule, because);
        checks.not_run(CheckId::TdxSeamAttributes, because);
    }
    checks.not_run(CheckId::TcbLevel, because);
    checks.not_run(CheckId::TcbRevoked, because);
}

fn list_level(ok: bool, pck: &Pck, checks: &mut Checks) {
    let svns = crate::hex::Hex(&pck.extension.tcb_components);
    let got = alloc::format!("components {svns}, pcesvn {}", pck.extension.pcesvn);
    checks.add(CheckId::TcbLevel, ok, CheckId::TcbLevel.expectation(), got);
}

/// The best level that the platform reaches: every component at least the level's, of the TDX module too
/// where one is given.
///
/// Where the module has a version (byte 1 of its SVNs), the first two components are judged by the
/// identity of that version and not here.
pub(super) fn level<'a>(
    info: &'a TcbInfo,
    pck: &Pck,
    tee_tcb_svn: Option<&[u8; 16]>,
) -> Option<&'a TcbLevel> {
    let reaches = |own: &[u8], least: &[u8]| own.iter().zip(least).all(|(own, least)| own >= least);
    info.levels.iter().find(|level| {
        let tdx = match (tee_tcb_svn, &level.tdx_components) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(least)) => {
                let first = if own[1] > 0 { 2 } else { 0 };
                reaches(&own[first..], &least[first..])
            }
        };
        tdx && pck.extension.pcesvn >= level.pcesvn
            && reaches(&pck.extension.tcb_components, &level.sgx_components)
    })
}
