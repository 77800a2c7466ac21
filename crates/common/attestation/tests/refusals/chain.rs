//! Faults of certificates and CRLs.

use attestation::CheckId::{self, *};

use super::{Lab, failed, refuses, verdict};
use crate::common::der::{extension, integer, octets, oid, seq, tlv};
use crate::common::lab::{FMSPC, Key, NOW, SGX_EXTENSION, pck_items};

#[test]
fn an_expired_or_not_yet_valid_certificate_is_refused() {
    type Part = fn(&mut Lab) -> &mut crate::common::lab::Cert;
    let cases: [(Part, CheckId); 4] = [
        (|lab| &mut lab.pck, PckValidity),
        (|lab| &mut lab.ca, PckCaValidity),
        (|lab| &mut lab.tcb_signer, TcbSignerValidity),
        (|lab| &mut lab.root, RootValidity),
    ];
    for (part, id) in cases {
        refuses(Lab::sgx(), |lab| part(lab).not_after = NOW - 1, &[id]);
        refuses(Lab::sgx(), |lab| part(lab).not_before = NOW + 1, &[id]);
        // Both ends belong to it.
        let mut lab = Lab::sgx();
        (part(&mut lab).not_before, part(&mut lab).not_after) = (NOW, NOW);
        assert!(verdict(&lab).is_accepted());
    }
}

#[test]
fn a_root_that_the_policy_does_not_name_is_refused() {
    let lab = Lab::sgx();
    let mut policy = lab.policy();
    policy.roots = vec![[0; 32]];
    let verdict =
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).authenticate(&policy);
    super::refused(&verdict, &[PolicyRoot]);
}

#[test]
fn a_revoked_certificate_is_refused() {
    refuses(Lab::sgx(), |lab| lab.pck_crl.revoked = vec![9, 3], &[PckRevocation]);
    refuses(Lab::sgx(), |lab| lab.root_crl.revoked = vec![2], &[PckCaRevocation]);
    refuses(Lab::sgx(), |lab| lab.root_crl.revoked = vec![4], &[TcbSignerRevocation]);
    refuses(Lab::sgx(), |lab| lab.root_crl.revoked = vec![1], &[RootRevocation]);
    // Of others it says nothing.
    let mut lab = Lab::sgx();
    lab.pck_crl.revoked = vec![1, 2, 4, 5];
    assert!(verdict(&lab).is_accepted());
}

#[test]
fn an_expired_or_future_crl_is_refused() {
    refuses(Lab::sgx(), |lab| lab.pck_crl.next_update = Some(NOW - 1), &[PckCrlValidity]);
    refuses(Lab::sgx(), |lab| lab.root_crl.next_update = Some(NOW - 1), &[RootCrlValidity]);
    refuses(Lab::sgx(), |lab| lab.pck_crl.this_update = NOW + 1, &[PckCrlValidity]);
    refuses(Lab::sgx(), |lab| lab.root_crl.this_update = NOW + 1, &[RootCrlValidity]);
}

#[test]
fn a_crl_by_the_wrong_ca_is_refused() {
    let other = Key::new(99);
    refuses(Lab::sgx(), |lab| lab.pck_crl.signer = other.clone(), &[PckCrlSignature]);
    refuses(Lab::sgx(), |lab| lab.root_crl.signer = other, &[RootCrlSignature]);
    // Signed by the right key under another name.
    refuses(Lab::sgx(), |lab| lab.pck_crl.issuer = "Other".into(), &[PckCrlSignature]);
    // The two swapped: each is good, for the other.
    let mut lab = Lab::sgx();
    std::mem::swap(&mut lab.pck_crl, &mut lab.root_crl);
    super::refused(&verdict(&lab), &[RootCrlSignature, PckCrlSignature]);
}

#[test]
fn a_crl_that_is_missing_or_incomplete_is_refused() {
    let lab = Lab::sgx();
    let mut collateral = lab.collateral();
    collateral.pck_crl.clear();
    let verdict_without = |collateral| {
        lab.verifier().examine(&lab.quote(), &collateral, lab.now()).authenticate(&lab.policy())
    };
    super::refused(
        &verdict_without(collateral),
        &[PckCrlFormat, PckCrlSignature, PckCrlValidity, PckRevocation],
    );
    let mut collateral = lab.collateral();
    collateral.root_ca_crl.clear();
    super::refused(
        &verdict_without(collateral),
        &[
            RootCrlFormat,
            RootCrlSignature,
            RootRevocation,
            PckCaRevocation,
            TcbSignerRevocation,
            RootCrlValidity,
        ],
    );
    let without_next_update = |lab: &mut Lab| lab.pck_crl.next_update = None;
    let ids = [PckCrlFormat, PckCrlSignature, PckCrlValidity, PckRevocation];
    refuses(Lab::sgx(), without_next_update, &ids);
    refuses(Lab::sgx(), |lab| lab.pck_crl.extensions.clear(), &ids);
    // A list of only a part of the certificates.
    let partial = extension("2.5.29.28", true, &seq(&[]));
    refuses(Lab::sgx(), |lab| lab.pck_crl.extensions.push(partial), &ids);
    let unknown = extension("1.2.3.4", true, &[5, 0]);
    refuses(Lab::sgx(), |lab| lab.pck_crl.extensions.push(unknown), &ids);
}

#[test]
fn a_certificate_of_another_kind_is_refused() {
    let mut pck = Lab::sgx().pck;
    pck.extensions.clear();
    refuses(Lab::sgx(), |lab| lab.pck = pck.clone().ca(), &[PckConstraints]);
    refuses(Lab::sgx(), |lab| lab.pck = pck, &[PckConstraints]);
    let mut ca = Lab::sgx().ca;
    ca.extensions.clear();
    refuses(Lab::sgx(), |lab| lab.ca = ca.clone().leaf(), &[PckCaConstraints]);
    refuses(Lab::sgx(), |lab| lab.ca = ca, &[PckCaConstraints]);
    let mut signer = Lab::sgx().tcb_signer;
    signer.extensions.clear();
    refuses(Lab::sgx(), |lab| lab.tcb_signer = signer.ca(), &[TcbSignerConstraints]);
}

#[test]
fn a_certificate_that_its_issuer_did_not_sign_is_refused() {
    let other = Key::new(99);
    refuses(Lab::sgx(), |lab| lab.pck.signer = other.clone(), &[PckSignature]);
    refuses(Lab::sgx(), |lab| lab.ca.signer = other.clone(), &[PckCaSignature]);
    refuses(Lab::sgx(), |lab| lab.tcb_signer.signer = other, &[TcbSignerSignature]);
    // The right key under another name.
    refuses(Lab::sgx(), |lab| lab.pck.issuer = "Other".into(), &[PckIssuer, PckSignature]);
    refuses(Lab::sgx(), |lab| lab.ca.issuer = "Other".into(), &[PckCaSignature]);
}

/// The PCK CA may issue, but not TCB info.
#[test]
fn a_tcb_signer_that_the_root_did_not_issue_itself_is_refused() {
    let lab = Lab::sgx();
    let (issuer, signer) = (lab.ca.subject.clone(), lab.ca.key.clone());
    let change = |lab: &mut Lab| {
        (lab.tcb_signer.issuer, lab.tcb_signer.signer) = (issuer, signer);
    };
    refuses(lab, change, &[TcbSignerSignature]);
}

/// The collateral of a platform CA for a quote of the processor CA.
#[test]
fn collateral_of_another_ca_is_refused() {
    let lab = Lab::sgx();
    let mut other = lab.clone();
    other.ca.subject = "Lab SGX Root CA PCK Platform CA".into();
    other.ca.key = Key::new(98);
    other.ca.serial = 20;
    other.pck_crl.issuer.clone_from(&other.ca.subject);
    other.pck_crl.signer = other.ca.key.clone();
    let verdict = lab
        .verifier()
        .examine(&lab.quote(), &other.collateral(), lab.now())
        .authenticate(&lab.policy());
    super::refused(&verdict, &[PckIssuer, PckSignature]);
}

#[test]
fn a_chain_of_another_length_or_order_is_refused() {
    let lab = Lab::sgx();
    let (pck, ca, root) = (lab.pck_der(), lab.ca.der(), lab.root_der());
    let chains: [&[&[u8]]; 6] = [
        &[],
        &[&pck],
        &[&pck, &ca],
        &[&pck, &ca, &ca, &root],
        &[&root, &ca, &pck],
        &[&pck, &root, &ca],
    ];
    for chain in chains {
        let mut lab = lab.clone();
        lab.chain = Some(crate::common::der::pem(chain));
        let failed = failed(&verdict(&lab));
        let ids = [PckChain, RootIdentity, PckIssuer];
        assert!(ids.iter().any(|id| failed.contains(id)), "{} certificates", chain.len());
    }
}

#[test]
fn the_platform_of_another_model_or_pce_is_refused() {
    let other = [0x4c, 0x41, 0x42, 0, 0, 2];
    let change = |lab: &mut Lab| lab.pck_items = pck_items(5, 13, &other, &[0, 0]);
    refuses(Lab::sgx(), change, &[TcbInfoFmspc]);
    let change = |lab: &mut Lab| lab.pck_items = pck_items(5, 13, &FMSPC, &[1, 0]);
    refuses(Lab::sgx(), change, &[TcbInfoPceid]);
}

#[test]
fn an_sgx_extension_that_is_not_exactly_intels_is_refused() {
    let items = || pck_items(5, 13, &FMSPC, &[0, 0]);
    let id = |number: &str| oid(&format!("{SGX_EXTENSION}.{number}"));
    let mut cases = vec![("none at all".to_string(), Vec::new())];
    for missing in 0..5 {
        let mut items = items();
        items.remove(missing);
        cases.push((format!("item {} missing", missing + 1), items));
        let mut items = self::items_twice(missing);
        cases.push((format!("item {} twice", missing + 1), std::mem::take(&mut items)));
    }
    for (what, item) in [
        ("an unknown item", seq(&[&id("9"), &octets(&[0])])),
        ("an item of another tree", seq(&[&oid("1.2.3.4.1"), &octets(&[0; 16])])),
        ("a value of another length", seq(&[&id("6"), &octets(&[0; 15])])),
        ("a value of another type", seq(&[&id("6"), &integer(1)])),
        ("a value and more", seq(&[&id("6"), &octets(&[0; 16]), &integer(1)])),
        ("an unknown flag", seq(&[&id("7"), &seq(&[&seq(&[&id("7.4"), &[1, 1, 0]])])])),
        ("a flag that is neither", seq(&[&id("7"), &seq(&[&seq(&[&id("7.1"), &[1, 1, 7]])])])),
        ("the TCB again, empty", seq(&[&id("2"), &seq(&[])])),
    ] {
        let mut items = items();
        items.push(item);
        cases.push((what.into(), items));
    }
    for (svn, what) in [(256, "too large"), (70_000, "far too large")] {
        let mut items = items();
        let component = seq(&[&id("2.1"), &integer(svn)]);
        items[1] = seq(&[&id("2"), &tlv(0x30, &component)]);
        cases.push((format!("an SVN {what}"), items));
    }
    for (what, items) in cases {
        let mut lab = Lab::sgx();
        lab.pck_items = items;
        let failed = failed(&verdict(&lab));
        assert!(failed.contains(&PckExtension), "{what}: {failed:?}");
    }
}

fn items_twice(index: usize) -> Vec<Vec<u8>> {
    let mut items = pck_items(5, 13, &FMSPC, &[0, 0]);
    items.push(items[index].clone());
    items
}

#[test]
fn unknown_critical_and_repeated_extensions_are_refused() {
    let unknown = extension("1.2.3.4", true, &[5, 0]);
    for extension in [unknown, Lab::sgx().pck.extensions[0].clone()] {
        let mut lab = Lab::sgx();
        lab.pck.extensions.push(extension);
        assert!(failed(&verdict(&lab)).contains(&PckChain));
    }
    let mut lab = Lab::sgx();
    lab.pck.extensions.push(extension("1.2.3.4", false, &[5, 0]));
    assert!(verdict(&lab).is_accepted());
}
