//! Faults of the quote itself.

use attestation::{CheckId, Decision};

use super::{Change, Lab, refuses, verdict};
use crate::common::lab::{Key, report};

/// Header, body, signatures, key, quoting enclave's report, authentication data: every bit.
#[test]
fn any_flipped_bit_before_the_certificates_is_refused() {
    for lab in [Lab::sgx(), Lab::sgx_v4(), Lab::tdx(None), Lab::tdx(Some(3))] {
        let (verifier, collateral) = (lab.verifier(), lab.collateral());
        let collateral = verifier.collateral(&collateral, lab.now()).expect("good collateral");
        let quote = lab.quote();
        let certificates = quote
            .windows(10)
            .position(|window| window == b"-----BEGIN")
            .expect("a chain in the quote");
        // The platform is known: two signatures remain, the two that can notice.
        let mut known = attestation::KnownPlatforms::with_limit(1);
        let mut good = verifier.examine_with(&quote, &collateral, &known, lab.now());
        known.insert(good.take_platform().expect("a platform not seen before"));
        assert!(good.verified().is_some());
        // One bit of every byte, another one from byte to byte; of the later forms every fifth.
        let step = if lab.version == 3 { 1 } else { 5 };
        for at in (0..certificates).step_by(step) {
            let mut quote = quote.clone();
            quote[at] ^= 1 << (at % 8);
            let verdict = verifier
                .examine_with(&quote, &collateral, &known, lab.now())
                .authenticate(&lab.policy());
            assert_eq!(verdict.verdict, Decision::Refused, "version {} byte {at}", lab.version);
        }
    }
}

/// Base64 has no spare bits here, so a changed character changes a certificate.
#[test]
fn any_changed_character_of_a_certificate_is_refused() {
    let lab = Lab::sgx();
    let (verifier, collateral) = (lab.verifier(), lab.collateral());
    let quote = lab.quote();
    let start = quote.windows(10).position(|window| window == b"-----BEGIN").expect("a chain");
    for at in (start..quote.len()).step_by(7) {
        let mut changed = quote.clone();
        changed[at] ^= 1;
        let verdict =
            verifier.examine(&changed, &collateral, lab.now()).authenticate(&lab.policy());
        assert_eq!(verdict.verdict, Decision::Refused, "byte {at}: {:?}", changed[at] as char);
    }
}

#[test]
fn truncated_and_trailing_bytes_are_refused_and_zero_padding_is_not() {
    let lab = Lab::sgx();
    let (verifier, collateral) = (lab.verifier(), lab.collateral());
    let decide =
        |quote: &[u8]| verifier.examine(quote, &collateral, lab.now()).authenticate(&lab.policy());
    let quote = lab.quote();
    assert_eq!(decide(&quote[..quote.len() - 1]).verdict, Decision::Refused);
    assert_eq!(decide(&[]).verdict, Decision::Refused);
    let padded = [&quote[..], &[0; 70]].concat();
    assert_eq!(decide(&padded).verdict, Decision::Authentic);
    let trailing = [&padded[..], &[1]].concat();
    let verdict = decide(&trailing);
    assert!(super::failed(&verdict).contains(&CheckId::QuoteTrailing));
}

#[test]
fn certification_data_of_another_type_is_refused() {
    for kind in [1, 2, 3, 4, 6, 7, 8] {
        let mut lab = Lab::sgx();
        lab.certification_type = kind;
        let failed = super::failed(&verdict(&lab));
        assert!(failed.contains(&CheckId::QuoteCertification), "type {kind}: {failed:?}");
    }
}

#[test]
fn wrong_version_key_type_tee_or_vendor_is_refused() {
    let cases: [(Change, CheckId); 5] = [
        (|lab| lab.version = 5, CheckId::QuoteVersion),
        (|lab| lab.version = 2, CheckId::QuoteVersion),
        (|lab| lab.key_type = 3, CheckId::QuoteKeyType),
        (|lab| lab.tee_type = 0x80, CheckId::QuoteTee),
        (|lab| lab.vendor[0] ^= 1, CheckId::QuoteVendor),
    ];
    for (change, id) in cases {
        let mut lab = Lab::sgx();
        change(&mut lab);
        let verdict = verdict(&lab);
        assert_eq!(verdict.verdict, Decision::Refused);
        assert_eq!(verdict.checks.failed().next().map(|check| check.id), Some(id));
    }
}

#[test]
fn an_attestation_key_that_the_quoting_enclave_did_not_bind_is_refused() {
    use CheckId::QeReportData;
    refuses(Lab::sgx(), |lab| lab.qe_bound = false, &[QeReportData]);
    // The right digest, and a tail that is not zero.
    let mut lab = Lab::sgx();
    lab.qe_report[383] = 1;
    refuses(lab, |_| (), &[QeReportData]);
}

#[test]
fn a_report_signed_by_another_key_is_refused() {
    let mut lab = Lab::sgx();
    let other = Key::new(200);
    // The quoting enclave certifies one key, another signs.
    let quote = {
        let good = lab.quote();
        lab.attestation_key = other;
        let bad = lab.quote();
        // Signature and report of the one, key and certification of the other.
        let at = 48 + 384 + 4;
        [&good[..at], &bad[at..at + 64], &good[at + 64..]].concat()
    };
    let lab = Lab::sgx();
    let verdict =
        lab.verifier().examine(&quote, &lab.collateral(), lab.now()).authenticate(&lab.policy());
    super::refused(&verdict, &[CheckId::QuoteSignature]);
}

#[test]
fn a_debug_enclave_is_refused_unless_the_policy_allows_it() {
    let mut lab = Lab::sgx();
    lab.body[48] |= 2;
    super::refused(&verdict(&lab), &[CheckId::PolicyDebug]);
    let mut policy = lab.policy();
    policy.allow_debug = true;
    let verdict = lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
        &policy,
        &attestation::ReferenceValues::default(),
        &super::expected(),
    );
    assert!(verdict.is_accepted());
}

#[test]
fn a_quoting_enclave_that_the_identity_does_not_name_is_refused() {
    use CheckId::{QeAttributes, QeIsvprodid, QeMiscselect, QeMrsigner, QeTcb};
    let cases: [(Change, CheckId); 6] = [
        (|lab| lab.qe_report[128] ^= 1, QeMrsigner),
        (|lab| lab.qe_report[256] ^= 1, QeIsvprodid),
        (|lab| lab.qe_report[16] ^= 1, QeMiscselect),
        // INIT clear.
        (|lab| lab.qe_report[48] ^= 1, QeAttributes),
        // DEBUG set.
        (|lab| lab.qe_report[48] |= 2, QeAttributes),
        (|lab| lab.qe_report[258] = 4, QeTcb),
    ];
    for (change, id) in cases {
        let mut lab = Lab::sgx();
        change(&mut lab);
        let failed = super::failed(&verdict(&lab));
        assert!(failed.contains(&id), "{id}: {failed:?}");
    }
}

/// Also where the identity's mask would let it pass.
#[test]
fn a_debug_quoting_enclave_is_refused_whatever_the_mask_says() {
    let mut lab = Lab::sgx();
    lab.qe_identity["attributesMask"] = "00".repeat(16).into();
    lab.qe_report[48] |= 2;
    super::refused(&verdict(&lab), &[CheckId::QeAttributes]);
}

#[test]
fn a_report_for_another_enclave_is_refused() {
    let other = report(&[0x12; 32], &[0x22; 32], 7, 3, &crate::common::lab::REPORT_DATA);
    refuses(Lab::sgx(), |lab| lab.body = other.to_vec(), &[CheckId::PolicyMeasurement]);
}
