//! The four programs with each other, and with peers that want no good. Evidence is genuine quotes of emulated
//! platforms.

#[path = "../../../common/rats-tls-c/tests/common/machine.rs"]
mod machine;

use machine::Machine;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};

const RATS: [&str; 2] =
    [env!("CARGO_BIN_EXE_rats-tls-server"), env!("CARGO_BIN_EXE_rats-tls-client")];
const ENCLAVE: [&str; 2] =
    [env!("CARGO_BIN_EXE_enclave-tls-server"), env!("CARGO_BIN_EXE_enclave-tls-client")];

/// A server on a port of its own, ended with the test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(program: &str, options: &[String]) -> Self {
        let mut child = Command::new(program)
            .args(["--port", "0", "--log-level", "info"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::parse);
        let address = address.unwrap_or_else(|| panic!("{line:?}")).unwrap();
        Self { child, address }
    }

    /// The next line that it says of a session.
    fn says(&mut self) -> String {
        let mut line = Vec::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut byte = [0];
        while stderr.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `key=value` as the programs' flags want it.
fn options(words: Vec<String>) -> Vec<String> {
    let flag = |word: String| match word.as_str() {
        // The flag of one of them alone.
        "endorse" => "-e".to_owned(),
        _ => format!("--{word}"),
    };
    words.into_iter().map(flag).collect()
}

fn attests(machine: &Machine, program: &str) -> Vec<String> {
    let mut words = machine.attests();
    if program.contains("enclave-tls") {
        words.retain(|word| word != "endorse");
    }
    options(words)
}

fn verifies(machine: &Machine, policy: &str) -> Vec<String> {
    options(machine.verifies(policy))
}

fn client(program: &str, server: &Server, options: &[String]) -> Output {
    let port = server.address.port().to_string();
    Command::new(program).args(["-p", &port]).args(options).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

fn of_enclave(number: &str) -> String {
    format!("peer: sgx {} (emulated), runtime emulated-device", number.repeat(32))
}

#[test]
fn each_server_serves_each_client() {
    let (one, two) = (Machine::new(1), Machine::new(2));
    let mutual = || vec!["--mutual".to_owned()];
    for [server_program, _] in [RATS, ENCLAVE] {
        let mut server = Server::start(server_program, &attests(&one, server_program));
        let both = [attests(&one, server_program), verifies(&one, "policy-2"), mutual()].concat();
        let mut mutual_server = Server::start(server_program, &both);
        for [_, program] in [RATS, ENCLAVE] {
            let output = client(program, &server, &verifies(&two, "policy-1"));
            assert!(output.status.success(), "{}", stderr(&output));
            let expected = format!("{}\necho: 48 bytes\n", of_enclave("01"));
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
            assert_eq!(server.says(), "session: peer: not verified by this end");

            let both = [attests(&two, program), verifies(&two, "policy-1"), mutual()].concat();
            let output = client(program, &mutual_server, &both);
            assert!(output.status.success(), "{}", stderr(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
            assert_eq!(mutual_server.says(), format!("session: {}", of_enclave("02")));
        }
    }
}

#[test]
fn a_refusal_is_told_at_both_ends() {
    let machine = Machine::new(1);
    let mut server = Server::start(RATS[0], &attests(&machine, RATS[0]));
    for program in [RATS[1], ENCLAVE[1]] {
        let output = client(program, &server, &verifies(&machine, "policy-2"));
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.starts_with("error: evidence refused: policy.measurement: failed"), "{text}");
        assert!(output.stdout.is_empty());
        let told = "session: the peer refused our evidence (verdict 1): \"policy.measurement\"";
        assert_eq!(server.says(), told);
    }
    // A hardware policy, and a client that does not prove itself to a server that asks.
    let output = client(RATS[1], &server, &verifies(&machine, "hardware-1"));
    assert!(stderr(&output).contains("policy.tee: failed"), "{}", stderr(&output));
    server.says();
    let both = [attests(&machine, RATS[0]), verifies(&machine, "policy-1"), vec!["-m".into()]];
    let mut asking = Server::start(RATS[0], &both.concat());
    let output = client(RATS[1], &asking, &verifies(&machine, "policy-1"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(asking.says().starts_with("session: tls: "));
}

/// Peers that send anything, half of something, or nothing, and go. The server serves the next one.
#[test]
fn hostile_peers_do_not_end_a_server() {
    let machine = Machine::new(1);
    let mut server = Server::start(ENCLAVE[0], &attests(&machine, ENCLAVE[0]));
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let garbage: [&[u8]; 5] =
        [b"", b"GET / HTTP/1.1\r\n\r\n", hello, &[0; 4096], b"\x16\x03\x01\xff\xff"];
    for bytes in garbage {
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.write_all(bytes).unwrap();
        drop(peer);
        let said = server.says();
        assert!(said.starts_with("session: "), "{said}");
    }
    let output = client(ENCLAVE[1], &server, &verifies(&machine, "policy-1"));
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn flags_work_or_say_what_to_do_instead() {
    let machine = Machine::new(1);
    let refused = |program: &str, arguments: &[&str]| {
        let verifies = verifies(&machine, "policy-1");
        let output = Command::new(program).args(arguments).args(verifies).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        stderr(&output)
    };
    let lines = [
        (
            RATS[1],
            &["-D"][..],
            "error: --debug-enclave: this program makes no enclave; to accept a peer's, say allow_debug = true in the policy",
        ),
        (
            RATS[1],
            &["-E"],
            "error: --verdictd: there is no key broker to talk to yet; leave it out",
        ),
        (
            RATS[1],
            &["-t", "openssl"],
            "error: --tls: expected none or rustls, got \"openssl\": sessions speak TLS 1.3 with any peer of bound-v1; leave it out",
        ),
        (
            ENCLAVE[1],
            &["-v", "sgx_ecdsa_qve"],
            "error: --verifier: expected none, sgx_ecdsa, tdx_ecdsa or nullverifier, got \"sgx_ecdsa_qve\": quotes are verified in this process; use sgx_ecdsa",
        ),
        (
            ENCLAVE[1],
            &["-a", "sgx_la"],
            "error: --attester: expected none, sgx_ecdsa or nullattester, got \"sgx_la\": no session carries this evidence yet",
        ),
        (
            ENCLAVE[1],
            &["-c", "nullcrypto"],
            "error: --crypto: expected none or ring, got \"nullcrypto\": there is no session without TLS; leave it out",
        ),
        (
            RATS[1],
            &["-v", "nullverifier"],
            "error: attester, verifier: expected an end that attests or verifies, got one that does neither",
        ),
        (
            RATS[0],
            &[],
            "error: --device: expected one, got none: an end that attests makes evidence by it",
        ),
        (
            RATS[1],
            &["-m"],
            "error: --device: expected one, got none: an end that attests makes evidence by it",
        ),
    ];
    for (program, arguments, expected) in lines {
        assert_eq!(refused(program, arguments), expected);
    }
    let output = Command::new(RATS[1]).output().unwrap();
    let expected =
        "error: --policy: expected one, got none: an end that verifies accepts nothing without one";
    assert_eq!(stderr(&output), expected);
    // Product enclaves are all that is accepted anyway: the flag is taken, and the next thing fails.
    let output = Command::new(ENCLAVE[1]).arg("-P").output().unwrap();
    assert_eq!(stderr(&output), expected);
    // One name's flag is not the other's.
    assert!(refused(ENCLAVE[1], &["-e"]).contains("unexpected argument '-e'"));
}

#[test]
fn help_says_what_is_needed() {
    for program in [RATS, ENCLAVE].concat() {
        let output = Command::new(program).arg("--help").output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for words in ["--policy <FILE>", "--device <DIRECTORY>", "--mutual", "Exit codes:"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}
