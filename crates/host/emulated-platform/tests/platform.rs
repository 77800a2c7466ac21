//! What the quoting service quotes and what it refuses. Whether the quotes verify is `tests/verify.rs`.

mod common;

use common::{cpu, enclave, platform, report, root};
use emulated_platform::{
    Dates, FMSPC, MRSIGNER, Platform, PlatformError, QE_MRENCLAVE, QuoteError, ROOT_FILE, Settings,
};
use sgx::attributes::AttributeFlags;
use sgx::report::{Report, ReportBody, Targetinfo};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_report_for_the_quoting_enclave_is_quoted() {
    let platform = platform(1);
    let report = report(&platform.target_info(), 1);
    let quote = platform.quote(&report).expect("quoted");
    assert_eq!(quote.len(), platform.quote_size());
    assert_eq!(quote[..8], [3, 0, 2, 0, 0, 0, 0, 0], "version, key type, TEE");
    assert_eq!(quote[48..432], report[..ReportBody::SIZE]);
    let mut body = [0; ReportBody::SIZE];
    body.copy_from_slice(&quote[564..948]);
    let qe = ReportBody::from_bytes(&body);
    assert_eq!((qe.mrenclave, qe.mrsigner), (QE_MRENCLAVE, MRSIGNER));
    assert!(!qe.attributes.flags.contains(AttributeFlags::DEBUG));
    let end = 436 + u32::from_le_bytes(quote[432..436].try_into().expect("four bytes")) as usize;
    assert_eq!(quote.len(), end);
}

#[test]
fn the_same_secret_is_the_same_platform() {
    let [a, b, other] = [platform(1), platform(1), platform(9)];
    let report = report(&a.target_info(), 1);
    assert_eq!(a.quote(&report), b.quote(&report));
    assert_eq!(a.root().certificate(), b.root().certificate());
    assert_eq!(a.ppid(), b.ppid());
    assert_ne!(a.root().certificate(), other.root().certificate());
    assert_ne!(a.ppid(), other.ppid());
}

#[test]
fn security_versions_change_the_key_and_not_the_platform() {
    let with = |settings| {
        Platform::new(cpu(1), root(Dates::default()), settings).expect("dates are in range")
    };
    let current = with(Settings::default());
    let old_cpu = with(Settings { cpusvn: [0; 16], ..Settings::default() });
    let old_pce = with(Settings { pcesvn: 1, ..Settings::default() });
    let old_qe = with(Settings { qe_isvsvn: 1, ..Settings::default() });
    for old in [&old_cpu, &old_pce] {
        assert_eq!(old.ppid(), current.ppid());
        assert_ne!(old.pck_serial(), current.pck_serial());
    }
    assert_eq!(old_qe.pck_serial(), current.pck_serial());
    assert_ne!(old_qe.attestation_key_id(), current.attestation_key_id());
    // A report for either quoting enclave is quoted by both: their target is the same.
    assert!(old_qe.quote(&report(&current.target_info(), 1)).is_ok());
}

#[test]
fn reports_with_another_mac_are_refused() {
    let platform = platform(1);
    let good = report(&platform.target_info(), 1);
    let is_mac = |refusal| matches!(refusal, Err(QuoteError::Mac { .. }));

    // Every byte that the MAC covers, KEYID, and the MAC itself: one changed bit each.
    for at in 0..Report::SIZE {
        let mut changed = good;
        changed[at] ^= 1;
        let refusal = platform.quote(&changed);
        assert!(matches!(refusal, Err(QuoteError::Mac { .. } | QuoteError::Report(_))), "at {at}");
    }
    assert!(is_mac(platform.quote(&report(&platform.target_info(), 2))), "another host");

    let mut target = platform.target_info();
    target[0] ^= 1;
    assert!(is_mac(platform.quote(&report(&target, 1))), "another target");
    assert!(is_mac(platform.quote(&[0; Report::SIZE])), "no report at all");

    let refusal = platform.quote(&report(&target, 1)).expect_err("refused").to_string();
    assert!(refusal.starts_with("report.mac: expected one made on this host"), "{refusal}");
    assert!(refusal.contains(&"11".repeat(32)), "names the enclave: {refusal}");
}

#[test]
fn reserved_bytes_are_refused_by_place() {
    let platform = platform(1);
    let mut report = report(&platform.target_info(), 1);
    report[24] = 1;
    let refusal = platform.quote(&report).expect_err("refused").to_string();
    assert!(refusal.contains("reserved byte at offset 24"), "{refusal}");

    let mut target = [0; Targetinfo::SIZE];
    target[511] = 1;
    let refusal = platform.quote_report(&target, &[0; 16], b"quote");
    assert!(matches!(refusal, Err(QuoteError::Target(_))), "{refusal:?}");
}

#[test]
fn the_quoting_enclave_can_be_told_by_its_own_report() {
    let platform = platform(1);
    // The enclave that asked takes what it gave out as its own TARGETINFO.
    let target = Targetinfo {
        measurement: enclave().mrenclave,
        attributes: enclave().attributes,
        miscselect: enclave().miscselect,
        ..Targetinfo::default()
    };
    let report = platform.quote_report(&target.to_bytes(), &[5; 16], b"quote").expect("made");
    let report = Report::from_bytes(&report);
    assert_eq!(report.body.mrsigner, MRSIGNER);
    let request = sgx::keyrequest::Keyrequest {
        keyname: sgx::keyrequest::KeyName::Report as u16,
        keyid: report.keyid,
        ..Default::default()
    };
    let key = cpu(1).egetkey(&enclave(), &request.to_bytes()).expect("its report key");
    assert_eq!(report.mac, sgx::keys::report_mac(&key, &report.body));
}

#[test]
fn a_host_has_its_own_root_unless_it_has_the_labs() {
    let [a, b, lab] = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let open = |directory: &tempfile::TempDir| Platform::open(directory.path()).expect("opened");
    let own = [open(&a).root().fingerprint(), open(&b).root().fingerprint()];
    assert_ne!(own[0], own[1]);
    assert_eq!(open(&a).root().fingerprint(), own[0], "it lasts");

    let labs = open(&lab).root().fingerprint();
    for host in [&a, &b] {
        fs::copy(lab.path().join("secret"), host.path().join(ROOT_FILE)).expect("copied");
    }
    assert_eq!([open(&a).root().fingerprint(), open(&b).root().fingerprint()], [labs; 2]);
    assert_ne!(open(&a).ppid(), open(&b).ppid());

    fs::set_permissions(a.path().join(ROOT_FILE), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    let refusal = Platform::open(a.path()).expect_err("others may read it");
    assert!(matches!(refusal, PlatformError::Secret(_)), "{refusal}");
}

#[test]
fn a_secret_that_does_not_last_is_refused() {
    let refusal = Platform::open("/proc/no/such/place".as_ref()).expect_err("cannot be stored");
    assert!(matches!(refusal, PlatformError::NotStored { .. }), "{refusal}");
}

#[test]
fn it_says_that_it_is_emulated() {
    let platform = platform(1);
    assert_eq!(&FMSPC[..3], b"EMU");
    for certificate in [platform.root().certificate(), platform.pck_certificate()] {
        let has = |text: &[u8]| certificate.windows(text.len()).any(|window| window == text);
        assert!(has(b"EMULATED SGX"));
        assert!(!has(b"Intel"));
    }
}
