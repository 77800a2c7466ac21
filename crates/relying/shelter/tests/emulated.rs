//! `shelter` on evidence of the emulated platform, and on mixtures of it with Intel's.

mod support;

#[path = "../../../host/emulated-platform/tests/common/mod.rs"]
mod emulated;

use emulated_platform::pcs::Pcs;
use emulated_platform::{Collateral, CollateralSettings, Dates, Issued, PckCa, Platform};
use emulated_platform::{Root, Settings};
use std::fs;
use std::path::Path;
use support::{Ended, Verify, failed, shelter, vector};

/// A moment inside the dates of the Intel vectors.
const TIME: u64 = 1_752_919_277;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    workload::digest::Digest::of(bytes).to_string()
}

/// CPU `number` and its quote.
fn quoted(number: u8) -> (Platform, Vec<u8>) {
    let platform = emulated::platform(number);
    let report = emulated::report(&platform.target_info(), number);
    let quote = platform.quote(&report).unwrap();
    (platform, quote)
}

fn issue(root: &Root, settings: &CollateralSettings, time: u64) -> Vec<u8> {
    let issued = Issued::at(time as i64);
    serde_json::to_vec(&Collateral::issue(root, PckCa::Processor, settings, issued).unwrap())
        .unwrap()
}

/// `verify` of CPU 1's quote as it must be accepted, with files `quote`, `collateral`, `root`, `policy`.
fn accepted(place: &Path, platform: &Platform, quote: &[u8]) -> Verify {
    let root = platform.root();
    fs::write(place.join("quote"), quote).unwrap();
    fs::write(place.join("root"), root.certificate_pem()).unwrap();
    let collateral = issue(root, &CollateralSettings::default(), TIME);
    fs::write(place.join("collateral"), collateral).unwrap();
    let policy = format!(
        "roots = ['{}']\ntee = 'emulated'\nmrenclave = ['{}']\n",
        hex(&root.fingerprint()),
        "11".repeat(32)
    );
    fs::write(place.join("policy"), policy).unwrap();
    Verify::new(place)
        .with("--evidence", "quote")
        .with("--collateral", "collateral")
        .with("--root", "root")
        .with("--policy", "policy")
        .with("--report-data", "33".repeat(64))
        .with("--at", TIME)
}

#[test]
fn emulated_evidence_is_accepted_only_where_it_is_asked_for_and_always_says_so() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (platform, quote) = quoted(1);
    let verify = accepted(place, &platform, &quote);
    let verdict = verify.says("accepted");
    assert_eq!((&verdict["emulated"], &verdict["tee"]), (&true.into(), &"sgx".into()));
    assert_eq!(verdict["measurement"]["mrsigner"], "22".repeat(32));
    let text = |verify: &Verify| {
        let mut text = shelter(place);
        text.arg("verify");
        for (name, value) in &verify.options {
            text.args([name, value.as_str()].iter().filter(|it| !it.is_empty()));
        }
        Ended::of(text.output().unwrap()).stdout
    };
    let of_unbound = text(&verify.clone().without("--report-data").with("--unbound", ""));
    assert!(of_unbound.starts_with("AUTHENTIC  emulated: "), "{of_unbound}");
    let text = text(&verify);
    assert!(text.starts_with("ACCEPTED  emulated: "), "{text}");
    assert!(text.contains("sgx, emulated"), "{text}");

    // Hardware asked for: by default, by name, and by a policy that trusts this root beside Intel's.
    let policy = fs::read_to_string(place.join("policy")).unwrap();
    let intel = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
    for tee in ["", "tee = 'hardware'", "tee = 'sgx'", "tee = ['hardware', 'tdx', 'snp']"] {
        let hardware = policy
            .replace("tee = 'emulated'", tee)
            .replace("roots = [", &format!("roots = ['{intel}', "));
        fs::write(place.join("hardware"), hardware).unwrap();
        let verdict = verify.clone().with("--policy", "hardware").refuses(&["policy.tee"]);
        assert_eq!(verdict["emulated"], true);
        let authenticate = verify.clone().without("--report-data").with("--authenticate-only", "");
        authenticate.clone().with("--policy", "hardware").refuses(&["policy.tee"]);
        authenticate.without("--policy").refuses(&["policy.tee"]);
    }
    let unbound = verify.without("--report-data");
    let authentic = unbound.clone().with("--authenticate-only", "").says("authentic");
    assert_eq!(authentic["emulated"], true);
    // What runs there is judged too, and whose it is not.
    let unbound = unbound.with("--unbound", "");
    assert_eq!(unbound.says("authentic")["measurement"]["mrenclave"], "11".repeat(32));
    let other = policy.replace(&"11".repeat(32), &"12".repeat(32));
    fs::write(place.join("other"), other).unwrap();
    unbound.with("--policy", "other").refuses(&["policy.measurement"]);
}

#[test]
fn every_mixture_of_two_trusted_roots_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let intel_root = fs::read(vector("collateral/intel-sgx-root-ca.der")).unwrap();
    let hello = format!("{:0<128}", hex(b"Hello, world!"));
    let mut parties = vec![(
        fs::read(vector("sgx/sgx_quote")).unwrap(),
        fs::read(vector("sgx/sgx_quote_collateral.json")).unwrap(),
        intel_root.clone(),
        hello,
    )];
    for number in [1, 2] {
        let (platform, quote) = quoted(number);
        let root = platform.root();
        let collateral = issue(root, &CollateralSettings::default(), TIME);
        parties.push((quote, collateral, root.certificate().to_vec(), "33".repeat(64)));
    }
    // A policy that trusts all three, and everything that they run.
    let roots: Vec<String> =
        parties.iter().map(|party| format!("'{}'", sha256(&party.2))).collect();
    let policy = format!(
        "roots = [{}]\ntee = ['hardware', 'emulated']\nmrenclave = ['{}', '{}']\n\
         tcb_status = ['UpToDate', 'ConfigurationAndSWHardeningNeeded']\n",
        roots.join(", "),
        "11".repeat(32),
        "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb"
    );
    fs::write(place.join("policy"), policy).unwrap();
    for (number, (quote, collateral, root, _)) in parties.iter().enumerate() {
        fs::write(place.join(format!("quote{number}")), quote).unwrap();
        fs::write(place.join(format!("collateral{number}")), collateral).unwrap();
        fs::write(place.join(format!("root{number}")), root).unwrap();
    }
    for (quote, (_, _, _, bound)) in parties.iter().enumerate() {
        for collateral in 0..3 {
            for root in 0..3 {
                let verify = Verify::new(place)
                    .with("--evidence", format!("quote{quote}"))
                    .with("--collateral", format!("collateral{collateral}"))
                    .with("--root", format!("root{root}"))
                    .with("--policy", "policy")
                    .with("--report-data", bound)
                    .with("--at", TIME);
                if quote == collateral && collateral == root {
                    assert_eq!(verify.says("accepted")["emulated"], root != 0);
                    continue;
                }
                let verdict = verify.says("refused");
                let ids = failed(&verdict);
                assert!(
                    ids.contains(&"root.identity".into()),
                    "{quote}{collateral}{root}: {ids:?}"
                );
                let only = verify.without("--report-data").with("--authenticate-only", "");
                only.says("refused");
            }
        }
    }
    // One document out of two: each part alone of another root.
    let read = |number: usize| -> serde_json::Value {
        serde_json::from_slice(&parties[number].1).unwrap()
    };
    let names: Vec<String> = read(1).as_object().unwrap().keys().cloned().collect();
    for name in names.iter().filter(|name| *name != "tcb_info" && *name != "qe_identity") {
        let mut mixed = read(1);
        mixed[name] = read(2)[name].clone();
        fs::write(place.join("mixed"), mixed.to_string()).unwrap();
        Verify::new(place)
            .with("--evidence", "quote1")
            .with("--collateral", "mixed")
            .with("--root", "root1")
            .with("--policy", "policy")
            .with("--report-data", &parties[1].3)
            .with("--at", TIME)
            .says("refused");
    }
}

#[test]
fn revoked_and_outdated_platforms_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (platform, quote) = quoted(1);
    let verify = accepted(place, &platform, &quote);
    let with = |settings: CollateralSettings| {
        let collateral = issue(platform.root(), &settings, TIME);
        fs::write(place.join("changed"), collateral).unwrap();
        verify.clone().with("--collateral", "changed")
    };
    let default = CollateralSettings::default;
    with(CollateralSettings { revoked_pcks: vec![platform.pck_serial()], ..default() })
        .refuses(&["pck.revocation"]);
    with(CollateralSettings { revoked_cas: vec![PckCa::Processor], ..default() })
        .refuses(&["pck_ca.revocation"]);
    with(CollateralSettings { fmspc: [7; 6], ..default() }).refuses(&["tcb_info.fmspc"]);

    // A platform behind the newest level, as an operator who missed an update has it.
    let root = Root::new(&emulated::cpu(1), Dates::default()).unwrap();
    let mut cpusvn = Settings::default().cpusvn;
    cpusvn[0] -= 1;
    let old = Platform::new(emulated::cpu(1), root, Settings { cpusvn, ..Settings::default() });
    let old = old.unwrap();
    let quote = old.quote(&emulated::report(&old.target_info(), 1)).unwrap();
    let verdict = accepted(place, &old, &quote).refuses(&["policy.tcb_status"]);
    assert_eq!(verdict["tcb_status"], "OutOfDate");
}

#[test]
fn collateral_from_the_platforms_service_and_through_a_cache() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (platform, quote) = quoted(1);
    let offline = accepted(place, &platform, &quote).without("--at").without("--collateral");
    let service = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = service.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pcs = Pcs::new(platform.root().clone(), CollateralSettings::default());
    service.spawn(pcs.serve(listener));

    let run = |words: &[&str]| {
        let ended = Ended::of(shelter(place).arg("collateral").args(words).output().unwrap());
        assert_eq!(ended.code, 0, "{words:?}: {}", ended.stderr);
        ended.stdout
    };
    let root = ["--root", "root"];
    let fetched =
        run(&[&["fetch", "--url", &url, "--evidence", "quote", "--output", "bundle"][..], &root]
            .concat());
    let kind = "emulated sgx collateral of FMSPC 454D554C4154, processor CA, valid until ";
    assert!(fetched.starts_with(kind), "{fetched}");
    let named =
        ["fetch", "--url", &url, "--fmspc", "454d554c4154", "--tee", "sgx", "--ca", "processor"];
    run(&[&named[..], &["--cache", "cache"], &root].concat());

    // By this machine's clock: straight from the service, and into a cache.
    assert_eq!(offline.clone().with("--url", &url).says("accepted")["time_source"], "host");
    offline.clone().with("--url", &url).with("--cache", "cache").says("accepted");
    // The service is gone; cache and bundle are enough.
    drop(service);
    offline.clone().with("--url", &url).cannot_judge(&format!("shelter: ask {url}/sgx/"));
    offline.clone().with("--url", &url).with("--cache", "cache").says("accepted");
    offline.clone().with("--cache", "cache").says("accepted");
    offline.clone().with("--collateral", "bundle").says("accepted");
    offline.clone().with("--cache", "empty").cannot_judge("none that is valid is stored");

    // Out of one cache and into another, byte for byte.
    run(&[&["export", "--cache", "cache", "--evidence", "quote", "--output", "out"][..], &root]
        .concat());
    run(&[&["import", "out", "--cache", "there"][..], &root].concat());
    offline.with("--cache", "there").says("accepted");
    let shown = run(&[&["show", "out"][..], &root].concat());
    assert!(shown.contains("verified                   yes"), "{shown}");
    assert!(shown.contains("emulated                   yes"), "{shown}");
    assert!(run(&["show", "out"]).contains("not looked at: no --root"));
    let shown = run(&["show", "--cache", "there", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let objects = shown["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 4);
    assert!(objects.iter().all(|object| object["emulated"] == true));

    // Older than what was seen; damaged; of another root: not taken in, and what was there stays.
    let before = fs::read(place.join("there/index")).unwrap();
    let old =
        issue(platform.root(), &CollateralSettings { evaluation: 0, ..Default::default() }, now());
    fs::write(place.join("old"), old).unwrap();
    let theirs = issue(quoted(2).0.root(), &CollateralSettings::default(), now());
    fs::write(place.join("theirs"), theirs).unwrap();
    fs::write(place.join("garbage"), "{").unwrap();
    for (file, part) in [
        ("old", "old: SGX TCB info of FMSPC 454D554C4154: number: expected at least 1"),
        ("theirs", "theirs: collateral is refused: "),
        ("garbage", "garbage: collateral: "),
    ] {
        let words = [&["collateral", "import", file, "--cache", "there"][..], &root].concat();
        let ended = Ended::of(shelter(place).args(words).output().unwrap());
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.starts_with(&format!("shelter: {part}")), "{}", ended.stderr);
        assert_eq!(fs::read(place.join("there/index")).unwrap(), before);
    }
    fs::write(place.join("there/index"), "garbage").unwrap();
    let words = ["collateral", "show", "--cache", "there"];
    let ended = Ended::of(shelter(place).args(words).output().unwrap());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("shelter: there/index: damaged: "), "{}", ended.stderr);
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
