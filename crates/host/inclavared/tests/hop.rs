//! Hop by hop: the program between verifiers and a container whose certificate is its evidence, genuine quotes of an
//! emulated platform.

mod common;
#[path = "../../../common/rats-tls/tests/common/lab.rs"]
mod lab;

use attestation::TcbStatus;
use attestation::hex::Hex;
use common::{PATIENCE, connect, container, program};
use lab::Enclave;
use rats_tls::compat;
use rats_tls::hop::{self, Answer, GREETING, Reply};
use rats_tls::tls::IdentityError;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

/// What the container's program answers to the greeting; `None`: it says nothing and stays.
type Program = fn() -> Option<Vec<u8>>;

fn honest() -> Option<Vec<u8>> {
    let text = "Hello and welcome\n".into();
    Some(Reply { mrenclave: [0x11; 32], mrsigner: [0x22; 32], text }.encode())
}

/// A container of level `compat`; gives its address.
fn compat_container(enclave: Enclave, program: Program) -> String {
    let (listener, address) = container();
    let made = compat::self_signed::<IdentityError>(Default::default(), lab::now(), |data| {
        Ok(enclave.quote(data))
    });
    let (key, certificate) = made.unwrap();
    let config = Arc::new(compat::server(&key, &certificate).unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, connection.unwrap());
            let mut greeting = [0; GREETING.len()];
            if stream.read_exact(&mut greeting).is_err() {
                continue;
            }
            assert_eq!(greeting, GREETING);
            let Some(answer) = program() else {
                thread::sleep(PATIENCE);
                continue;
            };
            stream.conn.writer().write_all(&answer).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

/// The files that inclavared judges by, for an enclave with MRENCLAVE 11….
fn files(place: &Path) -> [String; 4] {
    let root = Hex(lab::anchor().sha256()).to_string();
    let policy = |level: &str| {
        let own = "11".repeat(32);
        format!("level = '{level}'\nroots = ['{root}']\ntee = 'emulated'\nmrenclave = ['{own}']\n")
    };
    fs::write(place.join("root"), lab::anchor().der()).unwrap();
    fs::write(place.join("policy"), policy("compat")).unwrap();
    fs::write(place.join("bound"), policy("bound")).unwrap();
    fs::write(place.join("collateral"), Enclave::new(1, 0x11).collateral().to_json()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(place.join("key"), key).unwrap();
    fs::set_permissions(place.join("key"), PermissionsExt::from_mode(0o600)).unwrap();
    ["policy", "root", "collateral", "key"]
        .map(|name| format!("--{name}={}", place.join(name).display()))
}

/// The program before a container; killed when dropped.
struct Running {
    child: Child,
    address: SocketAddr,
    /// As its log shows it.
    pin: [u8; 32],
}

impl Running {
    fn start(place: &Path, container: &str) -> Self {
        let mut command = program();
        command.args(["--hop-by-hop", "-l", "127.0.0.1:0", "-x", container]).args(files(place));
        command.args(["--connect-timeout=2", "--hello-timeout=2"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        assert!(line.contains("hop-by-hop: inclavared is trusted"), "{line}");
        let part = |from: &str, to: char| {
            line.split_once(from).unwrap().1.split(to).next().unwrap().trim().to_owned()
        };
        let address = part("at=\"tcp:", '"').parse().unwrap();
        let pin = attestation::hex::array(&part("key=", ' ')).unwrap();
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address, pin }
    }

    /// What it answers to these bytes.
    fn asked(&self, question: &[u8]) -> std::io::Result<Vec<u8>> {
        let config = Arc::new(hop::client(vec![self.pin]).unwrap());
        let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let tls = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(tls, connect(self.address));
        stream.write_all(question)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Why it does not vouch for the container.
    fn refusal(&self, question: &[u8]) -> String {
        match Answer::read(&self.asked(question).unwrap()).unwrap() {
            Answer::Refused(why) => why,
            Answer::Info(info) => panic!("{info:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_told_is_what_the_evidence_says() {
    let place = tempfile::tempdir().unwrap();
    let relay = Running::start(place.path(), &compat_container(Enclave::new(1, 0x11), honest));
    let Answer::Info(info) = Answer::read(&relay.asked(hop::REQUEST).unwrap()).unwrap() else {
        panic!("expected what runs there")
    };
    let told = info.enclave;
    assert_eq!((told.mrenclave, told.mrsigner), ([0x11; 32], [0x22; 32]));
    assert_eq!((told.isvprodid, told.isvsvn, told.debug), (7, 8, false));
    assert_eq!((told.tcb_status, told.root), (TcbStatus::UpToDate, *lab::anchor().sha256()));
    assert_eq!(info.message, "EMULATED: Hello and welcome ");
    for (question, part) in [
        (&b"{\"type\":\"GETSECRET\"}"[..], "type: expected GETENCLAVEINFO"),
        (b"GET / HTTP/1.1\r\n\r\n", "message: expected value"),
        (&[b' '; 513], "message: expected at most 512 bytes"),
    ] {
        let why = relay.refusal(question);
        assert!(why.contains(part), "{part}: {why}");
    }
    // Another key than this one is none of its.
    let config = Arc::new(hop::client(vec![[0; 32]]).unwrap());
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let tls = ClientConnection::new(config, name).unwrap();
    let mut stream = StreamOwned::new(tls, connect(relay.address));
    let error = stream.write_all(hop::REQUEST).unwrap_err().to_string();
    assert!(error.contains("Stranger"), "{error}");
    // Nobody waits for a verifier that says nothing.
    assert!(relay.asked(b"").is_err());
}

#[test]
fn a_container_that_is_not_what_the_policy_says_is_not_told_of() {
    let place = tempfile::tempdir().unwrap();
    let genuine = || Enclave::new(1, 0x11);
    let cases: [(Enclave, Program, &str); 6] = [
        (Enclave::new(1, 0x12), honest, "policy.measurement"),
        (
            genuine(),
            || Some(Reply { mrenclave: [0x12; 32], ..Reply::read(&honest()?).ok()? }.encode()),
            "reply: mrenclave: expected 1111",
        ),
        (
            genuine(),
            || Some(Reply { mrsigner: [0x12; 32], ..Reply::read(&honest()?).ok()? }.encode()),
            "reply: mrsigner: expected 2222",
        ),
        (genuine(), || Some(b"HTTP/1.1 400 Bad Request".to_vec()), "in 64 bytes, got 24 bytes"),
        (genuine(), || Some([honest()?, vec![b'x'; 512]].concat()), "expected at most 512 bytes"),
        (genuine(), || None, "expected an answer in 2s, got none"),
    ];
    for (enclave, program, part) in cases {
        let relay = Running::start(place.path(), &compat_container(enclave, program));
        let why = relay.refusal(hop::REQUEST);
        assert!(why.contains(part), "{part}: {why}");
    }
    let (listener, address) = container();
    drop(listener);
    let why = Running::start(place.path(), &address).refusal(hop::REQUEST);
    assert!(why.contains("connect: Connection refused"), "{why}");
}

#[test]
fn one_look_is_printed() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let [policy, root, collateral, _] = files(place);
    let look = |address: &str| {
        let mut command = program();
        command.args(["--hop-by-hop", "-c", address, &policy, &root, &collateral]);
        command.output().unwrap()
    };
    let output = look(&compat_container(Enclave::new(1, 0x11), honest));
    assert!(output.status.success());
    assert!(matches!(Answer::read(output.stdout.trim_ascii_end()), Ok(Answer::Info(_))));
    let output = look(&compat_container(Enclave::new(1, 0x12), honest));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("policy.measurement"), "{said}");
}

/// What upstream's defaults let through is named, and nothing is listened at.
#[test]
fn what_would_let_anything_through_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let [policy, root, collateral, key] = files(place);
    let all = ["-l", "127.0.0.1:0", "-x", "127.0.0.1:1", &policy, &root, &collateral, &key];
    let said = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)));
        String::from_utf8(output.stderr).unwrap()
    };
    let with = |more: &[&str]| {
        let mut command = program();
        command.arg("--hop-by-hop").args(all).args(more);
        said(command)
    };
    for (flags, part) in [
        (&["--verifier", "nullverifier"][..], "--verifier: expected sgx_ecdsa or sgx_ecdsa_qve"),
        (&["--attester", "sgx_ecdsa"], "--attester: expected nullattester"),
        (&["--tls", "nulltls"], "--tls: expected rustls or openssl"),
        (&["--crypto", "nullcrypto"], "--crypto: expected ring or openssl"),
        (&["-m"], "--mutual: expected none"),
        (&["-e", "stub.so"], "--enclave: expected none"),
        (&["-c", "127.0.0.1:1"], "--hop-by-hop: expected --listen, --xfer and --key, or --connect"),
        (&["--container", "a=127.0.0.1:1"], "--container, --containers: expected none"),
        (&["--metrics", "127.0.0.1:0"], "--metrics: expected none"),
    ] {
        let said = with(flags);
        assert!(said.contains(part), "{flags:?}: {said}");
    }
    let without = |dropped: &str| {
        let mut command = program();
        command.arg("--hop-by-hop").args(all.iter().filter(|flag| **flag != dropped));
        said(command)
    };
    for (dropped, part) in [
        (&policy, "policy: expected one, got none"),
        (&root, "root: expected one, got none"),
        (&collateral, "collateral: expected one, got none"),
        (&key, "--key: expected the key that verifiers know inclavared by"),
    ] {
        let said = without(dropped);
        assert!(said.contains(part), "{dropped}: {said}");
    }
    fs::copy(place.join("bound"), place.join("policy")).unwrap();
    assert!(with(&[]).contains("level: expected compat, got bound"));
}
