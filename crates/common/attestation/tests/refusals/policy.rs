//! What the policy does not allow, in evidence that is genuine.

use attestation::policy::{ConfigRule, NOTHING_FREE, SignerRule};
use attestation::{CheckId, Policy, ReferenceValues, Verdict};

use super::{Lab, expected, refused};
use crate::common::lab::{MRENCLAVE, MRSIGNER, NOW, PPID};

fn decide(policy: &Policy, references: &ReferenceValues) -> Verdict {
    let lab = Lab::sgx();
    lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
        policy,
        references,
        &expected(),
    )
}

fn by(change: impl FnOnce(&mut Policy)) -> Verdict {
    let mut policy = Lab::sgx().policy();
    change(&mut policy);
    decide(&policy, &ReferenceValues::default())
}

#[test]
fn a_policy_that_names_no_measurement_accepts_none() {
    refused(&by(|policy| policy.mrenclave.clear()), &[CheckId::PolicyMeasurement]);
}

#[test]
fn signer_product_and_version_count_together() {
    let rule = SignerRule { mrsigner: MRSIGNER, isvprodid: 7, min_isvsvn: 3 };
    let with = |rule| {
        by(|policy| {
            policy.mrenclave.clear();
            policy.mrsigner = vec![rule];
        })
    };
    assert!(with(rule).is_accepted());
    assert!(with(SignerRule { min_isvsvn: 2, ..rule }).is_accepted());
    for other in [
        SignerRule { mrsigner: [0; 32], ..rule },
        SignerRule { isvprodid: 8, ..rule },
        SignerRule { isvprodid: 0, ..rule },
        SignerRule { min_isvsvn: 4, ..rule },
    ] {
        refused(&with(other), &[CheckId::PolicyMeasurement]);
    }
}

#[test]
fn a_machine_that_the_policy_does_not_name_is_refused() {
    let named = by(|policy| policy.platforms = Some(vec![vec![1; 16], PPID.to_vec()]));
    assert!(named.is_accepted());
    let other = by(|policy| policy.platforms = Some(vec![vec![1; 16]]));
    refused(&other, &[CheckId::PolicyPlatform]);
    // Without a list, the verdict says which machine it was.
    let any = by(|_| ());
    assert_eq!(any.platform.and_then(|platform| platform.ppid), Some(PPID));
}

#[test]
fn a_configuration_that_the_policy_does_not_name_is_refused() {
    let lab = Lab::sgx();
    let mut policy = lab.policy();
    policy.config_digest = ConfigRule::OneOf(vec![[1; 32]]);
    let with = |expected| {
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
            &policy,
            &ReferenceValues::default(),
            &expected,
        )
    };
    assert!(with(expected().with_config_digest([1; 32])).is_accepted());
    refused(&with(expected().with_config_digest([2; 32])), &[CheckId::PolicyConfigDigest]);
    refused(&with(expected()), &[CheckId::PolicyConfigDigest]);
}

#[test]
fn what_the_host_chose_is_refused_where_the_policy_does_not_say() {
    let lab = Lab::sgx();
    let with = |rule, expected| {
        let policy = Policy { config_digest: rule, ..lab.policy() };
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).appraise(
            &policy,
            &ReferenceValues::default(),
            &expected,
        )
    };
    let chosen = || expected().with_config_digest([1; 32]);
    let refusal = with(ConfigRule::Unsaid, chosen());
    refused(&refusal, &[CheckId::PolicyConfigDigest]);
    let words = refusal.checks.failed().map(ToString::to_string).collect::<String>();
    assert!(words.contains("config_digest") && words.contains(&"01".repeat(32)), "{words}");
    assert!(with(ConfigRule::Any, chosen()).is_accepted());
    // Nothing was left to the host, or the evidence is not of a workload that has a manifest.
    let nothing = expected().with_config_digest(NOTHING_FREE);
    assert!(with(ConfigRule::Unsaid, nothing).is_accepted());
    assert!(with(ConfigRule::Unsaid, expected()).is_accepted());
}

#[test]
fn a_reference_value_that_is_unknown_or_expired_is_refused() {
    let values = |measurement: &[u8], expires: u64| {
        ReferenceValues::from_toml(&format!(
            "[[reference]]\nname = 'payroll'\nversion = '1'\nmeasurement = '{}'\nexpires = '{}'",
            attestation::hex::Hex(measurement),
            attestation::time::Rfc3339(expires)
        ))
        .expect("reference values")
    };
    let mut policy = Lab::sgx().policy();
    policy.mrenclave.clear();
    policy.references = vec!["payroll".into()];
    assert!(decide(&policy, &values(&MRENCLAVE, NOW)).is_accepted());
    let ids = [CheckId::PolicyReference, CheckId::PolicyMeasurement];
    refused(&decide(&policy, &values(&MRENCLAVE, NOW - 1)), &ids);
    refused(&decide(&policy, &ReferenceValues::default()), &ids);
    refused(&decide(&policy, &values(&[0; 32], NOW)), &[CheckId::PolicyMeasurement]);
    policy.references = vec!["other".into()];
    refused(&decide(&policy, &values(&MRENCLAVE, NOW)), &ids);
}
