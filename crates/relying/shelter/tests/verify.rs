//! `shelter verify` on real quotes of Intel's hardware.

mod support;

use std::fs;
use std::path::Path;
use support::{Ended, Verify, failed, shelter, vector};

const ROOT: &str = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
const MRENCLAVE: &str = "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb";
const MRSIGNER: &str = "815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6";
const MRTD: &str = "91eb2b44d141d4ece09f0c75c2c53d247a3c68edd7fafe8a3520c942a604a407de03ae6dc5f87f27428b2538873118b7";

/// The moment at which the collateral of the SGX quote is valid, of the TDX quote, and of neither.
const SGX_TIME: u64 = 1_752_919_277;
const TDX_TIME: u64 = 1_752_919_234;
const LATE: u64 = 1_795_182_000;

/// What the SGX quote is bound to.
fn hello() -> String {
    let hex: String = b"Hello, world!".iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<128}")
}

/// `verify` of the SGX quote as it must be accepted.
fn sgx(place: &Path) -> Verify {
    let policy = format!(
        "roots = ['{ROOT}']\ntee = 'sgx'\nmrenclave = ['{MRENCLAVE}']\n\
         tcb_status = ['UpToDate', 'ConfigurationAndSWHardeningNeeded']\n"
    );
    fs::write(place.join("sgx.toml"), policy).unwrap();
    Verify::new(place)
        .file("--evidence", &vector("sgx/sgx_quote"))
        .file("--collateral", &vector("sgx/sgx_quote_collateral.json"))
        .file("--root", &vector("collateral/intel-sgx-root-ca.der"))
        .with("--at", SGX_TIME)
        .with("--policy", "sgx.toml")
        .with("--report-data", hello())
}

/// `verify` of the TDX quote as it must be accepted.
fn tdx(place: &Path) -> Verify {
    let policy = format!("roots = ['{ROOT}']\ntee = 'tdx'\n[[tdx]]\nmrtd = '{MRTD}'\n");
    fs::write(place.join("tdx.toml"), policy).unwrap();
    // The report data lies at 568 of a version 4 quote of a trust domain: header 48, report data 520.
    let quote = fs::read(vector("tdx/tdx_quote")).unwrap();
    let bound: String = quote[568..632].iter().map(|byte| format!("{byte:02x}")).collect();
    Verify::new(place)
        .file("--evidence", &vector("tdx/tdx_quote"))
        .file("--collateral", &vector("tdx/tdx_quote_collateral.json"))
        .file("--root", &vector("collateral/intel-sgx-root-ca.der"))
        .with("--at", TDX_TIME)
        .with("--policy", "tdx.toml")
        .with("--report-data", bound)
}

#[test]
fn the_vectors_have_the_verdicts_that_they_are_known_for() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let verdict = sgx(place).says("accepted");
    assert_eq!(verdict["emulated"], false);
    assert_eq!(verdict["tee"], "sgx");
    assert_eq!(verdict["tcb_status"], "ConfigurationAndSWHardeningNeeded");
    assert_eq!(verdict["advisories"], serde_json::json!(["INTEL-SA-00289", "INTEL-SA-00615"]));
    assert_eq!(verdict["measurement"]["mrenclave"], MRENCLAVE);
    assert_eq!(verdict["measurement"]["mrsigner"], MRSIGNER);
    assert_eq!(verdict["platform"]["fmspc"], "00a067110000");
    assert_eq!(verdict["time_source"], "given");

    let verdict = tdx(place).says("accepted");
    assert_eq!((&verdict["tee"], &verdict["tcb_status"]), (&"tdx".into(), &"UpToDate".into()));
    assert_eq!(verdict["measurement"]["mrtd"], MRTD);
    assert_eq!(verdict["advisories"], serde_json::json!([]));

    // A debug enclave, here with collateral of another platform.
    let occlum = sgx(place).file("--evidence", &vector("sgx/occlum_quote.dat"));
    let ids = failed(&occlum.says("refused"));
    assert!(ids.contains(&"policy.debug".into()) || ids.contains(&"sgx.debug".into()), "{ids:?}");
}

#[test]
fn every_second_outside_the_dates_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    for (verify, first, last) in
        [(sgx(place), 1_750_330_571, 1_752_919_278), (tdx(place), 1_750_329_147, 1_752_919_235)]
    {
        for at in [first, last] {
            verify.clone().with("--at", at).says("accepted");
        }
        for at in [first - 1, last + 1, LATE, 0, u64::MAX] {
            let verdict = verify.clone().with("--at", at).says("refused");
            let ids = failed(&verdict);
            assert!(ids.iter().all(|id| id.ends_with(".validity")), "{at}: {ids:?}");
        }
        // The machine's clock is past them all.
        let verdict = verify.without("--at").says("refused");
        assert_eq!(verdict["time_source"], "host");
    }
}

#[test]
fn a_strict_policy_refuses_what_is_not_up_to_date() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let strict = format!("roots = ['{ROOT}']\nmrenclave = ['{MRENCLAVE}']\n");
    fs::write(place.join("strict.toml"), strict).unwrap();
    let verdict = sgx(place).with("--policy", "strict.toml").refuses(&["policy.tcb_status"]);
    assert_eq!(verdict["tcb_status"], "ConfigurationAndSWHardeningNeeded");
}

#[test]
fn evidence_must_be_bound_to_what_the_caller_expects() {
    let place = tempfile::tempdir().unwrap();
    let verify = sgx(place.path());
    let other = format!("{}01", &hello()[..126]);
    verify.clone().with("--report-data", other).refuses(&["binding.report_data"]);
    // Short, empty, too long, no digits, all zero: nothing to be bound to.
    for wrong in ["", "48656c6c6f", &format!("{}00", hello()), &"z".repeat(128), &"0".repeat(128)] {
        verify.clone().with("--report-data", wrong).cannot_judge("--report-data");
    }
    verify.without("--report-data").cannot_judge("--authenticate-only");
}

#[test]
fn to_authenticate_is_never_to_accept() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let authenticate =
        |verify: Verify| verify.without("--report-data").with("--authenticate-only", "");
    let verdict = authenticate(sgx(place)).says("authentic");
    assert_eq!(verdict["measurement"]["mrenclave"], MRENCLAVE);
    // Without a policy the strict one counts: UpToDate.
    authenticate(tdx(place)).without("--policy").says("authentic");
    authenticate(sgx(place)).without("--policy").refuses(&["policy.tcb_status"]);
    authenticate(tdx(place)).with("--at", LATE).says("refused");
    // Both at once is a contradiction.
    sgx(place).with("--authenticate-only", "").cannot_judge("--authenticate-only");
}

/// The parser of what was asked for would say something of the file that was given, which helps nobody.
#[test]
fn files_that_are_mixed_up_are_told_by_what_they_are() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    fs::write(place.join("rules.toml"), "[attester]\nlisten = 9443\nforward = '127.0.0.1:80'\n")
        .unwrap();
    fs::write(place.join("root.pem"), "-----BEGIN CERTIFICATE-----\nAAEC\n").unwrap();
    let quote = vector("sgx/sgx_quote");
    let verify = sgx(place);
    for (option, file, expected, got) in [
        (
            "--policy",
            "root.pem".as_ref(),
            "a policy, TOML (shelter reference policy",
            "a certificate, PEM",
        ),
        (
            "--policy",
            "rules.toml".as_ref(),
            "a policy, TOML",
            "the rules of a conversion, which measure takes",
        ),
        ("--policy", &vector("sgx/sgx_quote_collateral.json"), "a policy, TOML", "collateral"),
        ("--evidence", "root.pem".as_ref(), "evidence: an SGX or TDX quote", "a certificate, PEM"),
        ("--evidence", "sgx.toml".as_ref(), "evidence: an SGX or TDX quote", "a policy"),
        ("--collateral", &quote, "a bundle of collateral, JSON", "a quote"),
        ("--root", "sgx.toml".as_ref(), "a certificate, DER or PEM", "a policy"),
    ] as [(_, &Path, _, _); 7]
    {
        let mixed = verify.clone().file(option, file);
        mixed.cannot_judge(&format!("{}: expected {expected}", file.display()));
        mixed.cannot_judge(&format!(", got {got}\n"));
    }
}

#[test]
fn another_enclave_and_another_root_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let verify = sgx(place);
    let with = |rules: String| {
        fs::write(place.join("p.toml"), rules).unwrap();
        verify.clone().with("--policy", "p.toml")
    };
    let status = "tcb_status = ['ConfigurationAndSWHardeningNeeded']";
    let other = "ab".repeat(32);
    with(format!("roots = ['{ROOT}']\nmrenclave = ['{other}']\n{status}"))
        .refuses(&["policy.measurement"]);
    with(format!("roots = ['{ROOT}']\n{status}")).refuses(&["policy.measurement"]);
    with(format!("roots = ['{other}']\nmrenclave = ['{MRENCLAVE}']\n{status}"))
        .refuses(&["policy.root"]);
    with(format!("roots = ['{ROOT}']\ntee = 'emulated'\nmrenclave = ['{MRENCLAVE}']\n{status}"))
        .refuses(&["policy.tee"]);
    let advisory = "advisories_deny = ['INTEL-SA-00615']";
    with(format!("roots = ['{ROOT}']\nmrenclave = ['{MRENCLAVE}']\n{status}\n{advisory}"))
        .refuses(&["policy.advisories"]);
    // Collateral of another platform, of the other TEE.
    let ids = failed(
        &verify
            .clone()
            .file("--collateral", &vector("tdx/tdx_quote_collateral.json"))
            .says("refused"),
    );
    assert!(ids.contains(&"tcb_info.id".into()) && ids.contains(&"pck.issuer".into()), "{ids:?}");
}

#[test]
fn files_that_cannot_be_read_give_no_verdict_and_are_named() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let verify = sgx(place);
    let quote = fs::read(vector("sgx/sgx_quote")).unwrap();
    let collateral = fs::read_to_string(vector("sgx/sgx_quote_collateral.json")).unwrap();
    let root = fs::read(vector("collateral/intel-sgx-root-ca.der")).unwrap();
    let policy = fs::read_to_string(place.join("sgx.toml")).unwrap();
    let unknown_key = format!("{policy}mrenclaves = []\n");
    let trailing = [&quote[..], b"x"].concat();
    let twice = collateral.replacen('{', r#"{"tcb_info":"","#, 1);
    let unknown = collateral.replacen('{', r#"{"tcb_infos":"","#, 1);
    let mut not_signed = root.clone();
    *not_signed.last_mut().unwrap() ^= 1;
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(&'static str, Files<'_>); 4] = [
        (
            "--evidence",
            &[
                ("empty", b""),
                ("cut", &quote[..quote.len() / 2]),
                ("header", &quote[..48]),
                ("garbage", &[7; 5000]),
                ("trailing", &trailing),
                ("large", &vec![0; 1 << 20]),
            ],
        ),
        (
            "--collateral",
            &[
                ("empty", b""),
                ("cut", &collateral.as_bytes()[..1000]),
                ("garbage", &[0xff; 5000]),
                ("twice", twice.as_bytes()),
                ("unknown", unknown.as_bytes()),
                ("large", &vec![b' '; 9 << 20]),
            ],
        ),
        (
            "--root",
            &[
                ("empty", b""),
                ("cut", &root[..300]),
                ("not-signed", &not_signed),
                ("pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                ("large", &vec![0x30; 1 << 20]),
            ],
        ),
        (
            "--policy",
            &[
                ("empty", b""),
                ("cut", &policy.as_bytes()[..20]),
                ("unknown-key", unknown_key.as_bytes()),
                ("unknown-word", b"roots = ['00']"),
                ("bytes", &[0xff; 100]),
                ("large", &vec![b' '; 2 << 20]),
            ],
        ),
    ];
    for (option, files) in cases {
        for (name, bytes) in files {
            let file = format!("{}-{name}", &option[2..]);
            fs::write(place.join(&file), bytes).unwrap();
            verify.clone().with(option, &file).cannot_judge(&format!("shelter: {file}: "));
        }
        let missing = verify.clone().with(option, "missing");
        missing.cannot_judge("shelter: open missing: ");
        missing.with(option, "/").cannot_judge("shelter: read /: ");
    }
    verify.clone().without("--policy").cannot_judge("expected --policy FILE");
    verify.clone().without("--collateral").cannot_judge("expected collateral");
    verify.clone().without("--root").cannot_judge("--root");
    verify.clone().without("--evidence").cannot_judge("--evidence");
    verify.clone().with("--at", "yesterday").cannot_judge("--at");
    verify.with("--cache", "x").cannot_judge("--cache");
}

#[test]
fn real_reports_of_sev_snp_are_authentic_while_their_crl_lasts() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    for (name, now, end, tcb) in [
        (
            "milan",
            1_750_000_000_u64,
            1_778_544_000_u64,
            "bootloader = 3\ntee = 0\nsnp = 8\nmicrocode = 115",
        ),
        (
            "genoa",
            1_751_328_000,
            1_762_131_600,
            "bootloader = 10\ntee = 0\nsnp = 23\nmicrocode = 84",
        ),
    ] {
        let file = |part: &str| vector(&format!("snp/{part}_{name}.der"));
        let root = workload::digest::Digest::of(&fs::read(file("ark")).unwrap());
        let floor = format!("[snp_platform.min_tcb.{name}]\n{tcb}\n");
        fs::write(place.join("policy"), format!("roots = ['{root}']\ntee = 'snp'\n{floor}"))
            .unwrap();
        let verify = Verify::new(place)
            .file("--evidence", &vector(&format!("snp/report_{name}.bin")))
            .file("--endorsement-key", &file("vcek"))
            .file("--authority", &file("ask"))
            .file("--crl", &file("crl"))
            .file("--root", &file("ark"))
            .with("--policy", "policy")
            .with("--authenticate-only", "")
            .with("--at", now);
        let verdict = verify.says("authentic");
        assert_eq!((&verdict["tee"], &verdict["emulated"]), (&"snp".into(), &false.into()));
        verify.clone().with("--at", end).says("authentic");
        for late in [end + 1, LATE] {
            let ids = failed(&verify.clone().with("--at", late).says("refused"));
            assert!(ids.contains(&"root_crl.validity".into()), "{ids:?}");
        }
        // Nothing says what the guest must be: bound or not, that is not enough to accept it.
        let bound = verify.clone().without("--authenticate-only").with("--report-data", hello());
        bound.refuses(&["policy.measurement", "binding.report_data"]);
        // Without one of its endorsements, with those of the other kind, or with another chip's key.
        for option in ["--endorsement-key", "--authority", "--crl"] {
            verify
                .clone()
                .without(option)
                .cannot_judge(&format!("expected {option} for a SEV-SNP report"));
            verify.clone().with(option, "policy").cannot_judge("shelter: policy: ");
        }
        verify.clone().with("--url", "http://127.0.0.1:1").cannot_judge("got collateral of quotes");
        verify.clone().file("--endorsement-key", &vector("snp/vcek_turin.der")).says("refused");
        verify.file("--root", &vector("snp/ark_turin.der")).says("refused");
    }
}

#[test]
fn every_flipped_bit_that_is_signed_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let verify = sgx(place).with("--evidence", "flipped");
    let quote = fs::read(vector("sgx/sgx_quote")).unwrap();
    // Header and body 0..432, length, signature and attestation key, QE report, its signature, authentication data.
    for at in (0..1052).step_by(23) {
        let mut flipped = quote.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(place.join("flipped"), flipped).unwrap();
        let ended = verify.run();
        assert_ne!(ended.code, 0, "bit {} of byte {at}", at % 8);
    }
}

#[test]
fn a_person_reads_what_a_program_reads() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let json = sgx(place).with("--at", LATE).run();
    fs::write(place.join("verdict.json"), &json.stdout).unwrap();
    let explained = Ended::of(shelter(place).args(["explain", "verdict.json"]).output().unwrap());
    assert_eq!(explained.code, 1, "explain ends as verify did");
    assert!(explained.stdout.starts_with("REFUSED  do not trust this"), "{}", explained.stdout);
    let part = "Failed first\n  root_crl.validity\n    expected  until 2026-04-03T11:21:57Z\n    \
                got       2026-11-20T13:40:00Z\n    do        ";
    assert!(explained.stdout.contains(part), "{}", explained.stdout);
    assert!(!explained.stdout.contains('\u{1b}'), "no colour where no terminal is");

    // The same text without JSON between, and through a pipe.
    let mut direct = shelter(place);
    direct.arg("verify");
    for (name, value) in sgx(place).with("--at", LATE).options {
        direct.args([name, &value]);
    }
    assert_eq!(Ended::of(direct.output().unwrap()).stdout, explained.stdout);
    let pipe = fs::File::open(place.join("verdict.json")).unwrap();
    let piped = shelter(place).args(["explain", "-"]).stdin(pipe).output().unwrap();
    assert_eq!(Ended::of(piped).stdout, explained.stdout);

    let accepted = sgx(place).run();
    fs::write(place.join("accepted.json"), &accepted.stdout).unwrap();
    let explained =
        Ended::of(shelter(place).args(["explain", "--all", "accepted.json"]).output().unwrap());
    assert_eq!(explained.code, 0);
    assert!(explained.stdout.contains("These hold\n"), "{}", explained.stdout);

    // What was changed to say accepted beside a failed check is not shown, nor what is no verdict.
    let forged = json.stdout.replacen("\"refused\"", "\"accepted\"", 1);
    for (name, bytes) in [("forged", forged.as_bytes()), ("empty", b""), ("garbage", b"{\"a\":1}")]
    {
        fs::write(place.join(name), bytes).unwrap();
        let ended = Ended::of(shelter(place).args(["explain", name]).output().unwrap());
        assert_eq!((ended.code, &*ended.stdout), (2, ""), "{name}");
        assert!(ended.stderr.starts_with(&format!("shelter: {name}: expected a verdict")));
    }
}
