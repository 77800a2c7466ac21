//! What the evidence is bound to.

use attestation::{CheckId, Decision, ExpectedReportData, ReferenceValues};

use super::{Lab, refused};
use crate::common::lab::REPORT_DATA;

#[test]
fn other_report_data_is_refused_in_every_byte() {
    let lab = Lab::sgx();
    let collateral = lab.collateral();
    let verifier = lab.verifier();
    let examination = verifier.examine(&lab.quote(), &collateral, lab.now());
    for at in 0..64 {
        let mut other = REPORT_DATA;
        other[at] ^= 1;
        let expected = ExpectedReportData::new(&other).expect("64 bytes");
        let verdict =
            examination.clone().appraise(&lab.policy(), &ReferenceValues::default(), &expected);
        refused(&verdict, &[CheckId::ReportData]);
    }
}

/// A shorter expectation stands for zeros after it, not for anything.
#[test]
fn a_tail_that_is_not_zero_is_refused() {
    let lab = Lab::sgx();
    let expected = ExpectedReportData::zero_padded(&REPORT_DATA[..32]).expect("not empty");
    let verdict = lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
        &lab.policy(),
        &ReferenceValues::default(),
        &expected,
    );
    refused(&verdict, &[CheckId::ReportData]);
}

#[test]
fn authenticating_never_accepts() {
    let lab = Lab::sgx();
    let verdict = lab
        .verifier()
        .examine(&lab.quote(), &lab.collateral(), lab.now())
        .authenticate(&lab.policy());
    assert_eq!(verdict.verdict, Decision::Authentic);
    assert!(!verdict.is_accepted());
    assert!(verdict.checks.find(CheckId::ReportData).is_none(), "it was not looked at");
    let json = serde_json::to_string(&verdict).expect("JSON");
    assert!(json.contains(r#""verdict":"authentic""#), "{json}");
}
