//! /dev/attestation from a shell script of a converted image: what a stock verifier says of its quotes, who may
//! open what, and whose the seal keys are.

use attestation::policy::NOTHING_FREE;
use dcap_qvl::QuotePolicy;
use dcap_qvl::verify::QuoteVerifier;
use e2e::{MODES, Workbench};
use emulated_platform::{Collateral, CollateralSettings, DEFAULT_DIRECTORY, Issued, Platform};
use fixtures::{Bundle, Outcome};
use rats_tls::binding::{Binding, Role};
use rats_tls::claims::Claims;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

/// All files, for user 0.
const ALL: &str = "[attestation]\nuids = [0]\nfiles = [\"attestation_type\", \"bound\", \"claims\", \
                   \"keys\", \"my_target_info\", \"quote\", \"report\", \"target_info\", \
                   \"user_report_data\"]\n";

/// Prints a name and what a command writes, in hexadecimal.
const SHOW: &str = "cd /dev/attestation\n\
                    show() { echo \"$1 $(shift; \"$@\" | od -An -v -tx1 | tr -d ' \\n')\"; }\n";

fn run_in(bundle: &Bundle, mode: &str) -> Outcome {
    let mut command = bundle.run_command();
    fixtures::outcome(command.env("RUNE_EMULATOR_MODE", mode), b"").unwrap()
}

/// The bytes that a run showed under this name.
fn shown(outcome: &Outcome, name: &str) -> Vec<u8> {
    let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_else(|| panic!("{name} is not in {outcome:?}"));
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// What conversion computed, from the signed structure that was made of it.
fn mrenclave(bundle: &Bundle) -> [u8; 32] {
    let bytes = std::fs::read(bundle.directory().join("rootfs/.inclavare/enclave.sig")).unwrap();
    sgx::Sigstruct::from_bytes(&bytes.try_into().unwrap()).enclavehash
}

/// What dcap-qvl says under its strict policy when it is told to trust this host's emulated platform.
fn stock_verifier(quote: &[u8]) -> dcap_qvl::QuoteClaims {
    let platform = Platform::open(Path::new(DEFAULT_DIRECTORY)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (settings, issued) = (CollateralSettings::default(), Issued::at(now as i64));
    let collateral =
        Collateral::issue(platform.root(), platform.settings().ca, &settings, issued).unwrap();
    let json = serde_json::to_string(&collateral).unwrap();
    let collateral: dcap_qvl::QuoteCollateralV3 = serde_json::from_str(&json).unwrap();
    QuoteVerifier::new(platform.root().certificate().to_vec())
        .verify_with_policy(quote, collateral, now, &QuotePolicy::strict(now))
        .unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn a_stock_verifier_takes_the_quote_of_a_shell_script() {
    let Some(workbench) = Workbench::new() else { return };
    let data = "0123456789abcdef".repeat(4);
    let script = format!(
        "{SHOW}printf %s {data} > user_report_data\n\
         cat my_target_info > target_info\n\
         show type cat attestation_type\n\
         show target cat my_target_info\n\
         show report cat report\n\
         show quote cat quote\n\
         show claims cat claims\n"
    );
    let bundle = workbench.busybox("quote", &script, ALL);
    let expected = mrenclave(&bundle);
    let mut instances = Vec::new();
    for mode in MODES {
        let outcome = run_in(&bundle, mode);
        assert_eq!(outcome.code, 0, "{mode}: {outcome:?}");
        assert_eq!(shown(&outcome, "type"), b"dcap");
        assert_eq!(shown(&outcome, "target")[..32], expected, "{mode}");
        let report = shown(&outcome, "report");
        assert_eq!((report.len(), &report[64..96]), (432, &expected[..]), "{mode}");
        assert_eq!(report[320..384], *data.as_bytes(), "{mode}");
        let claims = stock_verifier(&shown(&outcome, "quote"));
        let body = claims.report.as_sgx().expect("an SGX report");
        assert_eq!(body.mr_enclave, expected, "{mode}");
        assert_eq!(body.report_data[..], *data.as_bytes(), "{mode}");
        assert_eq!(claims.tcb.status.to_string(), "UpToDate");
        instances.push(Claims::decode(&shown(&outcome, "claims")).unwrap().instance_id);
    }
    assert_ne!(instances[0], instances[1], "new at each start");
}

#[test]
fn bound_evidence_is_made_of_fields_and_of_nothing_else() {
    let Some(workbench) = Workbench::new() else { return };
    let binding = Binding {
        role: Role::Server,
        epoch: 3,
        own_key: [0x11; 48],
        peer_key: [0; 48],
        transcript: [0x33; 48],
        binder: [0x44; 48],
    };
    let custom = rats_tls::claims::encode_custom(&[("role".into(), b"probe".to_vec())].into());
    let mut record = b"EAABND01\x02\0\0\0\0\0\0\x03".to_vec();
    for field in [binding.own_key, binding.peer_key, binding.transcript, binding.binder] {
        record.extend(field);
    }
    record.extend(&custom);
    let octal = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\{b:03o}")).collect() };
    // What the device makes of these fields, written by a program instead.
    let forged = octal(&[&[7; 48], &b"EAA-BOUND-V1\0\0\0\0"[..]].concat());
    let script = format!(
        "{SHOW}exec 3<>bound\n\
         printf '{}' >&3\n\
         show quote cat <&3\n\
         show claims cat claims\n\
         printf '{forged}' > user_report_data || echo refused\n\
         show data cat user_report_data\n",
        octal(&record)
    );
    let bundle = workbench.busybox("bound", &script, ALL);
    for mode in MODES {
        let outcome = run_in(&bundle, mode);
        let claims = shown(&outcome, "claims");
        let quote = stock_verifier(&shown(&outcome, "quote"));
        let got = quote.report.as_sgx().unwrap().report_data;
        let buffer = [claims, custom.clone()].concat();
        assert_eq!(got, binding.report_data(&buffer), "{mode}");
        let claims = Claims::decode(&buffer).unwrap();
        assert_eq!(claims.custom["role"], b"probe");
        assert!(outcome.stdout.contains("refused"), "{mode}: {outcome:?}");
        assert_eq!(shown(&outcome, "data"), [0; 64], "{mode}: nothing was written");
        assert!(outcome.stderr.contains("EAA-BOUND-V1"), "the log says why: {outcome:?}");
    }
}

#[test]
fn what_was_admitted_is_a_claim() {
    let Some(workbench) = Workbench::new() else { return };
    let script = format!("{SHOW}show claims cat claims");
    let policy = format!("[env]\nTZ = {{ any = true }}\n{ALL}");
    let fixed = workbench.busybox("fixed", &script, ALL);
    let bundle = workbench.busybox("config", &script, &policy);
    let digest_of = |bundle: &Bundle| {
        let outcome = bundle.run(b"").unwrap();
        Claims::decode(&shown(&outcome, "claims")).unwrap().config_digest
    };
    assert_eq!(digest_of(&fixed), NOTHING_FREE, "which a policy that does not say accepts");
    let digest = || digest_of(&bundle);
    let set = |zone: &str| {
        bundle
            .edit_config(|config| {
                let env = config["process"]["env"].as_array_mut().unwrap();
                env.retain(|entry| !entry.as_str().unwrap().starts_with("TZ="));
                env.push(format!("TZ={zone}").into());
            })
            .unwrap();
    };
    let left_out = digest();
    set("UTC");
    let utc = digest();
    assert_ne!(utc, left_out);
    assert_ne!(left_out, NOTHING_FREE, "the host could have set it");
    assert_eq!(digest(), utc, "the same request, the same digest");
    set("CET");
    assert_ne!(digest(), utc);
}

#[test]
fn users_and_files_that_the_manifest_does_not_list_are_refused() {
    let Some(workbench) = Workbench::new() else { return };
    let script = "cd /dev/attestation\n\
                  for file in claims quote report; do cat $file > /dev/null 2>&1 && echo $file; done\n\
                  cat report keys/_sgx_mrenclave; echo x > user_report_data; ls";
    let policy = "user = { uid = 0, gid = 0, additional_gids = [] }\n\
                  [attestation]\nuids = [33]\nfiles = [\"claims\", \"quote\"]\n";
    let outcome = workbench.busybox("root", script, policy).run(b"").unwrap();
    assert!(!outcome.stdout.contains("claims\nquote\nkeys"), "{outcome:?}");
    assert!(outcome.stdout.starts_with("attestation_type\n"), "user 0 opened: {outcome:?}");
    assert_eq!(outcome.stderr.matches("ermission denied").count(), 3, "{outcome:?}");

    let policy = policy.replace("uid = 0", "uid = 33");
    let outcome = workbench.busybox("user", script, &policy).run(b"").unwrap();
    assert!(outcome.stdout.starts_with("claims\nquote\nattestation_type\n"), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("ermission denied").count(), 3, "{outcome:?}");

    let nobody = workbench.busybox("nobody", script, "").run(b"").unwrap();
    assert!(nobody.stdout.starts_with("attestation_type\n"), "{nobody:?}");
}

#[test]
fn seal_keys_are_the_enclaves_or_the_workloads() {
    let Some(workbench) = Workbench::new() else { return };
    let keys = |name: &str, comment: &str, policy: &str| {
        let script = format!(
            "# {comment}\n{SHOW}\
             show own cat keys/_sgx_mrenclave\n\
             show data cat keys/mrenclave/data\n\
             show logs cat keys/mrenclave/logs\n\
             show workload cat keys/_sgx_mrsigner\n\
             show upgraded cat keys/mrsigner/data\n"
        );
        let bundle = workbench.busybox(name, &script, &format!("{policy}{ALL}"));
        move |mode: &str| {
            let outcome = run_in(&bundle, mode);
            ["own", "data", "logs", "workload", "upgraded"].map(|name| shown(&outcome, name))
        }
    };
    let identity = "[identity]\nkss = { ext_prod_id = \"000102030405060708090a0b0c0d0e0f\", \
                    family_id = \"101112131415161718191a1b1c1d1e1f\" }\n";
    let run = keys("first", "first", identity);
    let first = run("fast");
    assert!(first.iter().all(|key| key.len() == 16), "{first:?}");
    assert_eq!(run("pure"), first, "the same at every start");
    let different = |keys: &[Vec<u8>]| {
        let set: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(set.len(), keys.len(), "{keys:?}");
    };
    different(&first);

    let second = keys("second", "another image", identity)("fast");
    different(&[&first[..3], &second[..3]].concat());
    assert_eq!(first[3..], second[3..], "an upgrade keeps the workload's keys");

    let debug = keys("debug", "first", &format!("debug = true\n{identity}"))("fast");
    different(&[&first[..], &debug[..]].concat());

    let other = identity.replace("1011", "1012");
    let tenant = keys("tenant", "first", &other)("fast");
    different(&[&first[3..], &tenant[3..]].concat());

    // Without an identity there is no key of the signer's.
    let plain = keys("plain", "first", "")("fast");
    assert!(plain[3..].iter().all(Vec::is_empty), "{plain:?}");
    different(&[&first[..3], &plain[..3]].concat());
}

/// `rune attest`: the host asks. The report's words are those of the pack, and what is quoted of it is genuine.
#[test]
fn the_host_gets_a_report_and_a_quote_of_a_running_enclave() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("attest", "echo ready; read line", "stdin = \"allowed\"\n");
    bundle.edit_config(|config| config["root"]["readonly"] = false.into()).unwrap();
    std::os::unix::fs::symlink("/etc", bundle.directory().join("rootfs/link")).unwrap();
    let expected = mrenclave(&bundle);
    let id = fixtures::fresh_id();
    let rune = |words: &[&str]| {
        let mut command = bundle.programs().rune();
        fixtures::outcome(command.args(words), b"").unwrap()
    };
    let mut run = bundle.programs().rune();
    run.args(["run", "--bundle"]).arg(bundle.directory()).arg(&id);
    let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let local = rune(&["attest", "--reportFile", "/../report", &id]);
    assert_eq!(local.code, 0, "{local:?}");
    let told: serde_json::Value = serde_json::from_str(&local.stdout).unwrap();
    let hex: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told["mrenclave"], hex);
    assert_eq!((&told["emulated"], &told["quote"]), (&true.into(), &serde_json::Value::Null));
    let report = std::fs::read(bundle.directory().join("rootfs/report")).unwrap();
    assert_eq!((report.len(), &report[64..96]), (432, &expected[..]));

    let quote = workbench.path().join("quote");
    let remote = ["attest", "--isRA", "--quote-type", "ECDSA", "--quoteFile"];
    let remote = rune(&[&remote[..], &[quote.to_str().unwrap(), &id]].concat());
    assert_eq!(remote.code, 0, "{remote:?}");
    let claims = stock_verifier(&std::fs::read(&quote).unwrap());
    let body = claims.report.as_sgx().expect("an SGX report");
    assert_eq!((body.mr_enclave, body.report_data), (expected, [0; 64]));

    // A link in the container leads to nothing of the host, and EPID is named.
    let name = format!("inclavare-{id}");
    assert_eq!(rune(&["attest", "--reportFile", &format!("/link/{name}"), &id]).code, 0);
    assert!(bundle.directory().join("rootfs/etc").join(&name).exists());
    assert!(!Path::new("/etc").join(&name).exists());
    for (option, value, part) in [
        ("--quote-type", "epidUnlinkable", "Intel has retired EPID"),
        ("--spid", "00", "--spid: expected none"),
        ("-key", "00", "--key: expected none"),
        ("--quoteFile", "q", "--quoteFile: expected --isRA"),
    ] {
        let refused = rune(&["attest", option, value, &id]);
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    let ended = rune(&["attest", &id]);
    assert_ne!(ended.code, 0);
}

/// `ENCLAVE_RA_TYPE`: what the administrator's verifier refuses does not stay, and without a verifier nothing starts.
#[test]
fn a_verifier_of_the_administrator_decides_at_start() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("start", "echo ran; sleep 2; echo stayed", "");
    bundle
        .edit_config(|config| {
            config["process"]["env"].as_array_mut().unwrap().push("ENCLAVE_RA_TYPE=ecdsa".into());
        })
        .unwrap();
    let expected = mrenclave(&bundle);
    let (etc, seen) = (workbench.path().join("etc"), workbench.path().join("seen"));
    let config = etc.join("inclavare-containers");
    std::fs::create_dir_all(&config).unwrap();
    // A mount namespace with an /etc of its own, where the configuration is.
    let run = |verifier: Option<&str>| {
        let _ = std::fs::remove_file(config.join("config.toml"));
        if let Some(script) = verifier {
            let script = format!("cp \"$0\" {}; {script}", seen.display());
            let line = format!("verifier = ['/bin/sh', '-c', '{script}', '{{quote}}']");
            std::fs::write(config.join("config.toml"), format!("[attestation]\n{line}\n")).unwrap();
        }
        let inner = bundle.run_command();
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\""]).arg(&etc);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        fixtures::outcome(&mut command, b"").unwrap()
    };
    let none = run(None);
    assert!(none.code != 0 && none.stdout.is_empty(), "{none:?}");
    assert!(
        none.stderr.contains("attestation.verifier, which enclave.attestation.ra_type needs"),
        "{none:?}"
    );
    let good = run(Some("exit 0"));
    assert_eq!((good.code, good.stdout.as_str()), (0, "ran\nstayed\n"), "{good:?}");
    let claims = stock_verifier(&std::fs::read(&seen).unwrap());
    assert_eq!(claims.report.as_sgx().expect("an SGX report").mr_enclave, expected);
    let bad = run(Some("echo wrong program; exit 1"));
    assert!(bad.code != 0 && !bad.stdout.contains("stayed"), "{bad:?}");
    assert!(bad.stderr.contains("wrong program"), "{bad:?}");

    // JSON has other spellings of the same setting: what was asked for at create counts at start.
    let file = bundle.directory().join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("ENCLAVE_RA_TYPE", "ENCLAVE_RA\\u005fTYPE")).unwrap();
    let bad = run(Some("echo wrong program; exit 1"));
    assert!(bad.code != 0 && !bad.stdout.contains("stayed"), "{bad:?}");
    assert!(bad.stderr.contains("wrong program"), "{bad:?}");
}
