//! What an inclavared says, at the level at which it is trusted.

use attestation::policy::{Level, SignerRule};
use attestation::relayed::{Relayed, stranger};
use attestation::{CheckId, Decision, Policy, ReferenceValues, TcbStatus, Verdict};

use crate::common::lab::{Lab, MRENCLAVE};
use crate::failed;

const RELAY: [u8; 32] = [7; 32];

/// One thing that is not as it should be.
type Change = fn(&mut Relayed);

fn told(lab: &Lab) -> Relayed {
    Relayed {
        mrenclave: MRENCLAVE,
        mrsigner: [2; 32],
        isvprodid: 3,
        isvsvn: 4,
        debug: false,
        tcb_status: TcbStatus::UpToDate,
        root: *lab.verifier().anchor().sha256(),
    }
}

fn policy(lab: &Lab) -> Policy {
    Policy { level: Level::HopByHop, inclavared: vec![RELAY], ..lab.policy() }
}

fn decide(lab: &Lab, told: &Relayed, policy: &Policy) -> Verdict {
    let verifier = lab.verifier();
    told.appraise(&RELAY, policy, &ReferenceValues::default(), verifier.anchor(), lab.now())
}

#[test]
fn each_part_of_its_word_is_looked_at() {
    let lab = Lab::sgx();
    let policy = policy(&lab);
    let good = told(&lab);
    let accepted = decide(&lab, &good, &policy);
    assert!(accepted.is_accepted(), "{:?}", failed(&accepted));
    assert_eq!(accepted.emulated, lab.verifier().anchor().is_emulated());
    let changes: [(Change, CheckId); 4] = [
        (|it| it.mrenclave[0] ^= 1, CheckId::PolicyMeasurement),
        (|it| it.debug = true, CheckId::PolicyDebug),
        (|it| it.tcb_status = TcbStatus::OutOfDate, CheckId::PolicyTcbStatus),
        (|it| it.root[0] ^= 1, CheckId::RootIdentity),
    ];
    for (change, id) in changes {
        let mut told = good.clone();
        change(&mut told);
        let verdict = decide(&lab, &told, &policy);
        assert_eq!(failed(&verdict), [id].into());
        assert_eq!(verdict.verdict, Decision::Refused);
    }
}

#[test]
fn the_signer_counts_with_product_and_version() {
    let lab = Lab::sgx();
    let rule = SignerRule { mrsigner: [2; 32], isvprodid: 3, min_isvsvn: 4 };
    let by_signer = |rule| Policy { mrenclave: vec![], mrsigner: vec![rule], ..policy(&lab) };
    assert!(decide(&lab, &told(&lab), &by_signer(rule)).is_accepted());
    for rule in [
        SignerRule { mrsigner: [1; 32], ..rule },
        SignerRule { isvprodid: 2, ..rule },
        SignerRule { min_isvsvn: 5, ..rule },
    ] {
        let verdict = decide(&lab, &told(&lab), &by_signer(rule));
        assert_eq!(failed(&verdict), [CheckId::PolicyMeasurement].into());
    }
}

/// Also under a policy of another level, which names no relay, whatever else it allows.
#[test]
fn a_relay_that_the_policy_does_not_name_is_refused() {
    let lab = Lab::sgx();
    for policy in [lab.policy(), Policy { inclavared: vec![[8; 32]], ..policy(&lab) }] {
        let verdict = decide(&lab, &told(&lab), &policy);
        assert_eq!(failed(&verdict), [CheckId::HopInclavared].into());
        let (verifier, now) = (lab.verifier(), lab.now());
        let verdict = stranger(&RELAY, &policy, verifier.anchor(), now);
        assert_eq!(failed(&verdict), [CheckId::HopInclavared].into());
        assert_eq!((verdict.verdict, verdict.measurement), (Decision::Refused, None));
    }
    // Nor does a name make its word good before it was heard.
    let verdict = stranger(&RELAY, &policy(&lab), lab.verifier().anchor(), lab.now());
    assert_eq!(verdict.verdict, Decision::Refused);
}
