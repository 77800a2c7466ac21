//! Real quotes give the verdicts that their README states, at the times it states.

mod common;

use attestation::{CheckId, Decision, ExpectedReportData, Measurement, ReferenceValues, TcbStatus};
use common::*;

#[test]
fn the_sgx_vector_is_authentic_in_its_window_and_refused_outside() {
    let collateral = collateral(SGX_COLLATERAL);
    let (first, last) = (1_750_330_571, 1_752_919_278);
    for (time, decision) in [
        (first - 1, Decision::Refused),
        (first, Decision::Authentic),
        (SGX_TIME, Decision::Authentic),
        (last, Decision::Authentic),
        (last + 1, Decision::Refused),
        (LATER, Decision::Refused),
    ] {
        let verdict = intel().examine(SGX_QUOTE, &collateral, at(time)).authenticate(&lenient());
        let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
        assert_eq!(verdict.verdict, decision, "at {time}: {failed:#?}");
        assert_eq!(
            verdict.tcb_status,
            Some(TcbStatus::ConfigurationAndSWHardeningNeeded),
            "every check runs, so the status is known whatever else fails"
        );
        assert_eq!(verdict.advisories, ["INTEL-SA-00289", "INTEL-SA-00615"]);
        assert!(!verdict.emulated);
    }
}

#[test]
fn the_checks_that_fail_are_the_ones_that_time_changes() {
    let verdict = intel()
        .examine(SGX_QUOTE, &collateral(SGX_COLLATERAL), at(1_752_919_279))
        .authenticate(&lenient());
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::QeIdentityValidity]);
    let verdict =
        intel().examine(SGX_QUOTE, &collateral(SGX_COLLATERAL), at(LATER)).authenticate(&lenient());
    for id in [CheckId::RootCrlValidity, CheckId::PckCrlValidity, CheckId::TcbInfoValidity] {
        assert!(verdict.checks.failed().any(|check| check.id == id), "{id}");
    }
}

#[test]
fn the_sgx_vector_is_accepted_for_its_measurement_and_report_data() {
    let mut policy = lenient();
    policy.mrenclave = vec![
        attestation::hex::array("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb")
            .expect("hex"),
    ];
    let expected = ExpectedReportData::zero_padded(b"Hello, world!").expect("not empty");
    let verdict = intel().examine(SGX_QUOTE, &collateral(SGX_COLLATERAL), at(SGX_TIME)).appraise(
        &policy,
        &ReferenceValues::default(),
        &expected,
    );
    let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
    assert!(verdict.is_accepted(), "{failed:#?}");
    let Some(Measurement::Sgx { mrsigner, isvprodid, isvsvn, .. }) = verdict.measurement else {
        panic!("not SGX")
    };
    assert_eq!((mrsigner[..4].to_vec(), isvprodid, isvsvn), (vec![0x81, 0x5f, 0x42, 0xf1], 0, 0));

    policy.tcb_status = vec![TcbStatus::UpToDate];
    let verdict = intel().examine(SGX_QUOTE, &collateral(SGX_COLLATERAL), at(SGX_TIME)).appraise(
        &policy,
        &ReferenceValues::default(),
        &expected,
    );
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::PolicyTcbStatus], "the strict default");
}

#[test]
fn the_tdx_vector_is_authentic_in_its_window_and_refused_outside() {
    let collateral = collateral(TDX_COLLATERAL);
    let (first, last) = (1_750_329_147, 1_752_919_235);
    let strict = attestation::Policy::strict(*intel().anchor().sha256());
    for (time, decision) in [
        (first - 1, Decision::Refused),
        (first, Decision::Authentic),
        (TDX_TIME, Decision::Authentic),
        (last, Decision::Authentic),
        (last + 1, Decision::Refused),
        (LATER, Decision::Refused),
    ] {
        let verdict = intel().examine(TDX_QUOTE, &collateral, at(time)).authenticate(&strict);
        let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
        assert_eq!(verdict.verdict, decision, "at {time}: {failed:#?}");
        assert_eq!(verdict.tcb_status, Some(TcbStatus::UpToDate));
        assert!(verdict.advisories.is_empty());
    }
}

/// There is no collateral for it; that its enclave can be debugged is seen all the same.
#[test]
fn the_debug_vector_is_refused_for_debug_too() {
    let verdict = intel()
        .examine(SGX_DEBUG_QUOTE, &collateral(SGX_COLLATERAL), at(SGX_TIME))
        .authenticate(&lenient());
    assert_eq!(verdict.verdict, Decision::Refused);
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert!(failed.contains(&CheckId::PolicyDebug), "{failed:?}");
    assert!(failed.contains(&CheckId::TcbInfoFmspc), "{failed:?}");
    assert!(verdict.checks.holds(CheckId::QuoteSignature), "its own signature is good");
}
