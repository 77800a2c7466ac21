//! Local reports: made by the emulator's EREPORT, verified with its EGETKEY, and refused in every other way.

use attestation::check::CheckId;
use attestation::local::{NoKey, ReportKeys, verify};
use attestation::policy::TeeRule;
use attestation::{Decision, ExpectedReportData, Now, Policy, ReferenceValues, Verdict};
use sgx::einit::Identity;
use sgx::keys::{Platform, report_mac};
use sgx::{
    AttributeFlags, Attributes, KeyName, KeyPolicy, Keyrequest, Miscselect, ReportBody, Targetinfo,
    Xfrm,
};

/// An enclave on an emulated CPU: the verifier.
struct Verifier {
    cpu: Platform,
    identity: Identity,
}

impl ReportKeys for Verifier {
    fn report_mac(&self, keyid: &[u8; 32], body: &ReportBody) -> Result<[u8; 16], NoKey> {
        let request = Keyrequest {
            keyname: KeyName::Report as u16,
            keypolicy: KeyPolicy::empty(),
            keyid: *keyid,
            ..Keyrequest::default()
        };
        let key = self.cpu.egetkey(&self.identity, &request.to_bytes()).map_err(|_| NoKey)?;
        Ok(report_mac(&key, body))
    }
}

struct Refusing;

impl ReportKeys for Refusing {
    fn report_mac(&self, _: &[u8; 32], _: &ReportBody) -> Result<[u8; 16], NoKey> {
        Err(NoKey)
    }
}

fn cpu(secret: u8) -> Platform {
    Platform { root: [secret; 16], seal_fuses: [secret; 16], owner_epoch: [0; 16], cpusvn: [2; 16] }
}

fn identity(mrenclave: u8, flags: AttributeFlags) -> Identity {
    Identity {
        mrenclave: [mrenclave; 32],
        mrsigner: [7; 32],
        attributes: Attributes {
            flags: flags | AttributeFlags::INIT | AttributeFlags::MODE64BIT,
            xfrm: Xfrm::LEGACY,
        },
        miscselect: Miscselect::empty(),
        isvprodid: 1,
        isvsvn: 2,
        configid: [0; 64],
        configsvn: 0,
        isvextprodid: [0; 16],
        isvfamilyid: [0; 16],
    }
}

fn verifier() -> Verifier {
    Verifier { cpu: cpu(1), identity: identity(0xee, AttributeFlags::empty()) }
}

fn target(identity: &Identity) -> Targetinfo {
    Targetinfo {
        measurement: identity.mrenclave,
        attributes: identity.attributes,
        miscselect: identity.miscselect,
        configid: identity.configid,
        configsvn: identity.configsvn,
        ..Targetinfo::default()
    }
}

/// A report of an enclave on this CPU, for this target.
fn report(cpu: &Platform, enclave: &Identity, target: &Targetinfo) -> [u8; 432] {
    cpu.ereport(enclave, target, &[0x5d; 64], &[3; 32]).to_bytes()
}

fn policy() -> Policy {
    let mut policy = Policy::strict([0; 32]);
    policy.tee = vec![TeeRule::Emulated];
    policy.mrenclave = vec![[0xaa; 32]];
    policy
}

fn judge(report: &[u8], keys: &impl ReportKeys, policy: &Policy) -> Verdict {
    let expected = ExpectedReportData::new(&[0x5d; 64]).expect("64 bytes");
    let references = ReferenceValues::default();
    verify(report, keys, true, policy, &references, &expected, Now::given(0))
}

#[track_caller]
fn refuses(verdict: &Verdict, id: CheckId) {
    let failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    assert_eq!(failed, [id]);
    assert_eq!(verdict.verdict, Decision::Refused);
}

fn good() -> [u8; 432] {
    let verifier = verifier();
    report(&verifier.cpu, &identity(0xaa, AttributeFlags::empty()), &target(&verifier.identity))
}

#[test]
fn a_report_for_this_enclave_is_accepted_and_says_that_it_is_emulated() {
    let verdict = judge(&good(), &verifier(), &policy());
    let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
    assert!(verdict.is_accepted(), "{failed:?}");
    let verdict = serde_json::to_value(verdict).unwrap();
    assert_eq!((&verdict["tee"], &verdict["emulated"]), (&"sgx_la".into(), &true.into()));
    // Other checks than those of a signature: nobody outside of this CPU learns anything.
    assert!(verdict["checks"].as_array().unwrap().iter().all(|check| check["id"] != "policy.root"));
}

#[test]
fn emulated_is_never_hardware() {
    let mut policy = policy();
    for rule in [TeeRule::Hardware, TeeRule::Sgx] {
        policy.tee = vec![rule];
        refuses(&judge(&good(), &verifier(), &policy), CheckId::PolicyTee);
    }
    // Whoever believes to be on hardware: the report's CPUSVN says otherwise.
    let mut verifier = verifier();
    verifier.cpu.cpusvn = sgx::report::EMULATED_CPUSVN;
    let enclave = identity(0xaa, AttributeFlags::empty());
    let report = report(&verifier.cpu, &enclave, &target(&verifier.identity));
    let expected = ExpectedReportData::new(&[0x5d; 64]).expect("64 bytes");
    let references = ReferenceValues::default();
    let verdict = verify(&report, &verifier, false, &policy, &references, &expected, Now::given(0));
    assert!(verdict.emulated);
    refuses(&verdict, CheckId::PolicyTee);
}

#[test]
fn group_1_any_flipped_bit_is_refused() {
    let good = good();
    for byte in 0..good.len() {
        let mut changed = good;
        changed[byte] ^= 1 << (byte % 8);
        let verdict = judge(&changed, &verifier(), &policy());
        let blamed = [CheckId::LocalMac, CheckId::LocalFormat];
        assert!(verdict.checks.failed().any(|check| blamed.contains(&check.id)), "{byte}");
    }
}

#[test]
fn group_2_another_length_is_refused() {
    let good = good();
    let long = [&good[..], &[0]].concat();
    for bytes in [&good[..431], &[], &long] {
        let verdict = judge(bytes, &verifier(), &policy());
        assert_eq!(verdict.verdict, Decision::Refused);
        assert!(verdict.checks.iter().all(|check| !check.ok));
        assert!(verdict.checks.find(CheckId::LocalFormat).is_some());
    }
}

#[test]
fn a_report_for_another_enclave_or_of_another_cpu_is_refused() {
    let verifier = verifier();
    let enclave = identity(0xaa, AttributeFlags::empty());
    let mut other = target(&verifier.identity);
    other.measurement[0] ^= 1;
    let verdict = judge(&report(&verifier.cpu, &enclave, &other), &verifier, &policy());
    refuses(&verdict, CheckId::LocalMac);
    let stranger = cpu(2);
    let foreign = report(&stranger, &enclave, &target(&verifier.identity));
    refuses(&judge(&foreign, &verifier, &policy()), CheckId::LocalMac);
    refuses(&judge(&good(), &Refusing, &policy()), CheckId::LocalMac);
}

#[test]
fn a_refusal_does_not_give_the_right_mac_away() {
    let mut forged = good();
    forged[320] ^= 1;
    let verifier = verifier();
    let right = verifier
        .report_mac(&[3; 32], &sgx::Report::from_bytes(&forged).body)
        .expect("EGETKEY gives the report key");
    let verdict = serde_json::to_string(&judge(&forged, &verifier, &policy())).unwrap();
    let right: String = right.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!verdict.contains(&right));
}

#[test]
fn group_5_and_6_debug_and_another_measurement_are_refused() {
    let verifier = verifier();
    let target = target(&verifier.identity);
    let debug = report(&verifier.cpu, &identity(0xaa, AttributeFlags::DEBUG), &target);
    refuses(&judge(&debug, &verifier, &policy()), CheckId::PolicyDebug);
    let mut policy = policy();
    policy.allow_debug = true;
    assert!(judge(&debug, &verifier, &policy).is_accepted());
    policy.mrenclave = vec![[0xab; 32]];
    refuses(&judge(&good(), &verifier, &policy), CheckId::PolicyMeasurement);
}

#[test]
fn group_19_wrong_report_data_is_refused() {
    let verifier = verifier();
    let enclave = identity(0xaa, AttributeFlags::empty());
    for byte in [0, 63] {
        let mut data = [0x5d; 64];
        data[byte] ^= 1;
        let target = target(&verifier.identity);
        let report = verifier.cpu.ereport(&enclave, &target, &data, &[3; 32]).to_bytes();
        refuses(&judge(&report, &verifier, &policy()), CheckId::ReportData);
    }
}
