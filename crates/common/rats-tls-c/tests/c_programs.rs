//! C programs, compiled with the installed headers and libraries, with each other and with the Rust library.
//! Evidence is genuine quotes of emulated platforms.

#[path = "../../rats-tls/tests/common/lab.rs"]
mod lab;
#[path = "common/machine.rs"]
mod machine;

use lab::{Enclave, appraiser, policy};
use machine::Machine;
use rats_tls::{Party, Stream};
use rats_tls_c::{Claim, EnclaveConf, Evidence, HashedData, RatsConf, SgxEvidence, TdxEvidence};
use rustls::pki_types::ServerName;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::mem::{offset_of, size_of};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// A prefix that the library was installed below, with the programs of `tests/c` in `bin`.
struct Prefix(tempfile::TempDir);

impl Prefix {
    fn get() -> &'static Self {
        static PREFIX: OnceLock<Prefix> = OnceLock::new();
        PREFIX.get_or_init(|| {
            let prefix = Self(tempfile::tempdir().unwrap());
            let run = |command: &mut Command| {
                let output = command.output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                output
            };
            let install = format!("{MANIFEST}/install.sh");
            run(Command::new(install).arg(build()).arg(prefix.path("")));
            std::fs::create_dir(prefix.path("bin")).unwrap();
            for (source, package, is_static) in [
                ("peer", "rats-tls", false),
                ("peer", "rats-tls", true),
                ("misuse", "enclave-tls", false),
                ("layout", "enclave-tls", false),
            ] {
                let flags = prefix.flags(package, is_static);
                let name = if is_static { format!("{source}-static") } else { source.to_owned() };
                let shared = prefix.path("lib/librats_tls.a").display().to_string();
                // Of the two libraries a linker prefers the shared one.
                let flags = flags.split_whitespace().map(|flag| match flag {
                    "-lrats_tls" if is_static => shared.as_str(),
                    flag => flag,
                });
                let mut cc = Command::new("cc");
                cc.args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
                cc.arg("-o").arg(prefix.path("bin").join(name));
                run(cc.arg(format!("{MANIFEST}/tests/c/{source}.c")).args(flags));
            }
            prefix
        })
    }

    /// What pkg-config says a program needs; where it is not installed, what the file says that it reads.
    fn flags(&self, package: &str, is_static: bool) -> String {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", self.path("lib/pkgconfig"));
        command.args(["--cflags", "--libs"]).args(is_static.then_some("--static")).arg(package);
        match command.output() {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap()
            }
            Err(error) => {
                eprintln!("skipped: what pkg-config makes of {package}.pc: {error}");
                let file = self.path(&format!("lib/pkgconfig/{package}.pc"));
                let mut text = std::fs::read_to_string(file).unwrap();
                for (name, folder) in [("libdir", "lib"), ("includedir", "include")] {
                    let folder = self.path(folder).display().to_string();
                    text = text.replace(&format!("${{{name}}}"), &folder);
                }
                let fields = ["Cflags: ", "Libs: "].into_iter();
                let fields = fields.chain(is_static.then_some("Libs.private: "));
                let value = |field| text.lines().find_map(|line| line.strip_prefix(field));
                fields.flat_map(value).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("bin").join(name));
        command.env_clear().env("LD_LIBRARY_PATH", self.path("lib"));
        command
    }
}

/// Where cargo has put the library that this test was built with, under its plain names.
fn build() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let plain = tempfile::tempdir().unwrap().keep();
    for extension in ["so", "a"] {
        let named = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("librats_tls_c") && name.ends_with(&format!(".{extension}"))
        };
        let found = std::fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path());
        let newest = found
            .filter(|path| named(path))
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
        let newest = newest.unwrap_or_else(|| panic!("no .{extension} in {}", deps.display()));
        std::os::unix::fs::symlink(newest, plain.join(format!("librats_tls_c.{extension}")))
            .unwrap();
    }
    plain
}

/// What each end said, the client's first.
fn run(client: &[&str], server: &[&str], more: [Vec<String>; 2]) -> [String; 2] {
    run_as("peer", client, server, more)
}

fn run_as(program: &str, client: &[&str], server: &[&str], more: [Vec<String>; 2]) -> [String; 2] {
    let (near, far) = UnixStream::pair().unwrap();
    let [for_client, for_server] = more;
    let server = spawn(program, server, &for_server, far);
    let client = spawn(program, client, &for_client, near);
    [client, server].map(|end| said(&end.wait_with_output().unwrap()))
}

fn spawn(
    program: &str,
    words: &[&str],
    options: &[String],
    socket: UnixStream,
) -> std::process::Child {
    let mut command = Prefix::get().program(program);
    command.args(words).args(options).stdin(OwnedFd::from(socket));
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.code().is_some(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

const ACCEPTED: &str = "verdict {\"verdict\":\"accepted\"";

#[test]
fn sessions_of_every_kind_and_name() {
    let (one, two) = (Machine::new(1), Machine::new(2));
    for (client, server) in [("rats", "rats"), ("enclave", "enclave"), ("rats", "enclave")] {
        // Enclave-TLS has no flag to send collateral: the verifier has its own.
        let own = one.option("collateral", "collateral.json");
        let verifies = |machine: &Machine, policy| [machine.verifies(policy), vec![own.clone()]];
        let more = [verifies(&two, "policy-1").concat(), one.attests()];
        let [client_said, server_said] = run(&[client, "reattest"], &[server, "server"], more);
        let service = if server == "rats" { "billing" } else { "none" };
        let expected =
            format!("peer: runtime emulated-device, service {service}, looked 0, {ACCEPTED}");
        assert_eq!((client_said.as_str(), server_said.as_str()), (&*expected, "served"));

        let more = [
            [verifies(&two, "policy-1").concat(), two.attests()].concat(),
            [verifies(&one, "policy-2").concat(), one.attests()].concat(),
        ];
        let [client_said, server_said] =
            run(&[client, "mutual"], &[server, "server", "mutual"], more);
        assert_eq!((client_said.as_str(), server_said.as_str()), (&*expected, "served"));
    }
}

#[test]
fn the_static_library_does_the_same() {
    let machine = Machine::new(1);
    let more = [machine.verifies("policy-1"), machine.attests()];
    let [client, server] = run_as("peer-static", &["rats"], &["rats", "server"], more);
    assert!(client.ends_with(ACCEPTED), "{client}");
    assert_eq!(server, "served");
}

/// Only the server verifies: what Enclave-TLS and RATS-TLS had no name for.
#[test]
fn a_client_alone_may_prove_itself() {
    let machine = Machine::new(1);
    let more = [machine.attests(), machine.verifies("policy-1")];
    let client = ["rats", "mutual", "verifier=nullverifier"];
    let server = ["rats", "server", "mutual", "attester=nullattester"];
    let [client, server] = run(&client, &server, more);
    assert_eq!(client, "peer: expected an end that verifies, got one that does not");
    assert_eq!(server, "served");
}

#[test]
fn the_verification_callback_sees_the_evidence_and_can_refuse() {
    let machine = Machine::new(1);
    let more = || [machine.verifies("policy-1"), machine.attests()];
    let [client, _] = run(&["rats", "accept", "reattest"], &["rats", "server"], more());
    assert!(client.contains("looked 2"), "{client}");
    let [client, server] = run(&["rats", "refuse"], &["rats", "server"], more());
    assert_eq!(
        client,
        "negotiate: 0x30000003: evidence refused: verification callback: expected a value other than 0, got 0"
    );
    let told = "negotiate: 0x10000003: the peer refused our evidence (verdict 1): \"verification callback\"";
    assert_eq!(server, told);
}

#[test]
fn each_refusal_has_its_own_message() {
    let machine = Machine::new(1);
    let refused = |client: &[&str], server: &[&str], more| {
        let [client, server] = run(client, server, more);
        assert_ne!(server, "served");
        client
    };
    let (client, server) = (&["rats"][..], &["rats", "server"][..]);
    let verifies = |policy| [machine.verifies(policy), machine.attests()];
    let starts = |said: String, expected: &str| assert!(said.starts_with(expected), "{said}");
    let evidence = "negotiate: 0x30000003: evidence refused: ";
    let said = refused(client, server, verifies("policy-2"));
    starts(said, &format!("{evidence}policy.measurement: failed"));
    let said = refused(client, server, verifies("hardware-1"));
    starts(said, &format!("{evidence}policy.tee: failed"));
    let said = refused(&["rats", "instance=9"], server, verifies("policy-1"));
    starts(said, &format!("{evidence}instance-id: expected 0909"));
    // The peer sends no collateral and the verifier has none.
    let silent = vec![machine.attests()[0].clone()];
    let said = refused(client, server, [machine.verifies("policy-1"), silent]);
    starts(said, &format!("{evidence}collateral: expected the peer's, got none"));
    // No policy, no root, a policy for another level: nothing is sent at all.
    let root = vec![machine.option("root", "root.der")];
    let said = refused(client, server, [root, machine.attests()]);
    starts(said, "negotiate: 0xa: policy: expected one, got none");
    let policy = vec![machine.option("policy", "policy-1.toml")];
    let said = refused(client, server, [policy, machine.attests()]);
    starts(said, "negotiate: 0xa: root: expected one, got none");
    let said = refused(client, server, verifies("compat-1"));
    assert!(said.ends_with("compat-1.toml: level: expected bound, got compat"), "{said}");
    let said = refused(&["rats", "attester=epid"], server, verifies("policy-1"));
    starts(said, "init: 0xc: attester: expected none, sgx_ecdsa or nullattester, got \"epid\"");
    // A verifier of TDX alone is not content with SGX.
    let [said, told] = run(&["rats", "verifier=tdx_ecdsa"], server, verifies("policy-1"));
    starts(said, "negotiate: 0x10000009: the peer closed the session");
    starts(told, "negotiate: 0x20000003: evidence format: expected a peer that accepts Sgx");
    // A server that wants evidence of a client that gives none.
    let more =
        [machine.verifies("policy-1"), [machine.verifies("policy-1"), machine.attests()].concat()];
    let [_, server] = run(&["rats"], &["rats", "server", "mutual"], more);
    starts(server, "negotiate: 0x10000009: tls: ");
}

/// A server whose device serves another enclave's quotes for the same record, and one that serves stale quotes.
#[test]
fn a_device_that_answers_for_another_session_is_refused() {
    let machine = Machine::new(1);
    let stale = tempfile::tempdir().unwrap();
    std::fs::copy(machine.path().join("claims"), stale.path().join("claims")).unwrap();
    let listener = UnixListener::bind(stale.path().join("bound")).unwrap();
    let quote = Enclave::new(1, 1).quote(&[0x5a; 64]);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            connection.read_to_end(&mut Vec::new()).unwrap();
            connection.write_all(&quote).unwrap();
        }
    });
    let mut attests = machine.attests();
    attests[0] = format!("device={}", stale.path().display());
    let more = [machine.verifies("policy-1"), attests];
    let [client, server] = run(&["rats"], &["rats", "server"], more);
    assert!(client.starts_with("negotiate: 0x30000003: evidence refused: "), "{client}");
    assert!(client.contains("5a5a5a5a"), "{client}");
    assert!(server.starts_with("negotiate: 0x10000003: the peer refused our evidence"), "{server}");
}

#[test]
fn a_silent_peer_costs_bounded_time() {
    let machine = Machine::new(1);
    let (near, far) = UnixStream::pair().unwrap();
    let options = [machine.attests(), vec!["patience=50".into()]].concat();
    let server = spawn("peer", &["rats", "server"], &options, far);
    let said = said(&server.wait_with_output().unwrap());
    assert_eq!(said, "negotiate: 0x10000009: the peer took longer than it may");
    drop(near);
}

#[test]
fn c_and_rust_speak_one_protocol() {
    let machine = Machine::new(1);
    let (near, far) = UnixStream::pair().unwrap();
    let server = spawn("peer", &["rats", "server"], &machine.attests(), far);
    let client = Party::verifier(Arc::new(appraiser(policy(1, ""))));
    let name = ServerName::try_from("container").unwrap();
    let mut client = Stream::connect(near, name, &Arc::new(client)).unwrap();
    assert_eq!(client.peer().unwrap().claims.custom["service"], b"billing");
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    client.close().unwrap();
    assert_eq!(said(&server.wait_with_output().unwrap()), "served");
}

/// The program in the documentation, as it stands there.
#[test]
fn the_documented_client_works() {
    let page = Path::new(MANIFEST).join("../../../docs/attestation/sessions.md");
    let page = std::fs::read_to_string(page).unwrap();
    let source = page.split("```c\n").nth(1).unwrap().split("```").next().unwrap();
    let prefix = Prefix::get();
    std::fs::write(prefix.path("client.c"), source).unwrap();
    let cc = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([prefix.path("bin/client"), prefix.path("client.c")])
        .arg(format!("-I{}", prefix.path("include").display()))
        .arg(format!("-L{}", prefix.path("lib").display()))
        .arg("-lrats_tls")
        .output()
        .unwrap();
    assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));

    let machine = Machine::new(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let talk = |policy: &str| {
        let file = |name: &str| machine.path().join(name);
        let client = prefix
            .program("client")
            .args(["127.0.0.1", &port])
            .args([file(policy), file("root.der")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (socket, _) = listener.accept().unwrap();
        let mut server = prefix.program("peer");
        server.args(["rats", "server"]).args(machine.attests()).stdin(OwnedFd::from(socket));
        let server = server.output().unwrap();
        (client.wait_with_output().unwrap(), said(&server))
    };
    let (client, server) = talk("policy-1.toml");
    assert_eq!((said(&client).as_str(), server.as_str()), ("hello", "served"));
    let (client, _) = talk("policy-2.toml");
    assert_eq!(client.status.code(), Some(1));
    let text = String::from_utf8_lossy(&client.stderr).into_owned();
    assert!(text.starts_with("evidence refused: policy.measurement: failed"), "{text}");
}

#[test]
fn misuse_is_an_error_and_nothing_worse() {
    let mut misuse = Prefix::get().program("misuse");
    let output = misuse.env("ENCLAVE_TLS_GLOBAL_LOG_LEVEL", "off").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(output.stderr.is_empty(), "log level off says nothing");
}

#[test]
fn headers_and_library_have_one_layout() {
    let output = Prefix::get().program("layout").output().unwrap();
    let printed: BTreeSet<_> = said(&output).lines().map(str::to_owned).collect();
    macro_rules! rust {
        ($($c:literal = $type:ty { $($member:tt as $name:literal),* };)*) => {{
            let mut lines = BTreeSet::new();
            $(
                lines.insert(format!("{} {}", $c, size_of::<$type>()));
                $(lines.insert(format!("{}.{} {}", $c, $name, offset_of!($type, $member)));)*
            )*
            lines
        }};
    }
    let expected = rust! {
        "claim_t" = Claim { value as "value", value_size as "value_size" };
        "rats_tls_conf_t" = RatsConf {
            flags as "flags", log_level as "log_level", tls_type as "tls_type",
            attester_type as "attester_type", verifier_type as "verifier_type",
            crypto_type as "crypto_type", cert_algo as "cert_algo",
            custom_claims as "custom_claims", custom_claims_length as "custom_claims_length",
            quote_sgx_epid as "quote_sgx_epid", quote_sgx_ecdsa as "quote_sgx_ecdsa"
        };
        "enclave_tls_conf_t" = EnclaveConf {
            flags as "flags", log_level as "log_level", tls_type as "tls_type",
            attester_type as "attester_type", verifier_type as "verifier_type",
            crypto_type as "crypto_type", cert_algo as "cert_algo", enclave_id as "enclave_id",
            quote_sgx_epid as "quote_sgx_epid", quote_sgx_ecdsa as "quote_sgx_ecdsa"
        };
        "rtls_evidence_t" = Evidence {
            custom_claims as "custom_claims", custom_claims_length as "custom_claims_length",
            ehd as "ehd", quote_size as "quote_size", quote as "quote", body as "sgx"
        };
        "ehd_t" = HashedData {};
        "rtls_sgx_evidence_t" = SgxEvidence {
            product_id as "product_id", attributes as "attributes", collateral as "collateral"
        };
        "rtls_tdx_evidence_t" = TdxEvidence {
            mrtd as "mrtd", rtmr as "rtmr", tdel_data_sz as "tdel_data_sz"
        };
        "rtls_csv_evidence_t" = rats_tls_c::CsvEvidence {};
    };
    assert_eq!(printed, expected);
}

/// Every exported function is declared, and the reverse.
#[test]
fn headers_declare_what_the_library_exports() {
    let nm = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=just-symbols"])
        .arg(Prefix::get().path("lib/librats_tls.so"))
        .output()
        .unwrap();
    let exported: BTreeSet<_> = said(&nm).lines().map(str::to_owned).collect();
    let mut declared = BTreeSet::new();
    for header in ["rats-tls", "enclave-tls"] {
        let text = std::fs::read_to_string(format!("{MANIFEST}/include/{header}/api.h")).unwrap();
        let prefix = header.replace('-', "_");
        for line in text.lines().filter(|line| !line.starts_with([' ', '/', '\t', '#'])) {
            let name = line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap();
            if line.contains('(') && name.starts_with(&prefix) {
                declared.insert(name.to_owned());
            }
        }
    }
    assert!(declared.len() > 20, "{declared:?}");
    assert_eq!(exported, declared);
}
