//! Our verifier and the crate dcap-qvl, on the same bytes: they must agree, or we must be the stricter one
//! for a reason that is listed here.
//!
//! Where we are stricter:
//! - bytes after the quote that are not zero, and bytes inside its lengths that no field covers;
//! - the certificates in the quote: the CA must be the collateral's and the root the anchor, byte for
//!   byte. The oracle finds a path and leaves the others unread;
//! - PCEID of the PCK certificate and of the TCB info must be equal;
//! - a JSON key that comes twice, in signed documents;
//! - Intel's SGX extension: every item once and of its length, none unknown;
//! - KeyUsage and BasicConstraints of every certificate;
//! - a quoting enclave that needs configuration makes the platform need it;
//! - a TDX module that was up to date at launch and is outdated now;
//! - a date in another form than `YYYY-MM-DDThh:mm:ssZ`.
//!
//! Where we read more: an SGX quote of version 4.

mod common;

use attestation::crypto::Ring;
use attestation::{Collateral, Decision, KnownPlatforms, Now, Policy, TcbStatus, Verifier};
use common::lab::{Lab, NOW};
use dcap_qvl::verify::QuoteVerifier;

/// A policy that leaves to the verifier what the oracle decides: every patch level but Revoked.
fn any_level(mut policy: Policy) -> Policy {
    use TcbStatus::*;
    policy.tcb_status = vec![
        UpToDate,
        SWHardeningNeeded,
        ConfigurationNeeded,
        ConfigurationAndSWHardeningNeeded,
        OutOfDate,
        OutOfDateConfigurationNeeded,
        TDRelaunchAdvised,
        TDRelaunchAdvisedConfigurationNeeded,
    ];
    policy
}

/// Both on the same input.
struct Pair {
    ours: Verifier<Ring>,
    oracle: QuoteVerifier,
    policy: Policy,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    /// Patch level where accepted.
    ours: Option<String>,
    oracle: Option<String>,
}

impl Pair {
    fn new(ours: Verifier<Ring>, policy: Policy) -> Self {
        let oracle = QuoteVerifier::new(ours.anchor().der().to_vec());
        Self { ours, oracle, policy: any_level(policy) }
    }

    fn lab(lab: &Lab) -> Self {
        Self::new(lab.verifier(), lab.policy())
    }

    fn judge(&self, quote: &[u8], collateral: &Collateral, seconds: u64) -> Outcome {
        let verdict =
            self.ours.examine(quote, collateral, Now::given(seconds)).authenticate(&self.policy);
        let ours = (verdict.verdict == Decision::Authentic)
            .then(|| verdict.tcb_status.expect("authentic").name().to_owned());
        let collateral: dcap_qvl::QuoteCollateralV3 =
            serde_json::from_str(&collateral.to_json()).expect("the same form");
        let oracle =
            self.oracle.verify(quote, &collateral, seconds).ok().map(|report| report.status);
        Outcome { ours, oracle }
    }
}

/// Both say the same.
#[track_caller]
fn agree(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.ours, outcome.oracle, "{what}");
}

/// What we accept, the oracle accepts with the same patch level.
#[track_caller]
fn at_least_as_strict(outcome: &Outcome, what: &str) {
    if outcome.ours.is_some() {
        assert_eq!(outcome.ours, outcome.oracle, "{what}");
    }
}

fn intel() -> Pair {
    Pair::new(common::intel(), common::lenient())
}

fn vectors() -> [(&'static [u8], Collateral, u64); 2] {
    [
        (common::SGX_QUOTE, common::collateral(common::SGX_COLLATERAL), common::SGX_TIME),
        (common::TDX_QUOTE, common::collateral(common::TDX_COLLATERAL), common::TDX_TIME),
    ]
}

#[test]
fn they_agree_on_the_vectors_at_every_time() {
    let pair = intel();
    for (quote, collateral, time) in &vectors() {
        for seconds in [0, time - 3_000_000, *time, time + 2, time + 50_000_000, common::LATER] {
            let outcome = pair.judge(quote, collateral, seconds);
            agree(&outcome, &format!("at {seconds}"));
            assert_eq!(outcome.ours.is_some(), seconds == *time);
        }
    }
}

#[test]
fn they_agree_on_what_a_lab_makes() {
    for lab in [Lab::sgx(), Lab::tdx(None), Lab::tdx(Some(2)), Lab::tdx(Some(3)), Lab::tdx(Some(4))]
    {
        let outcome = Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW);
        agree(&outcome, "unchanged");
        assert_eq!(outcome.ours.as_deref(), Some("UpToDate"), "version {}", lab.version);
    }
    let lab = Lab::sgx_v4();
    let outcome = Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW);
    assert_eq!((outcome.ours.as_deref(), outcome.oracle), (Some("UpToDate"), None));
}

#[test]
fn bit_flips_and_truncations_of_quotes() {
    let pair = intel();
    let (mut stricter, mut total) = (0, 0);
    for (quote, collateral, time) in &vectors() {
        for at in (0..quote.len()).step_by(41) {
            let mut changed = quote.to_vec();
            changed[at] ^= 1 << (at % 8);
            let outcome = pair.judge(&changed, collateral, *time);
            at_least_as_strict(&outcome, &format!("byte {at}"));
            assert_eq!(outcome.ours, None, "no flipped bit is accepted by us: byte {at}");
            stricter += usize::from(outcome.oracle.is_some());
            total += 1;
        }
        for len in (0..quote.len()).step_by(389) {
            agree(&pair.judge(&quote[..len], collateral, *time), &format!("{len} bytes"));
        }
    }
    // The certificates that the oracle does not read, and the bytes after the quote.
    assert!(stricter > 0 && stricter < total / 2, "{stricter} of {total}");
}

/// Before the certificates there is nothing that either leaves unread.
#[test]
fn bit_flips_in_what_is_signed() {
    let pair = intel();
    for (quote, collateral, time) in &vectors() {
        let certificates = quote
            .windows(10)
            .position(|window| window == b"-----BEGIN")
            .expect("a chain in the quote");
        for at in (0..certificates).step_by(23) {
            let mut changed = quote.to_vec();
            changed[at] ^= 0x80 >> (at % 8);
            agree(&pair.judge(&changed, collateral, *time), &format!("byte {at}"));
        }
    }
}

#[test]
fn changed_collateral() {
    let pair = intel();
    for (quote, collateral, time) in &vectors() {
        let json = collateral.to_json();
        for at in (1..json.len()).step_by(199) {
            let mut changed = json.clone().into_bytes();
            // Another digit or letter: still a document more often than not.
            changed[at] = match changed[at] {
                b'0'..=b'8' | b'A'..=b'Y' | b'a'..=b'y' => changed[at] + 1,
                _ => continue,
            };
            let Ok(changed) = Collateral::from_json(&changed) else { continue };
            let outcome = pair.judge(quote, &changed, *time);
            at_least_as_strict(&outcome, &format!("character {at}"));
        }
    }
}

/// Changes that are signed: the two must read the same into the same documents.
#[test]
fn changed_documents_under_good_signatures() {
    type Change = fn(&mut Lab);
    let same: [(&str, Change); 16] = [
        ("another model", |lab| lab.tcb_info["fmspc"] = "000000000000".into()),
        ("another id", |lab| lab.tcb_info["id"] = "TDX".into()),
        ("no level", |lab| lab.tcb_info["tcbLevels"] = serde_json::json!([])),
        ("an outdated level", |lab| lab.pck_items = items(4)),
        ("a revoked level", |lab| lab.pck_items = items(2)),
        ("below every level", |lab| lab.pck_items = items(0)),
        ("levels in another order", |lab| {
            lab.tcb_info["tcbLevels"].as_array_mut().expect("an array").reverse();
        }),
        ("a short array", |lab| {
            let components = &mut lab.tcb_info["tcbLevels"][0]["tcb"]["sgxtcbcomponents"];
            components.as_array_mut().expect("an array").pop();
        }),
        ("another QE signer", |lab| lab.qe_identity["mrsigner"] = "00".repeat(32).into()),
        ("another QE product", |lab| lab.qe_identity["isvprodid"] = 9.into()),
        ("an outdated QE", |lab| lab.qe_report[258] = 6),
        ("a QE below every level", |lab| lab.qe_report[258] = 4),
        ("a revoked platform", |lab| lab.pck_crl.revoked = vec![3]),
        ("a revoked CA", |lab| lab.root_crl.revoked = vec![2]),
        ("a revoked root", |lab| lab.root_crl.revoked = vec![1]),
        ("an expired CRL", |lab| lab.pck_crl.next_update = Some(NOW - 1)),
    ];
    for (what, change) in same {
        let mut lab = Lab::sgx();
        change(&mut lab);
        agree(&Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW), what);
    }
    let tdx: [(&str, Change); 8] = [
        ("another module signer", |lab| lab.body[64] = 1),
        ("module attributes", |lab| lab.body[112] = 1),
        ("an unknown module version", |lab| lab.body[1] = 7),
        ("an outdated module", |lab| lab.body[0] = 3),
        ("a module below every level", |lab| lab.body[0] = 1),
        ("a service TD", |lab| lab.body[600] = 1),
        ("a migratable TD", |lab| lab.body[123] |= 0x20),
        ("a TD without SEPT_VE_DISABLE", |lab| lab.body[123] = 0),
    ];
    for (what, change) in tdx {
        for body_type in [3, 4] {
            let mut lab = Lab::tdx(Some(body_type));
            change(&mut lab);
            agree(&Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW), what);
        }
    }
    let mut lab = Lab::tdx(Some(3));
    lab.body[584] = 3;
    let outcome = Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW);
    assert_eq!(outcome.ours.as_deref(), Some("OutOfDate"), "a module that is outdated now");
    assert_eq!(outcome.oracle.as_deref(), Some("UpToDate"), "no longer a difference");
    let stricter: [(&str, Change); 4] = [
        ("another PCE", |lab| lab.tcb_info["pceId"] = "0001".into()),
        ("an item of the SGX extension twice", |lab| {
            let again = lab.pck_items[0].clone();
            lab.pck_items.push(again);
        }),
        ("a TCB signer without KeyUsage", |lab| {
            lab.tcb_signer.extensions.clear();
        }),
        ("a QE that needs configuration", |lab| {
            lab.qe_identity["tcbLevels"][0]["tcbStatus"] = "ConfigurationNeeded".into();
        }),
    ];
    for (what, change) in stricter {
        let mut lab = Lab::sgx();
        change(&mut lab);
        let outcome = Pair::lab(&lab).judge(&lab.quote(), &lab.collateral(), NOW);
        assert_ne!(outcome.ours.as_deref(), Some("UpToDate"), "{what}");
        assert_eq!(outcome.oracle.as_deref(), Some("UpToDate"), "{what}: no longer a difference");
    }
}

/// Digits and letters of the documents exchanged at random and signed again: whatever both can read, they
/// must judge alike. `ATTESTATION_MUTATIONS` sets how many.
#[test]
fn random_changes_of_signed_documents() {
    let count = std::env::var("ATTESTATION_MUTATIONS").ok();
    let count: u64 = count.map_or(400, |text| text.parse().expect("a number"));
    let labs = [Lab::sgx(), Lab::tdx(Some(3))];
    let prepared = labs.each_ref().map(|lab| {
        (Pair::lab(lab), lab.quote(), lab.tcb_info.to_string(), lab.qe_identity.to_string())
    });
    let (mut state, mut accepted) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut random = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..count {
        let which = random(2);
        let (pair, quote, tcb_info, qe_identity) = &prepared[which];
        let mut documents = [tcb_info.clone().into_bytes(), qe_identity.clone().into_bytes()];
        let document = &mut documents[random(2)];
        for _ in 0..=random(2) {
            let at = random(document.len());
            document[at] = match document[at] {
                b'0'..=b'9' => b'0' + random(10) as u8,
                b'A'..=b'F' => b'A' + random(6) as u8,
                letter @ b'a'..=b'z' if random(8) == 0 => letter ^ 1,
                other => other,
            };
        }
        let [tcb_info, qe_identity] =
            documents.map(|bytes| String::from_utf8(bytes).expect("ASCII stays ASCII"));
        let collateral = labs[which].collateral_of(&tcb_info, &qe_identity);
        let outcome = pair.judge(quote, &collateral, NOW);
        at_least_as_strict(&outcome, &format!("round {round}: {tcb_info} {qe_identity}"));
        accepted += u64::from(outcome.ours.is_some());
    }
    assert!(accepted > count / 20 && accepted < count, "{accepted} of {count} accepted");
}

fn items(svn: u8) -> Vec<Vec<u8>> {
    common::lab::pck_items(svn, 13, &common::lab::FMSPC, &[0, 0])
}

/// The warm path is judged by the cold one, and so by the oracle.
#[test]
fn warm_and_cold_agree_on_flipped_bits() {
    let ours = common::intel();
    let (quote, collateral, time) = &vectors()[0];
    let verified = ours.collateral(collateral, Now::given(*time)).expect("good collateral");
    let known = KnownPlatforms::default();
    for at in (0..quote.len()).step_by(61) {
        let mut changed = quote.to_vec();
        changed[at] ^= 1;
        let cold = ours.examine(&changed, collateral, Now::given(*time)).verified();
        let warm = ours.examine_with(&changed, &verified, &known, Now::given(*time)).verified();
        assert_eq!(cold, warm, "byte {at}");
    }
}
