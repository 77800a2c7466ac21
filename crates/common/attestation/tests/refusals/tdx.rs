//! What is particular to trust domains.

use attestation::{CheckId, TcbStatus};

use super::{Lab, refused, refuses, verdict};

const MRSIGNERSEAM: usize = 64;
const SEAM_ATTRIBUTES: usize = 112;
const TD_ATTRIBUTES: usize = 120;
const MRTD: usize = 136;
const RTMR0: usize = 328;
const TEE_TCB_SVN2: usize = 584;
const MRSERVICETD: usize = 600;

#[test]
fn another_measurement_is_refused() {
    refuses(Lab::tdx(None), |lab| lab.body[MRTD] ^= 1, &[CheckId::PolicyMeasurement]);
    let mut lab = Lab::tdx(None);
    lab.body[RTMR0] = 1;
    let mut policy = lab.policy();
    let decide = |policy: &attestation::Policy| {
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
            policy,
            &attestation::ReferenceValues::default(),
            &super::expected(),
        )
    };
    assert!(decide(&policy).is_accepted(), "an RTMR that the policy leaves open");
    policy.tdx[0].rtmr[0] = Some([0; 48]);
    refused(&decide(&policy), &[CheckId::PolicyMeasurement]);
}

#[test]
fn a_domain_that_the_host_can_look_into_is_refused() {
    // DEBUG, and the three kinds of profiling.
    for bit in [0, 4, 5, 6] {
        let change = |lab: &mut Lab| lab.body[TD_ATTRIBUTES] |= 1 << bit;
        refuses(Lab::tdx(None), change, &[CheckId::PolicyDebug]);
    }
}

#[test]
fn attributes_that_let_the_host_in_are_refused() {
    let set = |bit: usize| move |lab: &mut Lab| lab.body[TD_ATTRIBUTES + bit / 8] ^= 1 << (bit % 8);
    // Migratable; SEPT_VE_DISABLE cleared; reserved bits.
    for bit in [29, 28, 1, 2, 3, 7, 8, 15, 23, 26, 32, 61] {
        refuses(Lab::tdx(None), set(bit), &[CheckId::TdxAttributes]);
    }
    // SERVTD_EXT.
    refuses(Lab::tdx(Some(3)), set(17), &[CheckId::TdxServiceTd]);
    for harmless in [30, 63] {
        let mut lab = Lab::tdx(None);
        set(harmless)(&mut lab);
        assert!(verdict(&lab).is_accepted(), "bit {harmless}");
    }
}

#[test]
fn a_service_td_is_refused() {
    for body_type in [3, 4] {
        let change = |lab: &mut Lab| lab.body[MRSERVICETD + 47] = 1;
        refuses(Lab::tdx(Some(body_type)), change, &[CheckId::TdxServiceTd]);
    }
}

#[test]
fn another_tdx_module_is_refused() {
    refuses(Lab::tdx(None), |lab| lab.body[MRSIGNERSEAM] = 1, &[CheckId::TdxModule]);
    let change = |lab: &mut Lab| lab.body[SEAM_ATTRIBUTES + 7] = 0x80;
    refuses(Lab::tdx(None), change, &[CheckId::TdxSeamAttributes]);
    // A bit that the mask leaves out is nobody's to set.
    let change = |lab: &mut Lab| {
        lab.tcb_info["tdxModuleIdentities"][0]["attributesMask"] = "00".repeat(8).into();
        lab.body[SEAM_ATTRIBUTES] = 1;
    };
    refuses(Lab::tdx(None), change, &[CheckId::TdxSeamAttributes]);
}

#[test]
fn a_module_version_that_the_tcb_info_does_not_know_is_refused() {
    let mut lab = Lab::tdx(None);
    lab.body[1] = 2;
    let failed = super::failed(&verdict(&lab));
    for id in [CheckId::TdxModule, CheckId::TcbLevel] {
        assert!(failed.contains(&id), "{failed:?}");
    }
}

#[test]
fn an_outdated_module_makes_the_platform_outdated() {
    let mut lab = Lab::tdx(None);
    lab.body[0] = 3;
    let got = verdict(&lab);
    refused(&got, &[CheckId::PolicyTcbStatus]);
    assert_eq!(got.tcb_status, Some(TcbStatus::OutOfDate));
    assert_eq!(got.advisories, ["LAB-SA-00002"]);
    // Below every level of the module.
    lab.body[0] = 1;
    assert!(super::failed(&verdict(&lab)).contains(&CheckId::TcbLevel));
}

#[test]
fn a_domain_started_before_an_update_is_told_to_start_again() {
    let mut lab = Lab::tdx(Some(3));
    lab.body[0] = 3;
    let got = verdict(&lab);
    refused(&got, &[CheckId::PolicyTcbStatus]);
    assert_eq!(got.tcb_status, Some(TcbStatus::TDRelaunchAdvised));
    // The current level must be a known one too.
    lab.body[0] = 5;
    lab.body[TEE_TCB_SVN2] = 1;
    assert!(super::failed(&verdict(&lab)).contains(&CheckId::TcbLevel));
}

/// Where the module has a version, its identity judges the first two components; the rest count.
#[test]
fn the_other_module_components_count() {
    let mut lab = Lab::tdx(None);
    lab.body[2] = 3;
    assert!(super::failed(&verdict(&lab)).contains(&CheckId::TcbLevel));
}
