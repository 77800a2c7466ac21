//! The crate sev beside ours: what it reads we read, what it refuses we refuse.
//!
//! Where only we refuse, it is for one of these reasons, and each such case says which:
//! - a reserved byte of a TCB version: sev checks the signature of what it writes itself, and writes zeros there;
//! - R or S above 384 bits, or what lies behind them: sev cuts it off.
//!
//! sev checks signatures and nothing else: names, dates, revocation, TCB, chip and policy are ours alone.

use attestation::check::CheckId;
use attestation::snp::Endorsements;
use attestation::snp::product::Product;
use attestation::snp::report::{Report, SigningKey};
use attestation::snp::tcb::Tcb;
use attestation::{Checks, Now, TrustAnchor, Verifier, crypto};
use made_evidence::snp::{NOW, Setup};
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser;

/// DER of root, authority and key; a report; a moment.
struct Case {
    root: Vec<u8>,
    authority: Vec<u8>,
    key: Vec<u8>,
    crl: Vec<u8>,
    report: Vec<u8>,
    now: u64,
}

fn real() -> [Case; 2] {
    macro_rules! case {
        ($name:literal, $now:literal) => {
            Case {
                root: include_bytes!(concat!("vectors/snp/ark_", $name, ".der")).to_vec(),
                authority: include_bytes!(concat!("vectors/snp/ask_", $name, ".der")).to_vec(),
                key: include_bytes!(concat!("vectors/snp/vcek_", $name, ".der")).to_vec(),
                crl: include_bytes!(concat!("vectors/snp/crl_", $name, ".der")).to_vec(),
                report: include_bytes!(concat!("vectors/snp/report_", $name, ".bin")).to_vec(),
                now: $now,
            }
        };
    }
    [case!("milan", 1_750_000_000), case!("genoa", 1_751_328_000)]
}

fn made(setup: &Setup) -> Case {
    let made = setup.make();
    Case {
        root: made.ark,
        authority: made.ask,
        key: made.vek,
        crl: made.crl,
        report: made.report,
        now: NOW,
    }
}

fn all() -> Vec<Case> {
    let mut cases = Vec::from(real());
    for version in 2..=5 {
        for product in ["Milan", "Genoa", "Turin"] {
            cases.push(made(&Setup::vcek(product, version)));
            cases.push(made(&Setup::vlek(product, version)));
        }
    }
    cases
}

impl Case {
    fn checks(&self) -> Checks {
        let crypto = crypto::Default::default();
        let anchor = TrustAnchor::from_der(&self.root, &crypto).expect("a root");
        let endorsements =
            Endorsements { key: &self.key, authority: &self.authority, crl: &self.crl };
        let verifier = Verifier::new(crypto, anchor);
        verifier.examine_snp(&self.report, &endorsements, Now::given(self.now)).checks().clone()
    }

    /// Whether every signature of the chain and the report holds, by ours.
    fn ours(&self) -> bool {
        let checks = self.checks();
        [CheckId::SnpSignature, CheckId::SnpKeySignature, CheckId::SnpAuthoritySignature]
            .into_iter()
            .all(|id| checks.holds(id))
    }

    /// The same, by sev.
    fn theirs(&self) -> bool {
        let chain = || {
            let ark = Certificate::from_der(&self.root)?;
            let ask = Certificate::from_der(&self.authority)?;
            let vek = Certificate::from_der(&self.key)?;
            Ok::<_, std::io::Error>(Chain { ca: ca::Chain { ark, ask }, vek })
        };
        let report = AttestationReport::from_bytes(&self.report);
        match (chain(), report) {
            (Ok(chain), Ok(report)) => (&chain, &report).verify().is_ok(),
            _ => false,
        }
    }
}

#[test]
fn every_field_is_read_alike() {
    for case in all() {
        let ours = Report::parse(&case.report).expect("a report");
        let theirs = AttestationReport::from_bytes(&case.report).expect("a report");
        assert_eq!(ours.version(), theirs.version);
        assert_eq!(ours.guest_svn(), theirs.guest_svn);
        assert_eq!(ours.policy().0, u64::from(theirs.policy));
        assert_eq!(ours.policy().is_debug_allowed(), theirs.policy.debug_allowed());
        assert_eq!(ours.policy().is_migration_allowed(), theirs.policy.migrate_ma_allowed());
        assert_eq!(ours.policy().is_smt_allowed(), theirs.policy.smt_allowed());
        assert_eq!((*ours.family_id(), *ours.image_id()), (theirs.family_id, theirs.image_id));
        assert_eq!(ours.vmpl(), theirs.vmpl);
        assert_eq!(ours.platform_info().0, u64::from(theirs.plat_info));
        assert_eq!(
            ours.platform_info().is_alias_check_complete(),
            theirs.plat_info.alias_check_complete()
        );
        assert_eq!(ours.has_author_key(), theirs.key_info.author_key_en());
        assert_eq!(ours.is_chip_key_masked(), theirs.key_info.mask_chip_key());
        let key = match ours.signing_key() {
            SigningKey::Vcek => 0,
            SigningKey::Vlek => 1,
            SigningKey::None => 7,
        };
        assert_eq!(key, theirs.key_info.signing_key());
        assert_eq!(*ours.report_data(), theirs.report_data);
        assert_eq!(*ours.measurement(), theirs.measurement);
        assert_eq!(*ours.host_data(), theirs.host_data);
        assert_eq!(*ours.id_key_digest(), theirs.id_key_digest);
        assert_eq!(*ours.author_key_digest(), theirs.author_key_digest);
        assert_eq!(*ours.report_id(), theirs.report_id);
        assert_eq!(*ours.report_id_ma(), theirs.report_id_ma);
        assert_eq!(*ours.chip_id(), theirs.chip_id);
        let version = |v: sev::firmware::guest::Version| (v.major, v.minor, v.build);
        assert_eq!(ours.current_version(), version(theirs.current));
        assert_eq!(ours.committed_version(), version(theirs.committed));
        assert_eq!(ours.mitigations(), theirs.launch_mit_vector.zip(theirs.current_mit_vector));

        // Version 2 does not say which product it is; sev guesses by CHIP_ID as we would not.
        let product = match (ours.product(), theirs.reported_tcb.fmc) {
            (Some(product), _) => product.expect("a known product"),
            (None, Some(_)) => Product::Turin,
            (None, None) => Product::Milan,
        };
        for (ours, theirs) in [
            (ours.current_tcb(), theirs.current_tcb),
            (ours.reported_tcb(), theirs.reported_tcb),
            (ours.committed_tcb(), theirs.committed_tcb),
            (ours.launch_tcb(), theirs.launch_tcb),
        ] {
            let Tcb { fmc, bootloader, tee, snp, microcode, reserved } =
                Tcb::from_bytes(ours, product);
            assert_eq!(TcbVersion::new(fmc, bootloader, tee, snp, microcode), theirs);
            assert_eq!(reserved, [0; 4]);
        }
    }
}

#[test]
fn every_chain_is_accepted_by_both() {
    for case in all() {
        assert!(case.ours() && case.theirs());
    }
}

/// Whether only we refuse a report with a bit flipped here.
fn is_stricter(is_turin: bool, byte: usize) -> bool {
    let in_tcb = |start: usize| {
        let reserved = if is_turin { 4..7 } else { 2..6 };
        byte.checked_sub(start).is_some_and(|offset| reserved.contains(&offset))
    };
    let beyond_384_bits = (0x2d0..0x2e8).contains(&byte) || byte >= 0x318;
    beyond_384_bits || [0x38, 0x180, 0x1e0, 0x1f0].into_iter().any(in_tcb)
}

#[test]
fn a_flipped_bit_is_refused_by_both_but_for_the_listed_reasons() {
    for case in real().into_iter().chain([made(&Setup::vcek("Turin", 5))]) {
        let vek = Certificate::from_der(&case.key).expect("a certificate");
        for byte in 0..case.report.len() {
            let mut report = case.report.clone();
            report[byte] ^= 1 << (byte % 8);
            let theirs = AttestationReport::from_bytes(&report)
                .is_ok_and(|report| (&vek, &report).verify().is_ok());
            let changed = Case {
                report,
                root: case.root.clone(),
                authority: case.authority.clone(),
                key: case.key.clone(),
                crl: case.crl.clone(),
                now: case.now,
            };
            assert!(!changed.checks().holds(CheckId::SnpSignature), "{byte:#x}");
            let is_turin = case.report[0x188] == 0x1a;
            assert_eq!(theirs, is_stricter(is_turin, byte), "{byte:#x}");
        }
    }
}

#[test]
fn chains_that_do_not_belong_together_are_refused_by_both() {
    let mut cases = Vec::from(real());
    cases.push(made(&Setup::vcek("Milan", 5)));
    cases.push(made(&Setup::vlek("Milan", 5)));
    for (i, a) in cases.iter().enumerate() {
        for (j, b) in cases.iter().enumerate() {
            let mixed = |root: &Case, authority: &Case, key: &Case, report: &Case| Case {
                root: root.root.clone(),
                authority: authority.authority.clone(),
                key: key.key.clone(),
                report: report.report.clone(),
                crl: root.crl.clone(),
                now: root.now,
            };
            for case in [mixed(a, b, b, b), mixed(a, a, b, b), mixed(a, a, a, b), mixed(a, b, a, a)]
            {
                let (ours, theirs) = (case.ours(), case.theirs());
                // sev does not compare names: two made here under one key are one to it.
                assert!(ours == theirs || !ours, "{i} {j}");
                assert!(ours || i != j);
            }
        }
    }
}
