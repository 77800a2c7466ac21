//! The commands as their user runs them, on an enclave that runs on the emulator.

#[path = "../../../host/sgx-emulator/tests/toy/mod.rs"]
mod toy;

use serde_json::Value;
use sgx::Report;
use sgx_emulator::Mode;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use toy::{DATA, Toy, command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sgx-tools");

/// `sgx-tools emulator serve` on a directory of its own, until dropped.
struct Service {
    directory: tempfile::TempDir,
    child: Child,
    /// What it said when it was ready.
    ready: Value,
}

impl Service {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(PROGRAM)
            .current_dir(directory.path())
            .args(["--json", "emulator", "serve", "--aesm", "aesm.socket"])
            .args(["--pcs", "127.0.0.1:0", "--directory", "."])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was built");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line}"));
        Self { directory, child, ready }
    }

    fn run(&self, words: &[&str]) -> Output {
        run(self.directory.path(), words)
    }

    /// Standard output of a run that must succeed.
    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, words: &[&str]) -> Value {
        let text = self.good(&[&["--json"], words].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Exit code and output of a run that must not succeed.
    fn bad(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().expect("an exit code"), String::from_utf8(text).expect("text"))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).expect(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), contents).expect(name);
    }

    /// `report.bin`: by an enclave that runs on this host's emulator.
    fn make_report(&self, target: &[u8]) {
        let toy = Toy::with_secret(Mode::Fast, 1, &self.directory.path().join("secret"));
        let [at_target, at_data, at_report] = [DATA + 0x200, DATA + 0x400, DATA + 0x600];
        toy.write(0, at_target, target);
        toy.write(0, at_data, &[0x5a; 64]);
        assert_eq!(toy.done(0, command::ENCLU, [0, at_target, at_data, at_report]).rsi, 0);
        let mut report = [0; Report::SIZE];
        toy.read(0, at_report, &mut report);
        self.write("report.bin", report);
    }

    /// `quote.bin`, `collateral.json`, `root.pem`, `policy.toml`.
    fn make_quote(&self, collateral: &[&str]) {
        let ecdsa = ["--quote-type", "ecdsa", "--aesm", "aesm.socket"];
        self.good(&[&["gen-qe-target-info"], &ecdsa[..]].concat());
        self.make_report(&self.read("qe_targetinfo.bin"));
        self.good(&[&["gen-quote", "--report", "report.bin"], &ecdsa[..]].concat());
        let words = ["emulator", "collateral", "--directory", "."];
        self.write("collateral.json", self.good(&[&words[..], collateral].concat()));
        self.write("root.pem", self.good(&["emulator", "root", "--directory", "."]));
        self.write("policy.toml", self.policy("emulated"));
    }

    fn policy(&self, tee: &str) -> String {
        format!(
            "roots = [\"{}\"]\ntee = \"{tee}\"\nmrenclave = [\"{}\"]\n",
            self.ready["root_sha256"].as_str().expect("a digest"),
            hex(&toy::mrenclave(1)),
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(directory: &Path, words: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(directory).args(words).output().expect("it was built")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const VERIFY: [&str; 11] = [
    "verify-quote",
    "--quote-type",
    "ecdsa",
    "--quote",
    "quote.bin",
    "--collateral",
    "collateral.json",
    "--root",
    "root.pem",
    "--policy",
    "policy.toml",
];

#[test]
fn from_a_report_to_a_verdict() {
    let service = Service::start(&[]);
    service.make_quote(&[]);
    let data = "5a".repeat(64);
    let verify = |more: &[&'static str]| [&VERIFY[..], more].concat();
    let bound = [&VERIFY[..], &["--report-data", &data]].concat();

    let verdict = service.json(&bound);
    assert_eq!(verdict["verdict"], "accepted");
    assert_eq!(verdict["emulated"], true);
    assert_eq!(verdict["measurement"]["mrenclave"], hex(&toy::mrenclave(1)));
    assert_eq!(verdict["platform"]["ppid"], service.ready["ppid"]);
    let verdict = service.json(&verify(&["--authenticate-only"]));
    assert_eq!(verdict["verdict"], "authentic");
    assert!(service.good(&bound).contains("emulated               yes"));

    // Bound to something else; to nothing; to both.
    let other = "5b".repeat(64);
    let (code, text) = service.bad(&[&VERIFY[..], &["--report-data", &other]].concat());
    assert_eq!(code, 1);
    assert!(
        text.contains("refused") && text.contains(&other[..]) && text.contains(&data[..]),
        "{text}"
    );
    assert_eq!(service.bad(&VERIFY).0, 2);
    assert_eq!(service.bad(&verify(&["--report-data", ""])).0, 2);
    let zeros = "00".repeat(64);
    assert_eq!(service.bad(&[&VERIFY[..], &["--report-data", &zeros]].concat()).0, 2);
    assert_eq!(service.bad(&[&bound[..], &["--authenticate-only"]].concat()).0, 2);

    // After the collateral's end.
    assert_eq!(service.bad(&[&bound[..], &["--at", "2524607000"]].concat()).0, 1);

    // Where hardware is asked for.
    service.write("policy.toml", service.policy("hardware"));
    let (code, text) = service.bad(&bound);
    assert_eq!(code, 1);
    assert!(text.contains("policy.tee"), "{text}");
}

#[test]
fn what_tests_of_verifiers_change_reaches_the_verdict() {
    let service = Service::start(&["--ca", "platform"]);
    let data = "5a".repeat(64);
    let bound = [&VERIFY[..], &["--report-data", &data]].concat();
    let platform = ["--ca", "platform"];
    service.make_quote(&platform);
    let verdict = service.json(&bound);
    assert!(verdict["platform"]["platform_instance_id"].is_string(), "{verdict}");
    for (change, expected) in [
        (["--tcb-status", "OutOfDate"], "OutOfDate"),
        (["--tcb-status", "Revoked"], "Revoked"),
        (["--revoke", "ca"], "revoked"),
    ] {
        let words = ["emulator", "collateral", "--directory", ".", "--ca", "platform"];
        service.write("collateral.json", service.good(&[&words[..], &change].concat()));
        let (code, text) = service.bad(&bound);
        assert_eq!(code, 1);
        assert!(text.contains(expected), "{text}");
    }
    let (code, text) =
        service.bad(&["emulator", "collateral", "--directory", ".", "--tcb-status", "x"]);
    assert_eq!(code, 2);
    assert!(text.contains("tcb-status: expected one of UpToDate"), "{text}");
}

#[test]
fn the_service_says_that_it_is_emulated() {
    let service = Service::start(&[]);
    let said = service.ready.to_string();
    assert!(said.contains("EMULATED"), "{said}");
    let url = service.ready["pcs"].as_str().expect("a URL");
    let address =
        url.strip_prefix("http://").and_then(|url| url.split('/').next()).expect("an address");
    TcpStream::connect(address).expect("it listens");
    let root = service.json(&["emulator", "root", "--directory", "."]);
    assert_eq!(root["sha256"], service.ready["root_sha256"]);
    assert_eq!(root["emulated"], true);
    let second = run(
        service.directory.path(),
        &["emulator", "serve", "--aesm", "aesm.socket", "--pcs", "127.0.0.1:0", "--directory", "."],
    );
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("listen on aesm.socket"));
}

#[test]
fn stopped_it_takes_its_socket_away() {
    let mut service = Service::start(&[]);
    let socket = service.directory.path().join("aesm.socket");
    assert!(socket.exists());
    let stop =
        Command::new("kill").arg(service.child.id().to_string()).status().expect("kill runs");
    assert!(stop.success() && service.child.wait().expect("ended").success());
    assert!(!socket.exists());
}

#[test]
fn the_daemons_refusals_are_explained() {
    let service = Service::start(&[]);
    let ecdsa = ["--quote-type", "ecdsa", "--aesm", "aesm.socket"];
    // For another target than the quoting enclave.
    service.make_report(&[0; 512]);
    let (code, text) =
        service.bad(&[&["gen-quote", "--report", "report.bin"], &ecdsa[..]].concat());
    assert_eq!(code, 1);
    assert!(text.contains("INVALID_REPORT") && text.contains("gen-qe-target-info"), "{text}");
    assert!(!service.directory.path().join("quote.bin").exists());

    service.write("short.bin", [0; 431]);
    let (code, text) = service.bad(&[&["gen-quote", "--report", "short.bin"], &ecdsa[..]].concat());
    assert_eq!(code, 1);
    assert!(text.contains("short.bin: REPORT: expected 432 bytes, got 431"), "{text}");

    let (code, text) =
        service.bad(&["gen-qe-target-info", "--quote-type", "ecdsa", "--aesm", "no.socket"]);
    assert_eq!(code, 2);
    assert!(text.contains("aesm socket no.socket") && text.contains("emulator serve"), "{text}");
}

#[test]
fn epid_is_retired() {
    let directory = tempfile::tempdir().expect("a directory");
    for kind in ["epidUnlinkable", "EPIDLINKABLE"] {
        for words in [
            &["gen-qe-target-info", "--quote-type", kind][..],
            &["gen-quote", "--quote-type", kind, "--report", "r", "--spid", "00"],
            &[
                "verify-quote",
                "--quote-type",
                kind,
                "--quote",
                "q",
                "--key",
                "00",
                "--collateral",
                "c",
                "--root",
                "r",
                "--policy",
                "p",
                "--authenticate-only",
            ],
        ] {
            let output = run(directory.path(), words);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {error}");
            assert!(error.contains("retired by Intel, use ecdsa"), "{error}");
        }
    }
    let output = run(directory.path(), &["gen-qe-target-info", "--quote-type", "epid"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_launch_token_is_not_needed() {
    let service = Service::start(&[]);
    service.write("enclave.sig", toy::sign(&toy::body(1)));
    let words = ["gen-token", "--signature", "enclave.sig", "--aesm", "aesm.socket"];
    let (code, text) = service.bad(&words);
    assert_eq!(code, 1);
    // By this CPU, or by the service.
    assert!(
        text.contains("needs no launch token") || text.contains("SERVICE_UNAVAILABLE"),
        "{text}"
    );
    service.write("short.sig", [0; 1807]);
    let words = ["gen-token", "--signature", "short.sig", "--aesm", "aesm.socket"];
    let (code, text) = service.bad(&words);
    assert_eq!(code, 1);
    assert!(text.contains("SIGSTRUCT: expected 1808 bytes, got 1807"), "{text}");
    service.write("zero.sig", [0; 1808]);
    assert_eq!(service.bad(&["gen-token", "--signature", "zero.sig"]).0, 1);
}

#[test]
fn files_are_shown_by_their_contents() {
    let service = Service::start(&[]);
    service.make_quote(&[]);
    let target = service.json(&["inspect", "qe_targetinfo.bin"]);
    assert_eq!((&target["kind"], &target["emulated"]), (&"targetinfo".into(), &true.into()));
    let report = service.json(&["inspect", "report.bin"]);
    assert_eq!(report["kind"], "report");
    assert_eq!(report["enclave"]["mrenclave"], hex(&toy::mrenclave(1)));
    let quote = service.json(&["inspect", "quote.bin"]);
    assert_eq!((&quote["kind"], &quote["version"]), (&"quote".into(), &3.into()));
    assert_eq!((&quote["emulated"], &quote["verified"]), (&true.into(), &false.into()));
    assert_eq!(quote["enclave"]["report_data"], "5a".repeat(64));
    let certificates = quote["certificates"].as_array().expect("a chain");
    assert_eq!(certificates.len(), 3);
    assert_eq!(certificates[0]["fmspc"], "454d554c4154");
    assert_eq!(certificates[0]["ppid"], service.ready["ppid"]);
    assert!(service.good(&["inspect", "quote.bin"]).contains("EMULATED SGX Root CA"));

    let mode =
        fs::metadata(service.directory.path().join("quote.bin")).expect("there").permissions();
    assert_eq!(mode.mode() & 0o444, 0o444, "a quote is for everybody");
    service.write("garbage", [7; 1000]);
    let (code, text) = service.bad(&["inspect", "garbage"]);
    assert_eq!(code, 1);
    assert!(text.contains("garbage: expected a quote, a REPORT (432 bytes), "), "{text}");
    assert!(text.contains("got another file of 1000 bytes; as a quote: tee_type"), "{text}");
    assert_eq!(service.bad(&["inspect", "nothing"]).0, 2);
}

#[test]
fn stored_reports_of_the_attestation_service_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    // 432 zero bytes.
    let body = "A".repeat(576);
    let report = format!(
        r#"{{"id":"1","timestamp":"2020-03-20T10:07:26.711023","version":4,"isvEnclaveQuoteStatus":"OK","isvEnclaveQuoteBody":"{body}"}}"#
    );
    fs::write(directory.path().join("report.json"), report).expect("written");
    let read = |words: &[&str]| {
        let output =
            run(directory.path(), &[&["--json", "get-ias-report", "report.json"], words].concat());
        (output.status.code(), [output.stdout, output.stderr].concat())
    };
    let (code, text) = read(&["--quote-type", "epidLinkable"]);
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!((&shown["status"], &shown["verified"]), (&"OK".into(), &false.into()));
    assert_eq!(read(&["--quote-type", "ecdsa"]).0, Some(1));
}

#[test]
fn a_stored_report_is_verified_where_its_headers_were_stored_too() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ias");
    let headers = ["--signature", "signature", "--certificates", "certificates"];
    let with = |words: &[&str]| {
        run(&stored, &[&["--json", "get-ias-report", "report.json"], &headers[..], words].concat())
    };
    let output = with(&["--root", "root.pem"]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&shown["verified"], &shown["status"]), (&true.into(), &"GROUP_OUT_OF_DATE".into()));
    assert_eq!(shown["enclave"]["mrenclave"], "aa".repeat(32));
    // Without a CA nothing can be checked, and nothing is shown as if it had been.
    let output = with(&[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let directory = tempfile::tempdir().expect("a directory");
    let report = fs::read_to_string(stored.join("report.json")).expect("there");
    let forged = report.replace("GROUP_OUT_OF_DATE", "OK");
    let file = directory.path().join("report.json");
    fs::write(&file, forged).expect("written");
    let file = file.to_str().expect("text");
    let words = [&["get-ias-report", file, "--root", "root.pem"], &headers[..]].concat();
    let output = run(&stored, &words);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}
