//! SEV-SNP: real reports and certificates get the verdicts that their README states, and every way to go wrong
//! that a made one can show is refused by its name.

use attestation::check::CheckId;
use attestation::crypto::{self, Crypto, RustCrypto};
use attestation::policy::TeeRule;
use attestation::snp::Endorsements;
use attestation::snp::product::Product;
use attestation::snp::tcb::TcbFloor;
use attestation::{
    Decision, ExpectedReportData, Now, Policy, ReferenceValues, TrustAnchor, Verdict, Verifier,
};
use made_evidence::key::Key;
use made_evidence::snp::{Made, NOW, Setup, Signer, sign_report};

/// A real platform: its files, a moment at which all hold, and what its TCB is.
struct Real {
    product: Product,
    report: &'static [u8],
    key: &'static [u8],
    authority: &'static [u8],
    root: &'static [u8],
    crl: &'static [u8],
    now: u64,
    /// When its CRL ends.
    end: u64,
    tcb: TcbFloor,
}

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("vectors/snp/", $name))
    };
}

const MILAN: Real = Real {
    product: Product::Milan,
    report: vector!("report_milan.bin"),
    key: vector!("vcek_milan.der"),
    authority: vector!("ask_milan.der"),
    root: vector!("ark_milan.der"),
    crl: vector!("crl_milan.der"),
    now: 1_750_000_000,
    end: 1_778_544_000,
    tcb: TcbFloor { fmc: 0, bootloader: 3, tee: 0, snp: 8, microcode: 115 },
};

const GENOA: Real = Real {
    product: Product::Genoa,
    report: vector!("report_genoa.bin"),
    key: vector!("vcek_genoa.der"),
    authority: vector!("ask_genoa.der"),
    root: vector!("ark_genoa.der"),
    crl: vector!("crl_genoa.der"),
    now: 1_751_328_000,
    end: 1_762_131_600,
    tcb: TcbFloor { fmc: 0, bootloader: 10, tee: 0, snp: 23, microcode: 84 },
};

impl Real {
    fn endorsements(&self) -> Endorsements<'static> {
        Endorsements { key: self.key, authority: self.authority, crl: self.crl }
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::strict(RustCrypto.sha256(self.root));
        policy.snp_platform.min_tcb = vec![(self.product, self.tcb)];
        policy
    }

    fn authenticate(&self, policy: &Policy, now: u64) -> Verdict {
        let endorsements = self.endorsements();
        verifier(self.root)
            .examine_snp(self.report, &endorsements, Now::given(now))
            .authenticate(policy)
    }
}

fn verifier(root: &[u8]) -> Verifier<crypto::Default> {
    let crypto = crypto::Default::default();
    Verifier::new(crypto, TrustAnchor::from_der(root, &crypto).expect("a root"))
}

#[track_caller]
fn authentic(verdict: &Verdict) {
    let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(verdict.verdict, Decision::Authentic);
}

#[test]
fn real_reports_are_authentic_while_their_crl_lasts() {
    for real in [MILAN, GENOA] {
        let policy = real.policy();
        let verdict = real.authenticate(&policy, real.now);
        authentic(&verdict);
        assert!(!verdict.emulated, "AMD's root stands for hardware");
        authentic(&real.authenticate(&policy, real.end));
        for late in [real.end + 1, 1_795_182_000] {
            let verdict = real.authenticate(&policy, late);
            assert_eq!(verdict.verdict, Decision::Refused);
            assert!(!verdict.checks.holds(CheckId::RootCrlValidity));
        }
    }
}

/// There is no real report of Turin, but a real chain: it holds down to the endorsement key.
#[test]
fn the_real_chain_of_turin_holds_and_its_root_stands_for_hardware() {
    let root = vector!("ark_turin.der");
    let (key, authority) = (vector!("vcek_turin.der"), vector!("ask_turin.der"));
    let made = Setup::vcek("Turin", 5).make();
    let endorsements = Endorsements { key, authority, crl: &made.crl };
    let verifier = verifier(root);
    assert!(!verifier.anchor().is_emulated());
    let examination = verifier.examine_snp(&made.report, &endorsements, Now::given(NOW));
    for id in [
        CheckId::RootValidity,
        CheckId::SnpAuthoritySignature,
        CheckId::SnpAuthorityConstraints,
        CheckId::SnpKeyFormat,
        CheckId::SnpKeySignature,
        CheckId::SnpKeyIssuer,
        CheckId::SnpKeyConstraints,
        CheckId::SnpKeyValidity,
        CheckId::SnpProduct,
    ] {
        assert!(examination.checks().holds(id), "{id}");
    }
    // Nothing made here vouches for real certificates, or is vouched for by them.
    for id in [
        CheckId::RootCrlSignature,
        CheckId::SnpAuthorityRevocation,
        CheckId::SnpSignature,
        CheckId::SnpTcb,
        CheckId::SnpChip,
    ] {
        assert!(!examination.checks().holds(id), "{id}");
    }
}

#[test]
fn both_backends_check_the_same_signatures() {
    for real in [MILAN, GENOA] {
        let anchor = TrustAnchor::from_der(real.root, &RustCrypto).expect("a root");
        let verifier = Verifier::new(RustCrypto, anchor);
        let verdict = verifier
            .examine_snp(real.report, &real.endorsements(), Now::given(real.now))
            .authenticate(&real.policy());
        authentic(&verdict);
        let checks = real.authenticate(&real.policy(), real.now).checks;
        assert_eq!(verdict.checks, checks);
    }
}

#[test]
fn a_real_report_says_what_runs_where() {
    let verdict = serde_json::to_value(GENOA.authenticate(&GENOA.policy(), GENOA.now)).unwrap();
    assert_eq!(verdict["tee"], "snp");
    let chip = verdict["platform"]["chip_id"].as_str().unwrap();
    assert!(chip.starts_with("c70912d8d216bd3f") && chip.len() == 128);
    let measurement = verdict["measurement"]["measurement"].as_str().unwrap();
    assert!(measurement.starts_with("572db4d3f521386b"));
}

/// Each part one newer than what the platform has.
#[test]
fn group_14_a_tcb_below_the_floor_is_refused_part_by_part() {
    for (name, raise) in [
        ("bootloader", (|floor| floor.bootloader += 1) as fn(&mut TcbFloor)),
        ("tee", |floor| floor.tee += 1),
        ("snp", |floor| floor.snp += 1),
        ("microcode", |floor| floor.microcode += 1),
    ] {
        let mut policy = MILAN.policy();
        raise(&mut policy.snp_platform.min_tcb[0].1);
        let verdict = MILAN.authenticate(&policy, MILAN.now);
        let failed: Vec<_> = verdict.checks.failed().collect();
        assert!(failed.iter().all(|check| check.id == CheckId::PolicySnpTcb) && !failed.is_empty());
        for check in failed {
            assert!(check.got.to_string().ends_with(&format!("too old: {name}")), "{check}");
        }
    }
    let mut policy = MILAN.policy();
    policy.snp_platform.min_tcb = GENOA.policy().snp_platform.min_tcb;
    let verdict = MILAN.authenticate(&policy, MILAN.now);
    assert!(!verdict.checks.holds(CheckId::PolicySnpTcb), "a product without a floor");
}

/// What the tests with made evidence start from: accepted as it is.
fn accepting(made: &Made, product: Product) -> (Policy, ExpectedReportData) {
    let mut policy = Policy::strict(RustCrypto.sha256(&made.ark));
    policy.tee = vec![TeeRule::Emulated];
    policy.snp = vec![attestation::policy::SnpRule {
        measurement: [0x3e; 48],
        host_data: None,
        min_guest_svn: 3,
    }];
    policy.snp_platform.min_tcb = vec![(product, TcbFloor::default())];
    policy.snp_platform.csp_ids = vec!["made here".into()];
    (policy, ExpectedReportData::new(&[0x5d; 64]).expect("64 bytes"))
}

fn appraise_with(made: &Made, root: &[u8], policy: &Policy, now: u64) -> Verdict {
    let expected = ExpectedReportData::new(&[0x5d; 64]).expect("64 bytes");
    let endorsements = Endorsements { key: &made.vek, authority: &made.ask, crl: &made.crl };
    verifier(root).examine_snp(&made.report, &endorsements, Now::given(now)).appraise(
        policy,
        &ReferenceValues::default(),
        &expected,
    )
}

fn appraise(made: &Made) -> Verdict {
    let product =
        if made.report.get(0x188) == Some(&0x1a) { Product::Turin } else { Product::Milan };
    appraise_with(made, &made.ark, &accepting(made, product).0, NOW)
}

/// Refused, for these and no other.
#[track_caller]
fn refuses(verdict: &Verdict, expected: &[CheckId]) {
    let mut failed: Vec<_> = verdict.checks.failed().map(|check| check.id).collect();
    failed.dedup();
    assert_eq!(failed, expected);
    assert_eq!(verdict.verdict, Decision::Refused);
    for check in verdict.checks.failed() {
        assert!(!check.action.is_empty());
    }
}

#[track_caller]
fn refuses_none(verdict: &Verdict) {
    let failed: Vec<_> = verdict.checks.failed().map(ToString::to_string).collect();
    assert!(verdict.is_accepted(), "{failed:#?}");
}

/// What a test changes in the evidence.
type Change = fn(&mut Setup);
/// What it changes in the policy.
type Ask = fn(&mut Policy);

fn with(change: impl FnOnce(&mut Setup)) -> Made {
    let mut setup = Setup::vcek("Milan", 5);
    change(&mut setup);
    setup.make()
}

#[test]
fn made_reports_of_every_version_and_both_keys_are_accepted() {
    for (product, name) in
        [(Product::Milan, "Milan"), (Product::Genoa, "Genoa"), (Product::Turin, "Turin")]
    {
        // Turin cannot be told from CHIP_ID alone; its certificate says so in version 2.
        for version in 2..=5 {
            for setup in [Setup::vcek(name, version), Setup::vlek(name, version)] {
                let made = setup.make();
                let verdict = appraise_with(&made, &made.ark, &accepting(&made, product).0, NOW);
                refuses_none(&verdict);
                assert!(verdict.emulated, "a root made here is no vendor's");
            }
        }
    }
}

#[test]
fn made_evidence_is_never_hardware() {
    let made = with(|_| {});
    let (mut policy, _) = accepting(&made, Product::Milan);
    for rule in [TeeRule::Hardware, TeeRule::Snp, TeeRule::Sgx] {
        policy.tee = vec![rule];
        refuses(&appraise_with(&made, &made.ark, &policy, NOW), &[CheckId::PolicyTee]);
    }
}

#[test]
fn group_1_any_flipped_bit_is_refused() {
    let made = with(|_| {});
    for byte in 0..made.report.len() {
        let mut changed = made.clone();
        changed.report[byte] ^= 1 << (byte % 8);
        let verdict = appraise(&changed);
        let blamed = [CheckId::SnpSignature, CheckId::SnpFormat];
        assert!(
            blamed.iter().any(|id| verdict.checks.find(*id).is_some_and(|check| !check.ok)),
            "{byte:#x}"
        );
        assert_eq!(verdict.verdict, Decision::Refused, "{byte:#x}");
    }
}

#[test]
fn group_1_a_flipped_bit_in_a_certificate_or_crl_is_refused() {
    let made = with(|_| {});
    let (policy, _) = accepting(&made, Product::Milan);
    let parts: [fn(&mut Made) -> &mut Vec<u8>; 3] =
        [|made| &mut made.vek, |made| &mut made.ask, |made| &mut made.crl];
    for part in parts {
        let length = part(&mut made.clone()).len();
        // Every seventh byte: each flip costs two RSA checks.
        for byte in (0..length).step_by(7) {
            let mut changed = made.clone();
            part(&mut changed)[byte] ^= 1 << (byte % 8);
            let verdict = appraise_with(&changed, &made.ark, &policy, NOW);
            assert_eq!(verdict.verdict, Decision::Refused, "byte {byte}");
        }
    }
}

#[test]
fn group_2_another_length_is_refused() {
    let made = with(|_| {});
    for length in [0, 1, 671, 1183, 1185, 4000] {
        let mut changed = made.clone();
        changed.report.resize(length, 0);
        let verdict = appraise(&changed);
        assert!(!verdict.checks.holds(CheckId::SnpFormat));
        assert!(!verdict.checks.holds(CheckId::SnpSignature), "what was not checked does not hold");
        assert!(!verdict.checks.holds(CheckId::ReportData));
        assert_eq!(verdict.verdict, Decision::Refused);
    }
}

#[test]
fn group_3_an_unknown_version_or_algorithm_is_refused() {
    for (offset, value) in [(0, 1), (0, 6), (0x34, 2), (0x34, 0)] {
        let mut changed = with(|_| {});
        changed.report[offset] = value;
        assert!(!appraise(&changed).checks.holds(CheckId::SnpFormat), "{offset:#x} {value}");
    }
}

#[test]
fn group_5_debug_is_refused() {
    let made = with(|setup| setup.report.policy |= 1 << 19);
    refuses(&appraise(&made), &[CheckId::PolicyDebug]);
    let (mut policy, _) = accepting(&made, Product::Milan);
    policy.allow_debug = true;
    assert!(appraise_with(&made, &made.ark, &policy, NOW).is_accepted());
}

#[test]
fn group_6_another_launch_digest_or_an_old_guest_is_refused() {
    let made = with(|setup| setup.report.measurement[47] ^= 1);
    refuses(&appraise(&made), &[CheckId::PolicyMeasurement]);
    let made = with(|setup| setup.report.guest_svn = 2);
    refuses(&appraise(&made), &[CheckId::PolicyMeasurement]);
}

#[test]
fn group_8_a_certificate_outside_its_dates_is_refused() {
    let ids = [CheckId::RootValidity, CheckId::SnpAuthorityValidity, CheckId::SnpKeyValidity];
    for (index, id) in ids.into_iter().enumerate() {
        for validity in [(NOW - 100, NOW - 1), (NOW + 1, NOW + 100)] {
            let made = with(|setup| setup.validity[index] = validity);
            refuses(&appraise(&made), &[id]);
        }
        let made = with(|setup| setup.validity[index] = (NOW, NOW));
        assert!(appraise(&made).is_accepted(), "both ends count");
    }
}

#[test]
fn group_9_a_root_that_is_not_pinned_is_refused() {
    let made = with(|_| {});
    let foreign = with(|setup| setup.root = Signer::OtherArk);
    // The other root by its anchor: the policy does not name it.
    let (policy, _) = accepting(&made, Product::Milan);
    refuses(
        &appraise_with(&foreign, &foreign.ark, &policy, NOW),
        &[
            CheckId::RootCrlSignature,
            CheckId::RootRevocation,
            CheckId::SnpAuthorityRevocation,
            CheckId::PolicyRoot,
        ],
    );
    // The other root's chain under our anchor: same names, another key.
    refuses(&appraise_with(&foreign, &made.ark, &policy, NOW), &[CheckId::SnpAuthoritySignature]);
    // Real evidence under a made root, and the reverse.
    let verdict = verifier(&made.ark)
        .examine_snp(MILAN.report, &MILAN.endorsements(), Now::given(MILAN.now))
        .authenticate(&policy);
    assert!(!verdict.checks.holds(CheckId::SnpAuthoritySignature));
    let verdict = appraise_with(&made, MILAN.root, &MILAN.policy(), NOW);
    assert!(!verdict.checks.holds(CheckId::SnpAuthoritySignature));
    // Another product's real root.
    let verdict = verifier(GENOA.root)
        .examine_snp(MILAN.report, &MILAN.endorsements(), Now::given(MILAN.now))
        .authenticate(&GENOA.policy());
    assert!(!verdict.checks.holds(CheckId::SnpAuthoritySignature));
    assert!(!verdict.checks.holds(CheckId::SnpKeyIssuer));
}

#[test]
fn group_10_a_revoked_authority_or_a_bad_crl_is_refused() {
    let made = with(|setup| setup.revoked = vec![7, 0x1_0001, 9]);
    refuses(&appraise(&made), &[CheckId::SnpAuthorityRevocation]);
    let made = with(|setup| setup.revoked = vec![1]);
    refuses(&appraise(&made), &[CheckId::RootRevocation]);
    let made = with(|setup| setup.revoked = vec![7, 9]);
    assert!(appraise(&made).is_accepted(), "others are revoked");

    for updates in [(NOW - 100, NOW - 1), (NOW + 1, NOW + 100)] {
        let made = with(|setup| setup.crl_updates = updates);
        refuses(&appraise(&made), &[CheckId::RootCrlValidity]);
    }
    let unsigned =
        [CheckId::RootCrlSignature, CheckId::RootRevocation, CheckId::SnpAuthorityRevocation];
    for signer in [Signer::Ask, Signer::OtherArk] {
        let made = with(|setup| setup.crl_signer = signer);
        refuses(&appraise(&made), &unsigned);
    }
    // A real, current CRL of another root.
    let mut made = with(|_| {});
    made.crl = MILAN.crl.to_vec();
    refuses(&appraise(&made), &unsigned);
    let missing = [
        CheckId::RootCrlFormat,
        CheckId::RootCrlSignature,
        CheckId::RootCrlValidity,
        CheckId::RootRevocation,
        CheckId::SnpAuthorityRevocation,
    ];
    for crl in [Vec::new(), vec![0; 100], made.ask.clone()] {
        let made = Made { crl, ..made.clone() };
        refuses(&appraise(&made), &missing);
    }
}

#[test]
fn group_12_another_tcb_or_chip_than_the_certificates_is_refused() {
    for index in 0..8 {
        let made = with(|setup| setup.key_tcb[index] += 1);
        refuses(&appraise(&made), &[CheckId::SnpTcb]);
    }
    let mut setup = Setup::vcek("Turin", 5);
    setup.key_tcb[0] += 1;
    refuses(&appraise(&setup.make()), &[CheckId::SnpTcb]);

    let made = with(|setup| setup.hardware_id[63] ^= 1);
    refuses(&appraise(&made), &[CheckId::SnpChip]);
    // The host masks the chip id: then nothing ties the report to the chip.
    let made = with(|setup| setup.report.chip_id = [0; 64]);
    refuses(&appraise(&made), &[CheckId::SnpChip]);
    let made = with(|setup| setup.report.key_info = 2);
    refuses(&appraise(&made), &[CheckId::SnpSigningKey]);
    // Another endorsement key of the same chip and TCB.
    let mut made = with(|_| {});
    made.vek = with(|_| {}).vek;
    refuses(&appraise(&made), &[CheckId::SnpSignature]);
}

#[test]
fn group_12_a_vlek_where_a_vcek_is_required_is_refused() {
    let made = Setup::vlek("Milan", 5).make();
    let (mut policy, _) = accepting(&made, Product::Milan);
    policy.snp_platform.csp_ids = Vec::new();
    refuses(&appraise_with(&made, &made.ark, &policy, NOW), &[CheckId::PolicySnpKey]);
    policy.snp_platform.csp_ids = vec!["another".into()];
    refuses(&appraise_with(&made, &made.ark, &policy, NOW), &[CheckId::PolicySnpKey]);

    let made = with(|_| {});
    let (mut policy, _) = accepting(&made, Product::Milan);
    policy.snp_platform.allow_vcek = false;
    refuses(&appraise_with(&made, &made.ark, &policy, NOW), &[CheckId::PolicySnpKey]);
}

#[test]
fn group_12_ask_and_asvk_are_not_mixed_up() {
    // The key of VLEKs vouches for a chip, under its own name and under the other's.
    let made = with(|setup| {
        setup.key_signer = Signer::Asvk;
        setup.authority_name = Some("SEV-VLEK-Milan");
    });
    refuses(&appraise(&made), &[CheckId::SnpKeyIssuer]);
    let mut setup = Setup::vlek("Milan", 5);
    setup.key_signer = Signer::Ask;
    setup.authority_name = Some("SEV-Milan");
    refuses(&appraise(&setup.make()), &[CheckId::SnpKeyIssuer]);
    // The right certificate beside a report that names the other kind.
    let made = with(|setup| setup.report.key_info = 1 << 2);
    let verdict = appraise(&made);
    assert!(!verdict.checks.holds(CheckId::SnpSigningKey));
    let made = with(|setup| setup.report.key_info = 7 << 2);
    assert!(!appraise(&made).checks.holds(CheckId::SnpSigningKey));
    // An authority that does not fit: the chain is cut.
    let mut made = with(|_| {});
    made.ask = Setup::vlek("Milan", 5).make().ask;
    refuses(&appraise(&made), &[CheckId::SnpKeySignature]);
    // The root itself as the authority between.
    made.ask = made.ark.clone();
    assert!(!appraise(&made).checks.holds(CheckId::SnpKeySignature));
}

#[test]
fn group_12_another_product_is_refused() {
    // A report of Genoa by a chip that says Milan.
    let made = with(|setup| setup.report.cpuid = [0x19, 0x11, 1]);
    refuses(&appraise(&made), &[CheckId::SnpProduct]);
    let made = with(|setup| setup.report.cpuid = [0x17, 0x31, 0]);
    refuses(&appraise(&made), &[CheckId::SnpProduct]);
    // A Milan key below Genoa's authorities.
    let made = with(|setup| setup.product = "Genoa");
    refuses(&appraise(&made), &[CheckId::SnpKeyIssuer]);
}

#[test]
fn an_endorsement_key_that_may_issue_is_refused() {
    let authority = made_evidence::x509::authority(0);
    let made = with(|setup| setup.extra = authority);
    refuses(&appraise(&made), &[CheckId::SnpKeyConstraints]);
    let critical = (vec![1, 2, 3, 4], true, vec![5, 0]);
    let made = with(|setup| setup.extra = vec![critical]);
    assert!(!appraise(&made).checks.holds(CheckId::SnpKeyFormat));
}

#[test]
fn group_19_wrong_report_data_is_refused_and_none_cannot_be_asked_for() {
    for byte in [0, 31, 32, 63] {
        let made = with(|setup| setup.report.report_data[byte] ^= 1);
        refuses(&appraise(&made), &[CheckId::ReportData]);
    }
    let made = with(|setup| setup.report.report_data[32..].fill(0));
    refuses(&appraise(&made), &[CheckId::ReportData]);
    assert!(ExpectedReportData::new(&[]).is_err());
}

#[test]
fn guest_policy_vmpl_and_migration_are_strict_unless_written() {
    let cases: [(Change, CheckId, Ask); 6] = [
        (|s| s.report.vmpl = 1, CheckId::PolicySnpVmpl, |p| p.snp_platform.vmpl = vec![0, 1]),
        (
            |s| s.report.policy |= 1 << 18,
            CheckId::PolicySnpMigration,
            |p| p.snp_platform.allow_migration = true,
        ),
        (|s| s.report.policy |= 1 << 40, CheckId::PolicySnpGuestPolicy, |_| {}),
        (|s| s.report.policy &= !(1 << 17), CheckId::PolicySnpGuestPolicy, |_| {}),
        (
            |s| s.report.vmpl = u32::MAX,
            CheckId::PolicySnpVmpl,
            |p| p.snp_platform.vmpl = vec![u32::MAX],
        ),
        (|s| s.report.policy |= 1 << 19, CheckId::PolicyDebug, |p| p.allow_debug = true),
    ];
    for (change, id, allow) in cases {
        let made = with(change);
        refuses(&appraise(&made), &[id]);
        let (mut policy, _) = accepting(&made, Product::Milan);
        allow(&mut policy);
        let verdict = appraise_with(&made, &made.ark, &policy, NOW);
        assert_eq!(verdict.is_accepted(), id != CheckId::PolicySnpGuestPolicy);
    }
}

#[test]
fn what_a_policy_asks_for_beyond_the_defaults_must_be_there() {
    let made = with(|_| {});
    let base = accepting(&made, Product::Milan).0;
    let asks: [(Ask, CheckId); 5] = [
        (|p| p.snp_platform.allow_smt = false, CheckId::PolicySnpGuestPolicy),
        (|p| p.snp_platform.author_keys = vec![[7; 48]], CheckId::PolicySnpAuthorKey),
        (|p| p.snp_platform.id_keys = vec![[7; 48], [8; 48]], CheckId::PolicySnpIdKey),
        (|p| p.snp_platform.min_tcb = Vec::new(), CheckId::PolicySnpTcb),
        (|p| p.platforms = Some(vec![vec![7; 64]]), CheckId::PolicyPlatform),
    ];
    for (ask, id) in asks {
        let mut policy = base.clone();
        ask(&mut policy);
        refuses(&appraise_with(&made, &made.ark, &policy, NOW), &[id]);
    }
    // Each is signed anew, the root too: its digest is another.
    let judge = |made: &Made, policy: &Policy| {
        let policy = Policy { roots: vec![RustCrypto.sha256(&made.ark)], ..policy.clone() };
        appraise_with(made, &made.ark, &policy, NOW)
    };
    let mut policy = base.clone();
    policy.snp_platform.allow_smt = false;
    policy.snp_platform.require_alias_check = true;
    policy.snp_platform.author_keys = vec![[7; 48]];
    policy.snp_platform.id_keys = vec![[8; 48]];
    policy.platforms = Some(vec![vec![0xc1; 64]]);
    let good = with(|setup| {
        setup.report.policy = 1 << 17;
        setup.report.key_info = 1;
        setup.report.author_key_digest = [7; 48];
        setup.report.id_key_digest = [8; 48];
    });
    refuses_none(&judge(&good, &policy));
    // A digest without AUTHOR_KEY_EN means nothing.
    let made = with(|setup| {
        setup.report.policy = 1 << 17;
        setup.report.author_key_digest = [7; 48];
        setup.report.id_key_digest = [8; 48];
    });
    let verdict = judge(&made, &policy);
    refuses(&verdict, &[CheckId::PolicySnpAuthorKey]);
    let made = with(|setup| setup.report.platform_info = 1);
    let mut policy = base;
    policy.snp_platform.require_alias_check = true;
    let verdict = judge(&made, &policy);
    refuses(&verdict, &[CheckId::PolicySnpPlatformInfo]);
}

#[test]
fn a_floor_counts_for_the_committed_and_the_current_tcb_too() {
    let floor = TcbFloor { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
    for (name, lower) in [
        ("committed", (|setup| setup.report.committed_tcb[6] -= 1) as fn(&mut Setup)),
        ("current", |setup| setup.report.current_tcb[6] -= 1),
    ] {
        let made = with(lower);
        let (mut policy, _) = accepting(&made, Product::Milan);
        policy.snp_platform.min_tcb = vec![(Product::Milan, floor)];
        let verdict = appraise_with(&made, &made.ark, &policy, NOW);
        refuses(&verdict, &[CheckId::PolicySnpTcb]);
        let failed = verdict.checks.failed().next().unwrap().got.to_string();
        assert!(failed.starts_with(name) && failed.ends_with("too old: snp"), "{failed}");
    }
}

/// All failures at once: an old TCB does not hide a wrong measurement.
#[test]
fn every_check_runs_whatever_failed_before() {
    let made = with(|setup| {
        setup.validity[2] = (NOW - 2, NOW - 1);
        setup.report.measurement[0] ^= 1;
        setup.report.policy |= 1 << 19;
        setup.report.report_data[0] ^= 1;
    });
    refuses(
        &appraise(&made),
        &[
            CheckId::SnpKeyValidity,
            CheckId::PolicyDebug,
            CheckId::PolicyMeasurement,
            CheckId::ReportData,
        ],
    );
}

#[test]
fn a_report_signed_by_somebody_elses_key_is_refused() {
    let mut made = with(|_| {});
    sign_report(&mut made.report, &Key::p384());
    refuses(&appraise(&made), &[CheckId::SnpSignature]);
    // R and S of zero.
    made.report[0x2a0..].fill(0);
    refuses(&appraise(&made), &[CheckId::SnpSignature]);
}

/// The policy in `docs/attestation/snp.md` is one, and says what its comments say.
#[test]
fn the_documented_policy_is_read() {
    let page = include_str!("../../../../docs/attestation/snp.md");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let (long, short) = ("ab".repeat(48), "ab".repeat(32));
    let filled = example
        .replace("host_data = \"…\"", &format!("host_data = \"{short}\""))
        .replace('…', &long);
    let policy = Policy::from_toml(&filled).expect("a policy");
    assert_eq!(policy.roots, [RustCrypto.sha256(MILAN.root)]);
    assert_eq!(policy.snp_platform.min_tcb.len(), 2);
    let defaults = attestation::policy::SnpPlatformRule::default();
    let shown = attestation::policy::SnpPlatformRule {
        min_tcb: Vec::new(),
        author_keys: Vec::new(),
        id_keys: Vec::new(),
        ..policy.snp_platform
    };
    assert_eq!(shown, defaults);
}
