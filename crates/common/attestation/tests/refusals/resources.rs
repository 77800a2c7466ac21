//! Input that would cost: it is refused before it does.

use attestation::{CheckId, Collateral};

use super::{Lab, failed};
use crate::common::der::{integer, seq, time, tlv};

#[test]
fn megabytes_where_kilobytes_belong_are_refused() {
    let lab = Lab::sgx();
    let verifier = lab.verifier();
    let million = "A".repeat(1 << 20);
    let decide = |quote: &[u8], collateral: &Collateral| {
        failed(&verifier.examine(quote, collateral, lab.now()).authenticate(&lab.policy()))
    };
    let mut collateral = lab.collateral();
    collateral.pck_crl_issuer_chain.clone_from(&million);
    assert!(decide(&lab.quote(), &collateral).contains(&CheckId::CollateralChains));
    let mut collateral = lab.collateral();
    collateral.tcb_info = million.repeat(2);
    assert!(decide(&lab.quote(), &collateral).contains(&CheckId::TcbInfoFormat));
    let quote = [&lab.quote()[..], &[0; 1 << 20]].concat();
    assert!(decide(&quote, &lab.collateral()).contains(&CheckId::QuoteFormat));
    assert!(Collateral::from_json(&vec![b' '; 9 << 20]).is_err());
    // A certificate of a megabyte.
    let certificate = crate::common::der::pem(&[&tlv(0x30, &[0; 60_000])]);
    let mut collateral = lab.collateral();
    collateral.tcb_info_issuer_chain = certificate;
    assert!(decide(&lab.quote(), &collateral).contains(&CheckId::CollateralChains));
}

#[test]
fn a_hundred_thousand_entries_and_deep_nesting_are_refused() {
    let lab = Lab::sgx();
    let verifier = lab.verifier();
    let decide = |collateral: &Collateral| {
        failed(&verifier.examine(&lab.quote(), collateral, lab.now()).authenticate(&lab.policy()))
    };
    let mut collateral = lab.collateral();
    let keys: String = (0..100_000).map(|key| format!("\"{key}\":0,")).collect();
    collateral.tcb_info = format!("{{{keys}\"id\":\"SGX\"}}");
    assert!(decide(&collateral).contains(&CheckId::TcbInfoFormat));
    collateral.tcb_info = "[".repeat(500_000);
    assert!(decide(&collateral).contains(&CheckId::TcbInfoFormat));
    // A CRL with a hundred thousand entries: too long to read.
    let mut collateral = lab.collateral();
    let entry = seq(&[&integer(u64::MAX), &time(0)]);
    let list = entry.repeat(100_000);
    let len = (list.len() as u32).to_be_bytes();
    collateral.pck_crl = [&[0x30, 0x84][..], &len, &list].concat();
    assert!(decide(&collateral).contains(&CheckId::PckCrlFormat));
    // Nested sequences where a certificate belongs.
    let mut deep = Vec::new();
    for _ in 0..2000 {
        deep = tlv(0x30, &deep);
    }
    let mut collateral = lab.collateral();
    collateral.pck_crl_issuer_chain = crate::common::der::pem(&[&deep, &lab.root_der()]);
    assert!(decide(&collateral).contains(&CheckId::CollateralChains));
}

/// Cost must not grow with what an attacker adds: the number of signature checks is bounded.
#[test]
fn signature_checks_are_nine_whatever_comes() {
    use attestation::crypto::{Counted, Ring};
    use attestation::{TrustAnchor, Verifier};
    let lab = Lab::sgx();
    let anchor = TrustAnchor::from_der(&lab.root_der(), &Ring).expect("a root");
    let verifier = Verifier::new(Counted::new(Ring), anchor);
    let _ = verifier.examine(&lab.quote(), &lab.collateral(), lab.now());
    assert_eq!(verifier.crypto().signatures(), 9);
}
