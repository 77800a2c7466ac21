//! Sessions through the program: what passes, and what never does.

mod common;

use common::{Device, MRENCLAVE, Running, echo, usual};
use emulated_device::Enclave;
use rats_tls::{CloseReason, SessionError, tls};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

#[test]
fn a_client_that_finishes_still_gets_its_answer() {
    let (device, mut attester) = usual(&["--claim", "service=billing"]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let peer = client.peer().unwrap();
    assert!(peer.verdict.is_accepted() && peer.verdict.emulated);
    assert_eq!(peer.claims.custom["service"], b"billing");
    // More than all buffers on the way hold; the program answers when it has all of it.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    client.write_all(&sent).unwrap();
    client.finish().unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == sent);
    assert!(attester.line().ends_with(": open: bound"));
    let done = attester.line();
    assert!(done.ends_with(": done: 3000000 bytes in, 3000000 out"), "{done}");
}

#[test]
fn a_program_that_finishes_first_leaves_the_other_way_open() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = listener.local_addr().unwrap().to_string();
    let attester = Running::start(&device, &["--forward", &program]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let (mut program, _) = listener.accept().unwrap();
    program.write_all(b"greeting").unwrap();
    program.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"greeting");
    client.write_all(b"late").unwrap();
    client.finish().unwrap();
    got.clear();
    program.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"late");
}

#[test]
fn evidence_is_asked_for_again_while_data_passes() {
    let (device, attester) = usual(&[]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    client.write_all(b"one ").unwrap();
    client.reattest().unwrap();
    client.write_all(b"two").unwrap();
    client.finish().unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"one two");
}

/// Two attesters, one of them as a client: programs at both ends that know nothing of attestation.
#[test]
fn enclaves_prove_themselves_to_each_other() {
    let near = Device::new(&Enclave::new(2, [0x22; 32]));
    let far = Device::new(&Enclave::new(1, MRENCLAVE));
    let (near_policy, far_policy) = (near.file("policy.toml"), far.file("policy.toml"));
    let root = near.file("root.der");
    let program = echo();
    let mut server = Running::start(
        &far,
        &["--forward", &program, "--verify", &near_policy, "--root", &root, "--verify-first"],
    );
    let socket = near.file("plain");
    let listen = format!("unix:{socket}");
    let address = server.address.clone();
    let connect = |policy: &str| {
        Running::start(
            &near,
            &[
                "--listen",
                &listen,
                "--connect",
                &address,
                "--attest",
                "--verify",
                policy,
                "--root",
                &root,
            ],
        )
    };
    let mut client = connect(&far_policy);
    let mut plain = UnixStream::connect(&socket).unwrap();
    plain.write_all(b"question").unwrap();
    plain.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    plain.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
    let with = |byte: &str| format!("open: bound, with EMULATED mrenclave {}", byte.repeat(32));
    assert!(client.line().ends_with(&with("11")));
    assert!(server.line().ends_with(&with("22")));
    drop(client);
    fs::remove_file(&socket).unwrap();

    // A client that wants another enclave there passes nothing on.
    let mut client = connect(&near_policy);
    let mut plain = UnixStream::connect(&socket).unwrap();
    plain.write_all(b"question").unwrap();
    got.clear();
    assert!(plain.read_to_end(&mut got).map_or(true, |count| count == 0));
    let line = client.line();
    assert!(line.contains("no session with 127.0.0.1:"), "{line}");
    assert!(line.contains("evidence refused: policy.measurement"), "{line}");
}

#[test]
fn a_peer_that_proves_nothing_is_refused() {
    let far = Device::new(&Enclave::new(1, MRENCLAVE));
    let (policy, root, program) = (far.file("policy.toml"), far.file("root.der"), echo());
    let attester =
        Running::start(&far, &["--forward", &program, "--verify", &policy, "--root", &root]);
    let told = attester.open(far.verifier(far.policy())).map(drop).unwrap_err();
    // A client without a certificate ends with TLS already.
    assert!(matches!(told, SessionError::Tls(_)), "{told}");
}

#[test]
fn other_enclaves_are_refused_by_the_client() {
    let device = Device::new(&Enclave::new(1, [0x12; 32]));
    let debug = Device::new(&Enclave::new(1, MRENCLAVE).debug());
    let named = Device::new(&Enclave::new(1, MRENCLAVE));
    let program = echo();
    for (device, check) in [(&device, "policy.measurement"), (&debug, "policy.debug")] {
        let mut attester = Running::start(device, &["--forward", &program]);
        let refused = attester.open(device.verifier(named.policy())).map(drop).unwrap_err();
        let line = refused.to_string();
        assert!(line.starts_with(&format!("evidence refused: {check}: failed: ")), "{line}");
        // The attester is told which check, and no more.
        let told = attester.line();
        let expected = format!("no session: the peer refused our evidence (verdict 1): {check:?}");
        assert!(told.ends_with(&expected), "{told}");
    }
}

/// A listener that nobody may have connected to.
fn untouched(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().unwrap_err().kind() == ErrorKind::WouldBlock
}

#[test]
fn nothing_reaches_the_program_before_the_session_is_open() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = listener.local_addr().unwrap().to_string();
    let mut attester = Running::start(&device, &["--forward", &program]);

    // Data straight after the client's hello.
    let config = Arc::new(tls::client(None).unwrap());
    let name = ServerName::try_from("container").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let mut client = StreamOwned::new(connection, attester.connect());
    let hello = [&b"\x01\0\0\0\x26\0\x01\x02\x01\0\x01"[..], &[7; 32]].concat();
    client.write_all(&[&hello[..], b"\x05\0\0\0\x04data"].concat()).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(b"\x07\0\0\0\x01\x04"), "{got:?}");
    let line = attester.line();
    assert!(line.ends_with("got data before both ends accepted"), "{line}");

    // Plaintext.
    let mut client = attester.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let _ = client.read_to_end(&mut got);
    assert!(!got.starts_with(b"HTTP"));
    assert!(attester.line().contains("no session: tls: "));
    assert!(untouched(&listener));
}

#[test]
fn a_program_that_does_not_listen_is_said_so() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let program = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut attester = Running::start(&device, &["--forward", &program]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let error = client.read(&mut [0]).unwrap_err().to_string();
    assert_eq!(error, "the peer closed the session: what it needs for the session does not answer");
    attester.line();
    let line = attester.line();
    assert!(line.contains(&format!(": closed: connect to {program}: ")), "{line}");
}

#[test]
fn what_was_cut_off_does_not_look_complete() {
    let device = Device::new(&Enclave::new(1, MRENCLAVE));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = listener.local_addr().unwrap().to_string();
    let mut attester = Running::start(&device, &["--forward", &program]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let (mut program, _) = listener.accept().unwrap();
    client.write_all(b"half").unwrap();
    let mut half = [0; 4];
    program.read_exact(&mut half).unwrap();
    // The transport goes away without a word.
    drop(client);
    assert_eq!(program.read(&mut half).unwrap_err().kind(), ErrorKind::ConnectionReset);
    attester.line();
    let line = attester.line();
    assert!(line.contains("cut off: the peer ended without a close: 4 bytes in"), "{line}");

    // The other way: the program dies.
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let (program, _) = listener.accept().unwrap();
    client.write_all(b"unread").unwrap();
    // What is unread turns its close into a reset.
    while program.peek(&mut half).unwrap() == 0 {}
    drop(program);
    let error = client.read(&mut half).unwrap_err().to_string();
    assert!(error.contains("what it needs for the session does not answer"), "{error}");
}

#[test]
fn a_stop_ends_sessions_after_their_grace() {
    let (device, mut attester) = usual(&["--grace", "1"]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    assert!(attester.line().ends_with("open: bound"));
    attester.signal(Signal::TERM);
    let line = attester.line();
    assert_eq!(line, "attester: stopping: 1 sessions have 1s");
    assert!(TcpStream::connect(&attester.address).is_err(), "it takes no more");
    let error = client.read(&mut [0]).unwrap_err().to_string();
    assert_eq!(error, "the peer closed the session: time is up");
    assert_eq!(attester.wait(), Some(0));

    // One without sessions ends at once.
    let (_device, mut attester) = usual(&[]);
    attester.signal(Signal::INT);
    assert_eq!(attester.wait(), Some(0));
}

#[test]
fn strangers_are_bounded() {
    let (device, mut attester) = usual(&["--opening", "1", "--sessions", "2", "--patience", "1"]);
    let open = |attester: &Running| attester.open(device.verifier(device.policy()));
    // One that says nothing is opening for as long as it may.
    let silent = attester.connect();
    // Its place is taken when the next is told so.
    let busy = loop {
        match open(&attester) {
            Ok(session) => drop(session),
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, SessionError::Closed(CloseReason::Busy)), "{busy}");
    while !attester.line().ends_with("no session: the peer took longer than it may") {}
    drop(silent);

    // A place is free again once the attester has seen the end, or the opening, of what had it.
    let open_when_free = || {
        loop {
            match open(&attester) {
                Err(SessionError::Closed(CloseReason::Busy)) => thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    };
    let first = open_when_free();
    let second = open_when_free();
    let busy = open(&attester).map(drop).unwrap_err();
    assert!(matches!(busy, SessionError::Closed(CloseReason::Busy)), "{busy}");
    first.close().unwrap();
    drop(second);
    open_when_free();
}

#[test]
fn a_session_in_which_nothing_passes_ends() {
    let (device, attester) = usual(&["--idle", "1"]);
    let mut client = attester.open(device.verifier(device.policy())).unwrap();
    let error = client.read(&mut [0]).unwrap_err().to_string();
    assert_eq!(error, "the peer closed the session: time is up");
}
