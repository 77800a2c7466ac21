//! One trust anchor per verification: no mixture of two trusted roots passes.

use attestation::crypto::Ring;
use attestation::{CheckId, Collateral, Decision, Policy, Verdict, Verifier};

use super::{Lab, failed};
use crate::common::{self, lab::NOW};

fn second() -> Lab {
    Lab::with_root("Other SGX Root CA", 2)
}

/// Both roots are in the policy: trust alone must not be enough.
fn both(policy: &Policy, other: &Lab) -> Policy {
    let mut policy = policy.clone();
    policy.roots.extend(other.policy().roots);
    policy
}

#[test]
fn quote_and_collateral_of_two_trusted_roots_are_refused() {
    let (one, two) = (Lab::sgx(), second());
    for anchor in [&one, &two] {
        for (quote, collateral) in [(&one, &two), (&two, &one)] {
            let verdict = anchor
                .verifier()
                .examine(&quote.quote(), &collateral.collateral(), one.now())
                .authenticate(&both(&one.policy(), &two));
            assert_eq!(verdict.verdict, Decision::Refused);
            assert!(failed(&verdict).contains(&CheckId::RootIdentity));
        }
    }
}

/// Every way to take some parts of the collateral from the one root and the rest from the other.
#[test]
fn no_mixture_of_collateral_of_two_trusted_roots_is_accepted() {
    let (one, two) = (Lab::sgx(), second());
    let policy = both(&one.policy(), &two);
    let (ours, theirs) = (one.collateral(), two.collateral());
    let verifier = one.verifier();
    for parts in 0..0x20u8 {
        let from = |part: u8| if parts & 1 << part == 0 { &ours } else { &theirs };
        let mixed = Collateral {
            root_ca_crl: from(0).root_ca_crl.clone(),
            pck_crl_issuer_chain: from(1).pck_crl_issuer_chain.clone(),
            pck_crl: from(2).pck_crl.clone(),
            tcb_info_issuer_chain: from(3).tcb_info_issuer_chain.clone(),
            tcb_info: from(3).tcb_info.clone(),
            tcb_info_signature: from(3).tcb_info_signature.clone(),
            qe_identity_issuer_chain: from(4).qe_identity_issuer_chain.clone(),
            qe_identity: from(4).qe_identity.clone(),
            qe_identity_signature: from(4).qe_identity_signature.clone(),
            pck_certificate_chain: None,
        };
        let verdict = verifier.examine(&one.quote(), &mixed, one.now()).authenticate(&policy);
        let expected = if parts == 0 { Decision::Authentic } else { Decision::Refused };
        assert_eq!(verdict.verdict, expected, "parts {parts:#07b}");
    }
}

/// The other root's name and serial numbers, with a key of one's own.
#[test]
fn a_root_that_only_looks_like_the_anchor_is_refused() {
    let lab = Lab::sgx();
    let mut copy = Lab::with_root("Lab SGX Root CA", 3);
    copy.root.serial = lab.root.serial;
    let verdict: Verdict = lab
        .verifier()
        .examine(&copy.quote(), &copy.collateral(), lab.now())
        .authenticate(&lab.policy());
    let failed = failed(&verdict);
    for id in [CheckId::RootIdentity, CheckId::RootCrlSignature, CheckId::PckCaSignature] {
        assert!(failed.contains(&id), "{id}");
    }
}

#[test]
fn intels_evidence_with_a_labs_collateral_is_refused_and_the_reverse() {
    let lab = Lab::sgx();
    let intel = common::intel();
    let intels = common::collateral(common::SGX_COLLATERAL);
    let policy = both(&common::lenient(), &lab);
    let cases: [(&Verifier<Ring>, Vec<u8>, &Collateral); 4] = [
        (&intel, common::SGX_QUOTE.to_vec(), &lab.collateral()),
        (&intel, lab.quote(), &intels),
        (&lab.verifier(), common::SGX_QUOTE.to_vec(), &lab.collateral()),
        (&lab.verifier(), lab.quote(), &intels),
    ];
    for (verifier, quote, collateral) in cases {
        for time in [common::SGX_TIME, NOW] {
            let verdict =
                verifier.examine(&quote, collateral, common::at(time)).authenticate(&policy);
            assert!(failed(&verdict).contains(&CheckId::RootIdentity));
        }
    }
}

#[test]
fn emulated_evidence_is_refused_where_hardware_is_asked_for() {
    use attestation::policy::TeeRule;
    let lab = Lab::sgx();
    let mut policy = lab.policy();
    let decide = |policy: &Policy| {
        lab.verifier().examine(&lab.quote(), &lab.collateral(), lab.now()).authenticate(policy)
    };
    for rules in [vec![TeeRule::Hardware], vec![TeeRule::Sgx, TeeRule::Tdx, TeeRule::Snp]] {
        policy.tee = rules;
        let verdict = decide(&policy);
        super::refused(&verdict, &[CheckId::PolicyTee]);
        assert!(verdict.emulated);
    }
    // And the reverse: hardware is not emulated.
    let mut policy = common::lenient();
    policy.tee = vec![TeeRule::Emulated];
    let verdict = common::intel()
        .examine(
            common::SGX_QUOTE,
            &common::collateral(common::SGX_COLLATERAL),
            common::at(common::SGX_TIME),
        )
        .authenticate(&policy);
    super::refused(&verdict, &[CheckId::PolicyTee]);
}

/// Verified under one anchor, used under another.
#[test]
fn verified_collateral_of_another_anchor_is_refused() {
    let (one, two) = (Lab::sgx(), second());
    let collateral = two.verifier().collateral(&two.collateral(), two.now()).expect("good");
    let known = attestation::KnownPlatforms::default();
    let verdict = one
        .verifier()
        .examine_with(&two.quote(), &collateral, &known, one.now())
        .authenticate(&both(&one.policy(), &two));
    assert!(failed(&verdict).contains(&CheckId::RootIdentity));
}
