//! The attester in converted images: an ordinary HTTP server in an enclave, which knows nothing of attestation, is
//! reached through attested sessions, from the same enclave, from outside, and from a second enclave. And programs that
//! hold such sessions themselves.

use attestation::crypto::Default as Crypto;
use attestation::{Now, Policy, TrustAnchor, VerifiedCollateral, Verifier};
use e2e::{MODES, PATIENCE, Running, Workbench};
use emulated_platform::{Collateral, CollateralSettings, DEFAULT_DIRECTORY, Issued, Platform};
use fixtures::{Bundle, Image, Tree, checked, free_port, own_address};
use rats_tls::compat::{self, CompatAppraiser};
use rats_tls::frame::CloseReason;
use rats_tls::{Fixed, Party, PolicyAppraiser, SessionError, Stream};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PAGE: &[u8] = b"<p>seen by nobody on the way</p>\n";

fn now() -> Now {
    Now::host(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// The emulated platform of this host, as a verifier sees it.
struct Lab {
    root: Vec<u8>,
    collateral: String,
}

impl Lab {
    fn new() -> Self {
        let platform = Platform::open(Path::new(DEFAULT_DIRECTORY)).unwrap();
        let issued = Issued::at(now().seconds.cast_signed());
        let (settings, ca) = (CollateralSettings::default(), platform.settings().ca);
        let collateral = Collateral::issue(platform.root(), ca, &settings, issued).unwrap();
        Self {
            root: platform.root().certificate().to_vec(),
            collateral: serde_json::to_string(&collateral).unwrap(),
        }
    }

    fn anchor(&self) -> TrustAnchor {
        TrustAnchor::from_der(&self.root, &Crypto::default()).unwrap()
    }

    /// A policy with these rules, for emulated enclaves under this root.
    fn policy(&self, rules: &str) -> String {
        let root = attestation::hex::Hex(self.anchor().sha256()).to_string();
        format!("roots = ['{root}']\ntee = 'emulated'\nconfig_digest = 'any'\n{rules}")
    }

    fn verified(&self) -> (Verifier<Crypto>, Arc<VerifiedCollateral>) {
        let verifier = Verifier::new(Crypto::default(), self.anchor());
        let collateral = attestation::Collateral::from_json(self.collateral.as_bytes()).unwrap();
        let verified = verifier.collateral(&collateral, now()).unwrap();
        (verifier, Arc::new(verified))
    }

    fn client(&self, rules: &str) -> Arc<Party> {
        let (verifier, collateral) = self.verified();
        let policy = Policy::from_toml(&self.policy(rules)).unwrap();
        let appraiser = PolicyAppraiser::new(verifier, policy, Fixed(collateral), Box::new(now));
        Arc::new(Party::verifier(Arc::new(appraiser)))
    }

    /// What an end needs that verifies its peer by these rules, as files of an image.
    fn add_to(&self, tree: &mut Tree, rules: &str) {
        tree.directory("peer", 0o755);
        tree.file("peer/policy.toml", 0o644, self.policy(rules).as_bytes());
        tree.file("peer/root.der", 0o644, &self.root);
        tree.file("peer/collateral.json", 0o644, self.collateral.as_bytes());
    }
}

/// What `inclavare inspect` says.
fn inspect(workbench: &Workbench, bundle: &Bundle) -> Value {
    let mut command = workbench.programs().inclavare();
    let text = checked(command.args(["inspect", "--json"]).arg(bundle.directory())).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn mrenclave(workbench: &Workbench, bundle: &Bundle) -> String {
    inspect(workbench, bundle)["mrenclave"].as_str().unwrap().into()
}

/// Rules that name the signer of all enclaves of these tests.
fn signer(workbench: &Workbench) -> String {
    let bundle = workbench.busybox("signer", "true", "");
    let value = inspect(workbench, &bundle);
    let mrsigner = value["sigstruct"]["mrsigner"].as_str().unwrap();
    format!("[[mrsigner]]\nmrsigner = '{mrsigner}'\nisvprodid = 0\nmin_isvsvn = 0\n")
}

fn tree() -> Tree {
    let mut tree = fixtures::busybox_tree().unwrap_or_else(|error| panic!("{error}"));
    tree.directory("www", 0o755);
    tree.file("www/index.html", 0o644, PAGE);
    tree
}

fn open(port: u16, client: &Arc<Party>) -> Result<Stream<TcpStream>, SessionError> {
    let transport = TcpStream::connect(("127.0.0.1", port)).unwrap();
    Stream::connect(transport, ServerName::try_from("container").unwrap(), client)
}

/// The page, by HTTP as old as it gets. The attester listens before the server that it is for.
fn page(port: u16, client: &Arc<Party>) -> Vec<u8> {
    let start = Instant::now();
    loop {
        let session = open(port, client).unwrap();
        match ask(session).map_err(SessionError::from) {
            Err(SessionError::Closed(CloseReason::Unavailable)) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            answer => return answer.unwrap(),
        }
    }
}

fn ask(mut session: Stream<TcpStream>) -> std::io::Result<Vec<u8>> {
    session.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    session.finish()?;
    let mut answer = Vec::new();
    session.read_to_end(&mut answer)?;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    Ok(answer)
}

/// The page, with evidence in the certificate.
fn ask_compat(lab: &Lab, port: u16, rules: &str) -> std::io::Result<Vec<u8>> {
    let (verifier, collateral) = lab.verified();
    let policy = Policy::from_toml(&lab.policy(&format!("level = 'compat'\n{rules}"))).unwrap();
    let appraiser = CompatAppraiser::new(verifier, policy, Fixed(collateral), Box::new(now));
    let config = Arc::new(compat::client(Arc::new(appraiser)).unwrap());
    let name = ServerName::try_from("container").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let transport = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut client = StreamOwned::new(connection, transport);
    client.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The container's own programs are the peers: a second attester, as their client's end. The policy names the
/// signer, for an image cannot hold its own measurement.
#[test]
fn a_session_within_one_enclave() {
    let Some(workbench) = Workbench::new() else { return };
    let (lab, rules) = (Lab::new(), signer(&workbench));
    let mut tree = tree();
    lab.add_to(&mut tree, &rules);
    let script = "httpd -p 127.0.0.1:8080 -h /www
        /.inclavare/attester --listen 127.0.0.1:9000 --connect 127.0.0.1:8443 --verify /peer/policy.toml \
            --root /peer/root.der --collateral /peer/collateral.json &
        for try in 1 2 3 4 5 6 7 8 9; do
            wget -q -O - http://127.0.0.1:9000/index.html && break
            usleep 200000
        done
        (exec 3<>/dev/attestation/bound) 2>/dev/null || echo bound is not for user $(id -u)
        for process in /proc/[0-9]*; do
            case $(tr '\\0' ' ' < $process/cmdline) in
                /.inclavare/attester*forward*) grep ^Uid $process/status;;
            esac
        done
        ls -l /.inclavare/attester";
    let attester = "[attester]\nlisten = 8443\nforward = \"127.0.0.1:8080\"\n";
    let image = Image::new("within:test", tree, &["sh", "-c", script]);
    let bundle = workbench.bundle("within", &image, attester);
    for mode in MODES {
        let mut command = bundle.run_command();
        let outcome = fixtures::outcome(command.env("RUNE_EMULATOR_MODE", mode), b"").unwrap();
        assert_eq!(outcome.code, 0, "{mode}: {outcome:?}");
        let (page, rest) = outcome.stdout.split_at(PAGE.len().min(outcome.stdout.len()));
        assert_eq!(page.as_bytes(), PAGE, "{mode}: {outcome:?}");
        assert!(rest.contains("bound is not for user 0\n"), "{mode}: {outcome:?}");
        assert!(rest.contains("Uid:\t65500\t65500\t65500\t65500\n"), "{mode}: {outcome:?}");
        assert!(rest.contains("-r-xr-xr-x"), "{mode}: {outcome:?}");
        let log = &outcome.stderr;
        assert!(
            log.contains("listening on 0.0.0.0:8443, level Bound, for 127.0.0.1:8080"),
            "{log}"
        );
        assert!(log.contains("open: bound, with EMULATED mrenclave "), "{mode}: {log}");
    }
}

/// Whatever ends it: here a root certificate that is none.
#[test]
fn the_end_of_the_attester_is_the_end_of_the_container() {
    let Some(workbench) = Workbench::new() else { return };
    let mut tree = tree();
    let policy = format!("roots = ['{}']\n", "ab".repeat(32));
    tree.file("policy.toml", 0o644, policy.as_bytes());
    tree.file("root.der", 0o644, b"no certificate");
    let policy = "[attester]\nlisten = 8443\nforward = \"127.0.0.1:8080\"\n\
                  [attester.verify]\npolicy = \"/policy.toml\"\nroot = \"/root.der\"\n";
    let image = Image::new("ends:test", tree, &["sleep", "1000"]);
    let outcome = workbench.bundle("ends", &image, policy).run(b"").unwrap();
    assert_ne!(outcome.code, 0, "{outcome:?}");
    let line = "attester: expected to run as long as the container, ended with exit code 1";
    assert!(outcome.stderr.contains(line), "{outcome:?}");
    assert!(outcome.stderr.contains("attester: /root.der: "), "the reason: {outcome:?}");
}

#[test]
fn an_unmodified_server_is_reached_from_outside() {
    let Some(workbench) = Workbench::new() else { return };
    let lab = Lab::new();
    let port = free_port().unwrap();
    let policy =
        |more: &str| format!("{more}[attester]\nlisten = {port}\nforward = \"127.0.0.1:8080\"\n");
    let serve = ["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"];
    let image = || Image::new("server:test", tree(), &serve);
    let served = |name: &str, policy: &str| {
        let bundle = workbench.bundle(name, &image(), policy);
        bundle.join_host_network().unwrap();
        bundle
    };
    let bundle = served("server", &policy(""));
    let named = format!("mrenclave = ['{}']\n", mrenclave(&workbench, &bundle));
    for mode in MODES {
        let mut container = Running::spawn_in(&bundle, mode);
        container.says("listening on");
        let session = open(port, &lab.client(&named)).unwrap();
        let peer = session.peer().unwrap();
        assert!(peer.verdict.is_accepted() && peer.verdict.emulated, "{mode}");
        drop(session);
        assert!(page(port, &lab.client(&named)).ends_with(PAGE), "{mode}");

        // The server itself is nowhere on the host.
        assert!(TcpStream::connect("127.0.0.1:8080").is_err(), "{mode}");
        // Another measurement.
        let other = format!("mrenclave = ['{}']\n", "ab".repeat(32));
        let refused = open(port, &lab.client(&other)).map(drop).unwrap_err().to_string();
        assert!(refused.starts_with("evidence refused: policy.measurement: "), "{mode}: {refused}");
        // Plaintext.
        let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
        plain.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{mode}");
        // A lower level than the attester's.
        assert!(ask_compat(&lab, port, &named).is_err(), "{mode}");
        // It serves on.
        assert!(page(port, &lab.client(&named)).ends_with(PAGE), "{mode}");
    }

    // Both levels: each verifier gets the one that its policy names.
    let both = served("both", &(policy("") + "level = \"both\"\n"));
    let named = format!("mrenclave = ['{}']\n", mrenclave(&workbench, &both));
    let mut container = Running::spawn(&both);
    container.says("listening on");
    assert!(page(port, &lab.client(&named)).ends_with(PAGE));
    let answer = ask_compat(&lab, port, &named).unwrap();
    assert!(answer.ends_with(PAGE), "{}", String::from_utf8_lossy(&answer));
    drop(container);

    // A debug enclave, whose memory the host reads.
    let bundle = served("debug", &policy("debug = true\n"));
    let named = format!("mrenclave = ['{}']\n", mrenclave(&workbench, &bundle));
    let mut container = Running::spawn(&bundle);
    container.says("listening on");
    let refused = open(port, &lab.client(&named)).map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("evidence refused: policy.debug: "), "{refused}");
}

#[test]
fn two_enclaves_prove_themselves_to_each_other() {
    let Some(workbench) = Workbench::new() else { return };
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let (lab, rules) = (Lab::new(), signer(&workbench));
    let serve = ["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"];
    for is_mutual in [false, true] {
        let port = free_port().unwrap();
        let mut server = tree();
        lab.add_to(&mut server, &rules);
        let mut policy = format!("[attester]\nlisten = {port}\nforward = \"127.0.0.1:8080\"\n");
        if is_mutual {
            policy += "[attester.verify]\npolicy = \"/peer/policy.toml\"\nroot = \"/peer/root.der\"\n\
                       collateral = \"/peer/collateral.json\"\nfirst = true\n";
        }
        let name = format!("server-{is_mutual}");
        let server = workbench.bundle(&name, &Image::new("server:test", server, &serve), &policy);
        let named = format!("mrenclave = ['{}']\n", mrenclave(&workbench, &server));

        // The client has the same program, as a file of its image.
        let mut client = fixtures::busybox_tree().unwrap();
        lab.add_to(&mut client, &named);
        let program = server.directory().join("rootfs/.inclavare/attester");
        client.file("bin/attester", 0o755, &std::fs::read(program).unwrap());
        let attest = if is_mutual { "--attest" } else { "" };
        let script = format!(
            "attester --listen 127.0.0.1:9000 --connect {address}:{port} {attest} --verify /peer/policy.toml \
                 --root /peer/root.der --collateral /peer/collateral.json &
             for try in 1 2 3 4 5 6 7 8 9; do
                 wget -q -O - http://127.0.0.1:9000/index.html && break
                 usleep 200000
             done"
        );
        let rules = format!(
            "[network]\nconnect = [\"{address}:{port}\"]\n\
             [attestation]\nuids = [0]\nfiles = [\"bound\", \"claims\"]\n"
        );
        let image = Image::new("client:test", client, &["sh", "-c", &script]);
        let client = workbench.bundle(&format!("client-{is_mutual}"), &image, &rules);
        server.join_host_network().unwrap();
        client.join_host_network().unwrap();

        let mut container = Running::spawn(&server);
        container.says("listening on");
        let outcome = client.run(b"").unwrap();
        assert_eq!(outcome.stdout.as_bytes(), PAGE, "{outcome:?}");
        let line = container.says("open: bound");
        let peer = format!("with EMULATED mrenclave {}", mrenclave(&workbench, &client));
        assert_eq!(line.contains(&peer), is_mutual, "{line}");

        if is_mutual {
            // Whoever proves nothing is let in nowhere.
            let error = open(port, &lab.client(&named)).map(drop).unwrap_err();
            assert!(matches!(error, SessionError::Tls(_)), "{error}");
        }
    }
}

/// Without an attester: programs in C, linked with the library, hold the session themselves.
#[test]
fn c_programs_prove_themselves_from_within() {
    let Some(workbench) = Workbench::new() else { return };
    let library = workbench.built("librats_tls_c.a");
    assert!(library.is_file(), "{}: cargo build -p rats-tls-c", library.display());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/common/rats-tls-c");
    let program = workbench.path().join("peer");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-D_GNU_SOURCE", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(sources.join("include"));
    checked(cc.arg(sources.join("tests/c/peer.c")).arg(library).args(["-lpthread", "-lm"]))
        .unwrap();

    let (lab, rules) = (Lab::new(), signer(&workbench));
    let mut tree = tree();
    lab.add_to(&mut tree, &rules);
    tree.file("bin/peer", 0o755, &std::fs::read(&program).unwrap());
    let proves = "device=/dev/attestation";
    let verifies = "policy=/peer/policy.toml root=/peer/root.der collateral=/peer/collateral.json";
    let serve = format!(
        "#!/bin/sh\nexec /bin/peer rats server $MUTUAL {proves} ${{MUTUAL:+{verifies}}} >/tmp/server\n"
    );
    let ask = format!(
        "#!/bin/sh\nexec /bin/peer rats $MUTUAL ${{MUTUAL:+{proves}}} {verifies} >/tmp/client\n"
    );
    tree.file("bin/serve", 0o755, serve.as_bytes());
    tree.file("bin/ask", 0o755, ask.as_bytes());
    let script = "for MUTUAL in '' mutual; do
            export MUTUAL
            nc -l -p 9000 -e /bin/serve &
            for try in 1 2 3 4 5 6 7 8 9; do
                nc 127.0.0.1 9000 -e /bin/ask && break
                usleep 200000
            done
            wait
            cat /tmp/client /tmp/server
        done";
    let image = Image::new("c:test", tree, &["sh", "-c", script]);
    let policy = "[attestation]\nuids = [0]\nfiles = [\"bound\", \"claims\"]\n";
    let bundle = workbench.bundle("c", &image, policy);
    for mode in MODES {
        let mut command = bundle.run_command();
        let outcome = fixtures::outcome(command.env("RUNE_EMULATOR_MODE", mode), b"").unwrap();
        let lines: Vec<_> = outcome.stdout.lines().collect();
        let [one_way, served, mutual, served_too] = lines[..] else {
            panic!("{mode}: {outcome:?}")
        };
        for client in [one_way, mutual] {
            assert!(client.starts_with("peer: runtime "), "{mode}: {outcome:?}");
            assert!(client.contains("service billing, looked 0"), "{mode}: {outcome:?}");
            assert!(client.ends_with("verdict {\"verdict\":\"accepted\""), "{mode}: {outcome:?}");
        }
        assert_eq!([served, served_too], ["served"; 2], "{mode}: {outcome:?}");
    }
}
