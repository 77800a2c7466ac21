//! What must be refused, each with the check that says so. Everything that is wrong here is signed by the
//! right keys, so that only the check in question can notice.

#[path = "../common/mod.rs"]
mod common;

mod binding;
mod chain;
mod collateral;
mod policy;
mod quote;
mod relayed;
mod resources;
mod roots;
mod tcb;
mod tdx;

use std::collections::BTreeSet;

use attestation::{CheckId, Decision, ExpectedReportData, ReferenceValues, Verdict};
use common::lab::{Lab, REPORT_DATA};

/// One fault.
type Change = fn(&mut Lab);

fn expected() -> ExpectedReportData {
    ExpectedReportData::new(&REPORT_DATA).expect("64 bytes")
}

fn verdict(lab: &Lab) -> Verdict {
    lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
        &lab.policy(),
        &ReferenceValues::default(),
        &expected(),
    )
}

fn failed(verdict: &Verdict) -> BTreeSet<CheckId> {
    verdict.checks.failed().map(|check| check.id).collect()
}

/// Makes a lab's evidence after a change and demands that exactly these checks fail.
#[track_caller]
fn refuses(mut lab: Lab, change: impl FnOnce(&mut Lab), ids: &[CheckId]) {
    change(&mut lab);
    refused(&verdict(&lab), ids);
}

#[track_caller]
fn refused(verdict: &Verdict, ids: &[CheckId]) {
    let failures: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
    assert_eq!(verdict.verdict, Decision::Refused, "expected {ids:?}");
    assert_eq!(failed(verdict), ids.iter().copied().collect(), "{failures:#?}");
}

#[test]
fn what_a_lab_makes_unchanged_is_accepted() {
    for lab in [
        Lab::sgx(),
        Lab::sgx_v4(),
        Lab::tdx(None),
        Lab::tdx(Some(2)),
        Lab::tdx(Some(3)),
        Lab::tdx(Some(4)),
    ] {
        let verdict = verdict(&lab);
        let failures: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
        assert!(verdict.is_accepted(), "version {}: {failures:#?}", lab.version);
        assert!(verdict.emulated, "a lab is no vendor");
    }
}
