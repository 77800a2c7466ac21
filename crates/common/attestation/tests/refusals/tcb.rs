//! Patch levels.

use attestation::{CheckId, TcbStatus};

use super::{Lab, refused, verdict};
use crate::common::lab::{FMSPC, pck_items};

fn at(svn: u8, pcesvn: u16) -> Lab {
    let mut lab = Lab::sgx();
    lab.pck_items = pck_items(svn, pcesvn, &FMSPC, &[0, 0]);
    lab
}

#[test]
fn a_platform_below_every_level_is_refused() {
    use CheckId::*;
    let ids = [TcbLevel, TcbRevoked, PolicyTcbStatus, PolicyAdvisories, PolicyMinTcbEval];
    refused(&verdict(&at(0, 13)), &ids);
    refused(&verdict(&at(5, 9)), &ids);
}

#[test]
fn an_outdated_platform_is_refused_unless_the_policy_allows_it() {
    let lab = at(4, 13);
    let got = verdict(&lab);
    refused(&got, &[CheckId::PolicyTcbStatus]);
    assert_eq!(got.tcb_status, Some(TcbStatus::OutOfDate));
    assert_eq!(got.advisories, ["LAB-SA-00003"]);

    let mut policy = lab.policy();
    policy.tcb_status.push(TcbStatus::OutOfDate);
    let decide = |policy: &attestation::Policy| {
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).authenticate(policy)
    };
    assert!(decide(&policy).checks.all_hold());
    policy.advisories_deny.insert("LAB-SA-00003".into());
    refused(&decide(&policy), &[CheckId::PolicyAdvisories]);
}

#[test]
fn a_revoked_platform_is_refused_under_any_policy() {
    let lab = at(2, 13);
    let mut policy = lab.policy();
    // No document can say this; a program could.
    policy.tcb_status = vec![TcbStatus::UpToDate, TcbStatus::OutOfDate, TcbStatus::Revoked];
    let verdict =
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).authenticate(&policy);
    refused(&verdict, &[CheckId::TcbRevoked]);
    assert_eq!(verdict.tcb_status, Some(TcbStatus::Revoked));
}

#[test]
fn every_component_counts() {
    // One component of sixteen below the level: the next level is the best.
    let mut lab = Lab::sgx();
    for component in 0..16 {
        let levels = lab.tcb_info["tcbLevels"].as_array_mut().expect("an array");
        for (index, level) in levels.iter_mut().enumerate() {
            let svn = if index == 0 { 6 } else { 0 };
            let components = &mut level["tcb"]["sgxtcbcomponents"];
            for other in 0..16 {
                components[other]["svn"] = 0.into();
            }
            components[component]["svn"] = svn.into();
        }
        assert_eq!(verdict(&lab).tcb_status, Some(TcbStatus::OutOfDate), "component {component}");
    }
}

#[test]
fn an_outdated_quoting_enclave_makes_the_platform_outdated() {
    let mut lab = Lab::sgx();
    lab.qe_report[258] = 7;
    let verdict = verdict(&lab);
    refused(&verdict, &[CheckId::PolicyTcbStatus]);
    assert_eq!(verdict.tcb_status, Some(TcbStatus::OutOfDate));
    assert_eq!(verdict.advisories, ["LAB-SA-00008"]);
}

#[test]
fn other_statuses_are_refused_by_default() {
    for status in [
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    ] {
        let mut lab = Lab::sgx();
        lab.tcb_info["tcbLevels"][0]["tcbStatus"] = status.into();
        refused(&verdict(&lab), &[CheckId::PolicyTcbStatus]);
    }
}
