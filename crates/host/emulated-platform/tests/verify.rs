//! A stock verifier, dcap-qvl as it is shipped, takes the emulated platform's quotes when told to trust its
//! root, with collateral that its own client fetches; and refuses what each knob makes wrong.

mod common;
#[path = "../../sgx-emulator/tests/toy/mod.rs"]
mod toy;

use common::{cpu, report, root};
use dcap_qvl::QuotePolicy;
use dcap_qvl::collateral::CollateralClient;
use dcap_qvl::verify::QuoteVerifier;
use emulated_platform::pcs::Pcs;
use emulated_platform::{
    ADVISORY, Collateral, CollateralSettings, Dates, Issued, PckCa, Platform, Root, Settings,
    TcbStatus, Validity,
};
use sgx::Report;
use sgx_emulator::Mode;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use toy::{DATA, Toy, command};

/// A second within the default dates.
const NOW: u64 = 1_800_000_000;

/// What the verifier says about a quote of `platform` under `settings`.
fn judge(platform: &Platform, settings: &CollateralSettings, now: u64) -> Result<Claims, String> {
    judge_with(platform, platform.root(), settings, now)
}

/// The same with collateral of another root.
fn judge_with(
    platform: &Platform,
    collateral_of: &Root,
    settings: &CollateralSettings,
    now: u64,
) -> Result<Claims, String> {
    let quote = platform.quote(&report(&platform.target_info(), 1)).expect("quoted");
    let issued = Issued::at(NOW as i64);
    let collateral = Collateral::issue(collateral_of, platform.settings().ca, settings, issued)
        .expect("dates are in range");
    let json = serde_json::to_string(&collateral).expect("JSON");
    let collateral = serde_json::from_str::<dcap_qvl::QuoteCollateralV3>(&json).expect("read back");
    QuoteVerifier::new(platform.root().certificate().to_vec())
        .verify_with_policy(&quote, collateral, now, &QuotePolicy::strict(now))
        .map_err(|error| format!("{error:#}"))
}

type Claims = dcap_qvl::QuoteClaims;

fn platform(settings: Settings) -> Platform {
    Platform::new(cpu(1), root(Dates::default()), settings).expect("dates are in range")
}

fn refused(verdict: Result<Claims, String>, why: &str) {
    let error = verdict.expect_err(why);
    assert!(error.contains(why), "expected {why:?} in {error:?}");
}

/// The report of an enclave that runs on the emulator, made by its EREPORT.
fn report_from_inside(toy: &Toy, target: &[u8], data: &[u8; 64]) -> [u8; Report::SIZE] {
    let [at_target, at_data, at_report] = [DATA + 0x200, DATA + 0x400, DATA + 0x600];
    toy.write(0, at_target, target);
    toy.write(0, at_data, data);
    assert_eq!(toy.done(0, command::ENCLU, [0, at_target, at_data, at_report]).rsi, 0);
    let mut report = [0; Report::SIZE];
    toy.read(0, at_report, &mut report);
    report
}

#[tokio::test]
async fn a_stock_verifier_accepts_an_enclave_with_collateral_it_fetched_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let toy = Toy::with_secret(Mode::Fast, 1, &directory.path().join("secret"));
    let platform = Platform::open(directory.path()).expect("opened");
    let report = report_from_inside(&toy, &platform.target_info(), &[0x5a; 64]);
    let quote = platform.quote(&report).expect("quoted");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let pcs = Pcs::new(platform.root().clone(), CollateralSettings::default());
    tokio::spawn(pcs.serve(listener));
    let collateral = CollateralClient::with_default_http(format!("http://{address}"))
        .expect("a client")
        .fetch(&quote)
        .await
        .expect("fetched");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let policy = QuotePolicy::strict(now);
    let verifier = QuoteVerifier::new(platform.root().certificate().to_vec());
    let claims = verifier
        .verify_with_policy(&quote, collateral.clone(), now, &policy)
        .unwrap_or_else(|error| panic!("{error:#}"));
    let body = claims.report.as_sgx().expect("an SGX report");
    assert_eq!(body.mr_enclave, toy::mrenclave(1));
    assert_eq!(body.report_data, [0x5a; 64]);
    assert_eq!(claims.tcb.status.to_string(), "UpToDate");
    assert_eq!(claims.platform.pck.ppid, platform.ppid());

    // Trusted are those who name the root, and nobody else.
    let refusal = QuoteVerifier::new_prod().verify_with_policy(&quote, collateral, now, &policy);
    assert!(refusal.is_err());
}

#[test]
fn both_cas_and_a_second_platform_under_the_root_are_accepted() {
    let settings = CollateralSettings::default();
    let processor = platform(Settings::default());
    let claims = judge(&processor, &settings, NOW).expect("accepted");
    assert_eq!(claims.platform.pck.platform_instance_id, None);

    // Of more than one package, so SGX type 1, which the strict policy takes too.
    let registered = platform(Settings { ca: PckCa::Platform, ..Settings::default() });
    let claims = judge(&registered, &settings, NOW).expect("accepted");
    assert!(claims.platform.pck.platform_instance_id.is_some());

    let second = Platform::new(cpu(7), root(Dates::default()), Settings::default()).expect("made");
    let quote = second.quote(&report(&second.target_info(), 7)).expect("quoted");
    let collateral =
        Collateral::issue(processor.root(), PckCa::Processor, &settings, Issued::at(NOW as i64))
            .expect("dates are in range");
    let json = serde_json::to_string(&collateral).expect("JSON");
    let collateral = serde_json::from_str::<dcap_qvl::QuoteCollateralV3>(&json).expect("read back");
    let claims = QuoteVerifier::new(processor.root().certificate().to_vec())
        .verify_with_policy(&quote, collateral, NOW, &QuotePolicy::strict(NOW))
        .expect("accepted");
    assert_eq!(claims.platform.pck.ppid, second.ppid());
    assert_ne!(second.ppid(), processor.ppid());
}

#[test]
fn revoked_keys_and_authorities_are_refused() {
    let platform = platform(Settings::default());
    let pck = CollateralSettings {
        revoked_pcks: vec![platform.pck_serial()],
        ..CollateralSettings::default()
    };
    refused(judge(&platform, &pck, NOW), "CertRevoked");
    let ca =
        CollateralSettings { revoked_cas: vec![PckCa::Processor], ..CollateralSettings::default() };
    refused(judge(&platform, &ca, NOW), "CertRevoked");
    let others = CollateralSettings {
        revoked_pcks: vec![vec![0x45, 1, 2]],
        revoked_cas: vec![PckCa::Platform],
        ..CollateralSettings::default()
    };
    judge(&platform, &others, NOW).expect("others are revoked");
}

#[test]
fn old_security_versions_are_out_of_date() {
    let settings = CollateralSettings::default();
    let mut cpusvn = Settings::default().cpusvn;
    cpusvn[0] -= 1;
    for old in [
        Settings { cpusvn, ..Settings::default() },
        Settings { pcesvn: 1, ..Settings::default() },
        Settings { qe_isvsvn: 1, ..Settings::default() },
    ] {
        let old = platform(old);
        refused(judge(&old, &settings, NOW), "OutOfDate");
    }
    let unknown = platform(Settings { qe_isvsvn: 0, ..Settings::default() });
    assert!(judge(&unknown, &settings, NOW).is_err());
}

#[test]
fn every_status_reaches_the_verifier_with_its_advisories() {
    let platform = platform(Settings::default());
    for status in TcbStatus::ALL {
        let mut settings = CollateralSettings::default();
        settings.tcb_levels[0].status = status;
        settings.tcb_levels[0].advisories = vec![ADVISORY.to_owned()];
        let verdict = judge(&platform, &settings, NOW);
        if status == TcbStatus::UpToDate {
            assert_eq!(verdict.expect("accepted").tcb.advisory_ids, [ADVISORY]);
        } else {
            refused(verdict, status.name());
        }
    }
}

#[test]
fn dates_bind_every_certificate_and_document() {
    let settings = CollateralSettings::default();
    let (past, future) = (
        Validity { from: 0, until: NOW as i64 - 1 },
        Validity { from: NOW as i64 + 1, ..Validity::default() },
    );
    for wrong in [past, future] {
        for dates in [
            Dates { pck: wrong, ..Dates::default() },
            Dates { pck_ca: wrong, ..Dates::default() },
            Dates { tcb_signer: wrong, ..Dates::default() },
        ] {
            let platform = Platform::new(cpu(1), root(dates), Settings::default()).expect("made");
            let refusal = judge(&platform, &settings, NOW).expect_err("a date is wrong");
            assert!(
                refusal.contains("CertExpired") || refusal.contains("CertNotValidYet"),
                "{refusal}"
            );
        }
    }
    let platform = platform(Settings::default());
    let until = Issued::at(NOW as i64).0.until as u64;
    judge(&platform, &settings, until - 1).expect("a second before the end");
    refused(judge(&platform, &settings, until + 1), "xpired");
    let from = Issued::at(NOW as i64).0.from as u64;
    assert!(judge(&platform, &settings, from - 1).is_err());
}

#[test]
fn collateral_of_another_root_is_refused() {
    let platform = platform(Settings::default());
    let other = Root::new(&cpu(2), Dates::default()).expect("dates are in range");
    assert!(judge_with(&platform, &other, &CollateralSettings::default(), NOW).is_err());
}

#[test]
fn collateral_of_another_family_is_refused() {
    let platform = platform(Settings::default());
    let settings = CollateralSettings { fmspc: *b"EMUxxx", ..CollateralSettings::default() };
    refused(judge(&platform, &settings, NOW), "Fmspc mismatch");
}
