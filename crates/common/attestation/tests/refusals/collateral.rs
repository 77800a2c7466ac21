//! Faults of TCB info and QE identity.

use attestation::CheckId::{self, *};
use serde_json::Value;

use super::{Change, Lab, failed, refuses, verdict};
use crate::common::lab::{Key, NOW};

fn date(seconds: u64) -> Value {
    attestation::time::Rfc3339(seconds).to_string().into()
}

#[test]
fn a_changed_document_or_signature_is_refused() {
    let lab = Lab::sgx();
    let decide = |collateral| {
        lab.verifier().examine(&lab.quote(), &collateral, lab.now()).authenticate(&lab.policy())
    };
    let mut collateral = lab.collateral();
    collateral.tcb_info = collateral.tcb_info.replace("LAB-SA-00003", "LAB-SA-00004");
    super::refused(&decide(collateral), &[TcbInfoSignature]);
    // White space is signed too.
    let mut collateral = lab.collateral();
    collateral.qe_identity.push(' ');
    super::refused(&decide(collateral), &[QeIdentitySignature]);
    for len in [0, 63, 65, 72] {
        let mut collateral = lab.collateral();
        collateral.tcb_info_signature.resize(len, 0);
        super::refused(&decide(collateral), &[TcbInfoSignature]);
    }
    // The signature of the one under the other.
    let mut collateral = lab.collateral();
    collateral.tcb_info_signature.clone_from(&collateral.qe_identity_signature);
    super::refused(&decide(collateral), &[TcbInfoSignature]);
}

#[test]
fn a_document_signed_by_another_key_is_refused() {
    let other = Key::new(99);
    // The certificate names one key, another signed.
    let lab = Lab::sgx();
    let mut collateral = lab.collateral();
    collateral.tcb_info_signature = other.sign(collateral.tcb_info.as_bytes()).to_vec();
    let verdict =
        lab.verifier().examine(&lab.quote(), &collateral, lab.now()).authenticate(&lab.policy());
    super::refused(&verdict, &[TcbInfoSignature]);
}

#[test]
fn expired_and_future_documents_are_refused() {
    let expired: [(Change, CheckId); 4] = [
        (|lab| lab.tcb_info["nextUpdate"] = date(NOW - 1), TcbInfoValidity),
        (|lab| lab.tcb_info["issueDate"] = date(NOW + 1), TcbInfoValidity),
        (|lab| lab.qe_identity["nextUpdate"] = date(NOW - 1), QeIdentityValidity),
        (|lab| lab.qe_identity["issueDate"] = date(NOW + 1), QeIdentityValidity),
    ];
    for (change, id) in expired {
        refuses(Lab::sgx(), change, &[id]);
    }
}

#[test]
fn documents_for_another_tee_are_refused() {
    let tdx = Lab::tdx(None);
    refuses(
        Lab::sgx(),
        |lab| lab.tcb_info = tdx.tcb_info.clone(),
        &[TcbInfoId, TcbLevel, TcbRevoked, PolicyTcbStatus, PolicyAdvisories, PolicyMinTcbEval],
    );
    refuses(Lab::sgx(), |lab| lab.qe_identity = tdx.qe_identity, &[QeIdentityId]);
    let sgx = Lab::sgx();
    let failed = failed(&{
        let mut lab = Lab::tdx(None);
        lab.tcb_info = sgx.tcb_info;
        verdict(&lab)
    });
    assert!(failed.contains(&TcbInfoId) && failed.contains(&TdxModule), "{failed:?}");
}

#[test]
fn documents_of_another_form_are_refused() {
    let cases: [(Change, CheckId); 9] = [
        (|lab| lab.tcb_info["version"] = 2.into(), TcbInfoFormat),
        (|lab| lab.tcb_info["version"] = 4.into(), TcbInfoFormat),
        (|lab| lab.tcb_info["id"] = "QE".into(), TcbInfoFormat),
        (|lab| lab.tcb_info["fmspc"] = "00".into(), TcbInfoFormat),
        (|lab| lab.tcb_info["tcbLevels"] = Value::Null, TcbInfoFormat),
        (|lab| lab.qe_identity["version"] = 3.into(), QeIdentityFormat),
        (|lab| lab.qe_identity["id"] = "SGX".into(), QeIdentityFormat),
        (|lab| lab.qe_identity["mrsigner"] = "88".into(), QeIdentityFormat),
        (|lab| lab.qe_identity["attributesMask"] = "FF".into(), QeIdentityFormat),
    ];
    for (change, id) in cases {
        let mut lab = Lab::sgx();
        change(&mut lab);
        let failed = failed(&verdict(&lab));
        assert!(failed.contains(&id), "{id}: {failed:?}");
    }
}

#[test]
fn svn_arrays_of_another_length_are_refused() {
    for (levels, array) in [("tcbLevels", "sgxtcbcomponents"), ("tcbLevels", "tdxtcbcomponents")] {
        for len in [0, 15, 17] {
            let mut lab = Lab::tdx(None);
            let components = &mut lab.tcb_info[levels][2]["tcb"][array];
            let component = components[0].clone();
            components.as_array_mut().expect("an array").resize(len, component);
            let failed = failed(&verdict(&lab));
            assert!(failed.contains(&TcbInfoFormat), "{array} of {len}: {failed:?}");
        }
    }
}

/// Signed so, and refused all the same: another reader could take the other value.
#[test]
fn a_key_that_comes_twice_is_refused() {
    let lab = Lab::sgx();
    let (tcb_info, qe_identity) = (lab.tcb_info.to_string(), lab.qe_identity.to_string());
    let twice = tcb_info.replacen(r#""tcbStatus":"#, r#""tcbStatus":"OutOfDate","tcbStatus":"#, 1);
    assert_ne!(twice, tcb_info);
    let decide = |tcb_info: &str, qe_identity: &str| {
        let collateral = lab.collateral_of(tcb_info, qe_identity);
        lab.verifier().examine(&lab.quote(), &collateral, lab.now()).authenticate(&lab.policy())
    };
    assert!(failed(&decide(&twice, &qe_identity)).contains(&TcbInfoFormat));
    let twice = qe_identity.replacen('{', r#"{"isvprodid":9,"#, 1);
    assert!(failed(&decide(&tcb_info, &twice)).contains(&QeIdentityFormat));
    // A key that nobody reads is no better.
    let twice = qe_identity.replacen('{', r#"{"note":1,"note":2,"#, 1);
    assert!(failed(&decide(&tcb_info, &twice)).contains(&QeIdentityFormat));
    assert!(decide(&tcb_info, &qe_identity).checks.all_hold());
}

#[test]
fn older_collateral_than_the_policy_asks_for_is_refused() {
    let mut lab = Lab::sgx();
    let mut policy = lab.policy();
    policy.min_tcb_eval = 20;
    let decide = |lab: &Lab| {
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).authenticate(&policy)
    };
    assert!(decide(&lab).checks.all_hold());
    // The lower of the two documents counts.
    lab.qe_identity["tcbEvaluationDataNumber"] = 19.into();
    super::refused(&decide(&lab), &[PolicyMinTcbEval]);
}
