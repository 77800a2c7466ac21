//! Cold, warm and known platform: the same verdict, fewer signature checks, the same care about time.

mod common;

use std::collections::BTreeSet;

use attestation::crypto::{Counted, Ring, RustCrypto};
use attestation::{
    CheckId, Decision, Examination, ExpectedReportData, KnownPlatforms, Now, ReferenceValues,
    TrustAnchor, Verdict, VerifiedCollateral, Verifier,
};
use common::lab::{Lab, NOW, REPORT_DATA};

type Counting = Verifier<Counted<Ring>>;

fn counting(lab: &Lab) -> Counting {
    let anchor = TrustAnchor::from_der(&lab.root_der(), &Ring).expect("a root");
    Verifier::new(Counted::new(Ring), anchor)
}

fn counted<'v>(
    verifier: &'v Counting,
    examine: impl FnOnce() -> Examination<'v>,
) -> (Examination<'v>, u64) {
    let before = verifier.crypto().signatures();
    let examination = examine();
    (examination, verifier.crypto().signatures() - before)
}

fn appraise(lab: &Lab, examination: Examination<'_>) -> Verdict {
    let expected = ExpectedReportData::new(&REPORT_DATA).expect("64 bytes");
    examination.appraise(&lab.policy(), &ReferenceValues::default(), &expected)
}

/// The platform as known, and collateral as verified.
fn prepare(lab: &Lab, verifier: &Counting) -> (VerifiedCollateral, KnownPlatforms) {
    let collateral = verifier.collateral(&lab.collateral(), lab.now()).expect("good collateral");
    let mut known = KnownPlatforms::with_limit(4);
    let mut examination = verifier.examine_with(&lab.quote(), &collateral, &known, lab.now());
    known.insert(examination.take_platform().expect("a platform not seen before"));
    (collateral, known)
}

#[test]
fn nine_three_and_two_signatures_give_the_same_verdict() {
    for lab in [Lab::sgx(), Lab::tdx(Some(3))] {
        let verifier = counting(&lab);
        let (quote, collateral) = (lab.quote(), lab.collateral());
        let (cold, count) = counted(&verifier, || verifier.examine(&quote, &collateral, lab.now()));
        assert_eq!(count, 9);
        let (verified, known) = prepare(&lab, &verifier);
        let none = KnownPlatforms::default();
        let (warm, count) =
            counted(&verifier, || verifier.examine_with(&quote, &verified, &none, lab.now()));
        assert_eq!(count, 3);
        let (hot, count) =
            counted(&verifier, || verifier.examine_with(&quote, &verified, &known, lab.now()));
        assert_eq!(count, 2);
        let ids = |examination: &Examination<'_>| {
            examination.checks().iter().map(|check| check.id).collect::<BTreeSet<_>>()
        };
        assert_eq!(ids(&cold), ids(&warm));
        assert_eq!(ids(&cold), ids(&hot));
        assert_eq!(cold.claims(), hot.claims());
        for examination in [cold, warm, hot] {
            assert!(appraise(&lab, examination).is_accepted());
        }
    }
}

#[test]
fn dates_are_compared_at_every_use() {
    let lab = Lab::sgx();
    let verifier = counting(&lab);
    let (verified, known) = prepare(&lab, &verifier);
    let validity = verified.validity();
    assert!(validity.contains(NOW));
    for (seconds, decision) in [
        (validity.not_before - 1, Decision::Refused),
        (validity.not_before, Decision::Authentic),
        (validity.not_after, Decision::Authentic),
        (validity.not_after + 1, Decision::Refused),
    ] {
        let verdict = verifier
            .examine_with(&lab.quote(), &verified, &known, Now::given(seconds))
            .authenticate(&lab.policy());
        assert_eq!(verdict.verdict, decision, "at {seconds}");
    }
    // A PCK certificate that ends first.
    let mut lab = Lab::sgx();
    lab.pck.not_after = NOW + 10;
    let verifier = counting(&lab);
    let (verified, known) = prepare(&lab, &verifier);
    let verdict = verifier
        .examine_with(&lab.quote(), &verified, &known, Now::given(NOW + 11))
        .authenticate(&lab.policy());
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::PckValidity]);
}

/// The platform was known before its certificate was revoked.
#[test]
fn revocation_is_looked_up_at_every_use() {
    let mut lab = Lab::sgx();
    let verifier = counting(&lab);
    let (_, known) = prepare(&lab, &verifier);
    lab.pck_crl.revoked = vec![3];
    let newer = verifier.collateral(&lab.collateral(), lab.now()).expect("good collateral");
    let (examination, count) =
        counted(&verifier, || verifier.examine_with(&lab.quote(), &newer, &known, lab.now()));
    assert_eq!(count, 2, "the platform is still known");
    let verdict = appraise(&lab, examination);
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::PckRevocation]);
}

#[test]
fn a_platform_is_known_only_by_all_of_its_certificates_and_under_its_ca() {
    let lab = Lab::sgx();
    let verifier = counting(&lab);
    let (verified, known) = prepare(&lab, &verifier);
    // Another certificate of the same platform.
    let mut renewed = lab.clone();
    renewed.pck.serial = 33;
    let (_, count) = counted(&verifier, || {
        verifier.examine_with(&renewed.quote(), &verified, &known, lab.now())
    });
    assert_eq!(count, 3);
    // The same certificate, with collateral of another CA.
    let mut other = lab.clone();
    other.ca.serial = 22;
    let verified = verifier.collateral(&other.collateral(), lab.now()).expect("good collateral");
    let (examination, count) =
        counted(&verifier, || verifier.examine_with(&lab.quote(), &verified, &known, lab.now()));
    assert_eq!(count, 3);
    assert!(examination.verified().is_none(), "the chain is not the collateral's");
}

#[test]
fn collateral_with_any_fault_is_not_verified() {
    let mut lab = Lab::sgx();
    lab.root_crl.next_update = Some(NOW - 1);
    let checks = counting(&lab).collateral(&lab.collateral(), lab.now()).expect_err("expired");
    let failed: Vec<_> = checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [CheckId::RootCrlValidity]);
}

#[test]
fn a_bad_platform_is_not_offered_as_known() {
    let mut lab = Lab::sgx();
    lab.pck_items.pop();
    let verifier = counting(&lab);
    let mut examination = verifier.examine(&lab.quote(), &lab.collateral(), lab.now());
    assert!(examination.take_platform().is_none());
    let mut none = KnownPlatforms::default();
    let lab = Lab::sgx();
    let verifier = counting(&lab);
    let mut examination = verifier.examine(&lab.quote(), &lab.collateral(), lab.now());
    none.insert(examination.take_platform().expect("a good platform"));
    assert!(none.is_empty(), "a limit of zero holds nothing");
}

/// Inside an enclave the other backend does the same work.
#[test]
fn both_backends_give_the_same_verdicts() {
    let portable = |root: &[u8]| {
        Verifier::new(RustCrypto, TrustAnchor::from_der(root, &RustCrypto).expect("a root"))
    };
    let verdict = portable(common::INTEL_ROOT)
        .examine(
            common::SGX_QUOTE,
            &common::collateral(common::SGX_COLLATERAL),
            common::at(common::SGX_TIME),
        )
        .authenticate(&common::lenient());
    assert_eq!(verdict.verdict, Decision::Authentic);
    let lab = Lab::tdx(Some(4));
    let verifier = portable(&lab.root_der());
    assert!(
        appraise(&lab, verifier.examine(&lab.quote(), &lab.collateral(), lab.now())).is_accepted()
    );
    // Bit flips across what is signed.
    let quote = lab.quote();
    let verified = verifier.collateral(&lab.collateral(), lab.now()).expect("good collateral");
    let fast = counting(&lab);
    for at in (0..1400).step_by(97) {
        let mut quote = quote.clone();
        quote[at] ^= 4;
        let none = KnownPlatforms::default();
        let one = verifier.examine_with(&quote, &verified, &none, lab.now());
        let other = fast.examine_with(&quote, &verified, &none, lab.now());
        assert_eq!(one.checks(), other.checks(), "byte {at}");
    }
}
