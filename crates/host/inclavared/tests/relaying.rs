//! Bytes go through as they came, to the container that is named, and nobody else gets anything.

mod common;

use common::hello::{BOUND, bound_hello, hello};
use common::{Relay, connect, container, echo, program, read, rest};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

/// vsock's loopback (vsock(7)).
const VMADDR_CID_LOCAL: u32 = 1;

/// More than sockets and pipes hold together.
const MUCH: usize = 24 << 20;

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..MUCH).map(|_| next()).collect()
}

/// Sends one thing while it receives another, and gives the hash of what it received.
fn exchange<S: Read + Write + Send + 'static>(
    mut reader: S,
    mut writer: S,
    pieces: Vec<Vec<u8>>,
    end: impl FnOnce(&S) + Send + 'static,
) -> [u8; 32] {
    let sender = thread::spawn(move || {
        for piece in &pieces {
            writer.write_all(piece).unwrap();
        }
        end(&writer);
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    Sha256::digest(&received).into()
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

#[test]
fn the_container_gets_every_byte_as_it_came_and_so_does_the_verifier() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("attester.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let (tcp, address) = container();
    let relay = Relay::start(&[
        &format!("--container=tcp={address}"),
        &format!("--container=unix={}", path.display()),
    ]);
    for (name, size) in [("tcp", 1), ("tcp", 100), ("tcp", 1 << 20), ("unix", 100)] {
        let hello = bound_hello(name);
        let mut sent = pieces(&hello, size);
        sent.push(noise(1));
        let all = [&hello[..], &noise(1)].concat();
        let stream = connect(relay.address);
        let verifier = thread::spawn(move || {
            let reader = stream.try_clone().unwrap();
            exchange(reader, stream, sent, |it| it.shutdown(Shutdown::Write).unwrap())
        });
        let answer = pieces(&noise(2), 100_000);
        let received = if name == "tcp" {
            let stream = tcp.accept().unwrap().0;
            let reader = stream.try_clone().unwrap();
            exchange(reader, stream, answer, |it| it.shutdown(Shutdown::Write).unwrap())
        } else {
            let stream = unix.accept().unwrap().0;
            let reader = stream.try_clone().unwrap();
            exchange(reader, stream, answer, |it| it.shutdown(Shutdown::Write).unwrap())
        };
        assert_eq!(received, <[u8; 32]>::from(Sha256::digest(&all)), "to {name}, by {size}");
        assert_eq!(verifier.join().unwrap(), <[u8; 32]>::from(Sha256::digest(noise(2))));
    }
    assert_eq!(relay.metric("bytes_total{direction=\"out\"}"), 4 * MUCH as u64);
}

/// vsock has no loopback on most hosts: in a machine with Debian's kernel, with `--all`.
#[test]
fn vsock_leads_to_the_relay_and_on() {
    let name = "vsock_leads_to_the_relay_and_on";
    if machine::is_inside() {
        return relay_by_vsock();
    }
    match machine::obstacle() {
        Some(reason) => eprintln!("skipped: {name}: {reason}"),
        None => machine::repeat_test(machine::SecurityModule::AppArmor, name).unwrap(),
    }
}

fn relay_by_vsock() {
    let at = |port| SockAddr::vsock(VMADDR_CID_LOCAL, port);
    let socket = || Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&at(7001)).unwrap();
    listener.listen(8).unwrap();
    let relay = Relay::start(&["--listen=vsock:1:7000", "--container=web=vsock:1:7001"]);
    let hello = bound_hello("web");
    let (sent, all) = (vec![hello.clone(), noise(1)], [&hello[..], &noise(1)].concat());
    let stream = socket();
    stream.connect(&at(7000)).unwrap();
    let end = |it: &Socket| it.shutdown(Shutdown::Write).unwrap();
    let verifier = thread::spawn(move || exchange(stream.try_clone().unwrap(), stream, sent, end));
    let container = listener.accept().unwrap().0;
    let received =
        exchange(container.try_clone().unwrap(), container, pieces(&noise(2), 100_000), end);
    assert_eq!(received, <[u8; 32]>::from(Sha256::digest(&all)));
    assert_eq!(verifier.join().unwrap(), <[u8; 32]>::from(Sha256::digest(noise(2))));
    assert_eq!(relay.metric("relayed_total"), 1);
}

#[test]
fn sni_selects_the_container() {
    let (web, ledger) = (echo("web"), echo("led"));
    let relay = Relay::start(&[
        &format!("--container=web={web}"),
        &format!("--container=ledger.x={ledger}"),
    ]);
    for (name, answer) in [("web", "web"), ("ledger.x", "led"), ("WEB", "web"), ("ledger.x", "led")]
    {
        let mut stream = connect(relay.address);
        // The containers read a hello of one size.
        let mut hello = bound_hello(name);
        hello.resize(bound_hello(answer).len().max(hello.len()), 0);
        stream.write_all(&hello).unwrap();
        assert_eq!(read(&mut stream, 3), answer);
    }
    assert_eq!(relay.metric("relayed_total"), 4);
}

#[test]
fn verifiers_come_by_unix_sockets_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.sock");
    let web = echo("web");
    let listen = format!("--listen={}", path.display());
    let _relay = Relay::start(&[&listen, &format!("--container=web={web}")]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&bound_hello("web")).unwrap();
    stream.write_all(b"hi").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"webhi");
}

#[test]
fn each_refusal_is_named_and_the_container_hears_of_none() {
    let (listener, address) = container();
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let alert = |description| vec![21, 3, 3, 0, 2, 2, description];
    let mut long = bound_hello("web");
    long.splice(6..9, [0, 0x40, 0]);
    let mut twice = bound_hello("web");
    twice[5] = 2;
    let cases = [
        (hello("web", &[], &[&TLS13]), alert(120), r#"field="alpn" expected=eaa-bound/1 got=none"#),
        (
            hello("web", &[b"h2", b"http/1.1"], &[&TLS13]),
            alert(120),
            r#"field="alpn" expected=eaa-bound/1 got=h2, http/1.1"#,
        ),
        (
            hello("127.0.0.1", &[BOUND], &[&TLS13]),
            alert(112),
            r#"field="sni" expected=a container's name got=none"#,
        ),
        (bound_hello("other"), alert(112), r#"field="sni" expected=one of 1 containers got=other"#),
        (
            hello("web", &[BOUND], &[&TLS12]),
            alert(70),
            r#"field="supported_versions" expected=0304, TLS 1.3 got=0303"#,
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![],
            r#"field="record type" expected=22, a TLS handshake got=71"#,
        ),
        (long, alert(40), r#"field="client hello length" expected=at most 16384 got=16393"#),
        (twice, alert(50), r#"field="message type" expected=1, a ClientHello got=2"#),
        (
            bound_hello("web")[..100].to_vec(),
            vec![],
            r#"field="client hello" expected=a whole one got=100 bytes, then the end"#,
        ),
    ];
    for (bytes, answer, line) in cases {
        let mut stream = connect(relay.address);
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), answer, "{line}");
        let logged = relay.logged(line);
        assert!(logged.contains("WARN refused peer=127.0.0.1:"), "{logged}");
    }
    assert_eq!(relay.metric("refused_total{field=\"alpn\"}"), 2);
    assert_eq!(relay.metric("relayed_total"), 0);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a container was reached");
}

#[test]
fn a_container_that_is_not_there_is_named() {
    let (listener, address) = container();
    drop(listener);
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let mut stream = relay.connect("web");
    assert_eq!(rest(&mut stream), [21, 3, 3, 0, 2, 2, 80]);
    let line = relay.logged("field=\"container\"");
    let expected = format!("expected=web to answer at tcp:{address} got=Connection refused");
    assert!(line.contains(&expected), "{line}");
    let listener = std::net::TcpListener::bind(&address).unwrap();
    let _stream = relay.connect("web");
    listener.accept().unwrap();
}

/// Each flag of the former program is known, and refused by its name where nothing says that inclavared is trusted.
#[test]
fn former_flags_are_refused_by_name_unless_inclavared_is_trusted() {
    let cases: &[(&[&str], &str)] = &[
        (&["-x", "127.0.0.1:1"], "--xfer: "),
        (&["--connect", "127.0.0.1:1"], "--connect: "),
        (&["--tls", "openssl"], "--tls: "),
        (&["--crypto", "openssl"], "--crypto: "),
        (&["--attester", "sgx_ecdsa"], "--attester: "),
        (&["--verifier", "sgx_ecdsa_qve"], "--verifier: "),
        (&["-m"], "--mutual: "),
        (&["-e", "stub.so"], "--enclave: "),
    ];
    for (flags, beginning) in cases {
        let output = program().args(["-l", "127.0.0.1:0"]).args(*flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.starts_with(&format!("inclavared: {beginning}")), "{message}");
        assert!(message.contains("expected --hop-by-hop beside it"), "{message}");
    }
}

#[test]
fn wrong_use_is_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["--listen=127.0.0.1:0"], "containers: expected --container NAME=ADDR"),
        (&["--container=a=1.1.1.1:1"], "listen: expected --listen ADDR"),
        (&["--container=a"], "expected NAME=ADDR, got no ="),
        (&["--container=../a=1.1.1.1:1"], "container name: expected labels"),
        (&["--container=a=localhost:1"], "address: expected IP:PORT"),
        (&["--listen=127.0.0.1:0", "--containers=/nowhere"], "read /nowhere: No such file"),
        (
            &["--listen=127.0.0.1:0", "--container=a=1.1.1.1:1", "--max-connections=4000000000"],
            "--max-connections: expected at most",
        ),
    ];
    for (flags, part) in cases {
        let output = program().args(*flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(part), "{flags:?}: {message}");
    }
}
