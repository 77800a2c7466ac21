//! Sessions over socket pairs, and what peers do that do not keep to the protocol.

mod common;

use common::{Exact, Plain, attester, mutual, verifier};
use rats_tls::binding::Binding;
use rats_tls::{
    AttestError, Attester, CloseReason, Fault, Limited, Offered, Party, SessionError, Stream, tls,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

type Opened = Result<Stream<UnixStream>, SessionError>;

fn name() -> ServerName<'static> {
    ServerName::try_from("container").unwrap()
}

/// Both ends, each on its own thread.
fn open(client: Party, server: Party) -> (Opened, Opened) {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || Stream::accept(far, &Arc::new(server)));
    let client = Stream::connect(near, name(), &Arc::new(client));
    (client, server.join().unwrap())
}

fn opened(client: Party, server: Party) -> (Stream<UnixStream>, Stream<UnixStream>) {
    let (client, server) = open(client, server);
    (client.unwrap(), server.unwrap())
}

#[test]
fn data_arrives_whole_in_every_mode() {
    let verifying_server = Party::verifying_server(Arc::new(Exact::default())).unwrap();
    let modes = [
        (verifier(), attester()),
        (attester(), verifying_server),
        (mutual(), mutual()),
        (mutual().verify_first(), mutual()),
        (mutual(), mutual().verify_first()),
    ];
    for (client, server) in modes {
        let (mut client, mut server) = opened(client, server);
        let sent: Vec<u8> = (0..1_500_000u32).map(|index| (index % 251) as u8).collect();
        let expected = sent.clone();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            server.read_to_end(&mut got).unwrap();
            got
        });
        client.write_all(&sent).unwrap();
        client.close().unwrap();
        assert!(reader.join().unwrap() == expected);
    }
}

#[test]
fn who_verifies_knows_whom() {
    let (client, server) = opened(verifier(), attester());
    let peer = client.peer().unwrap();
    assert!(peer.verdict.is_accepted() && peer.verdict.emulated);
    assert_eq!(peer.claims, common::claims());
    assert!(server.peer().is_none());
}

#[test]
fn both_verifying_first_is_refused() {
    let (client, server) = open(mutual().verify_first(), mutual().verify_first());
    assert!(
        matches!(client, Err(SessionError::Protocol(Fault::VerifyFirst))),
        "{:?}",
        client.err()
    );
    assert!(server.is_err());
}

#[test]
fn no_evidence_means_no() {
    // A server that only verifies, before a client that wants evidence of it.
    let server = || Party::verifying_server(Arc::new(Exact::default())).unwrap();
    let (client, server) = (open(mutual(), server()), open(verifier(), server()));
    let (client, server) = (client.0, server.1);
    let client = client.err().unwrap();
    assert!(matches!(client, SessionError::Protocol(Fault::NoEvidence)), "{client}");
    // And before a client that has not even a certificate.
    assert!(matches!(server, Err(SessionError::Tls(_))), "{:?}", server.err());
}

#[test]
fn evidence_of_another_session_is_refused() {
    /// Evidence that was made elsewhere, for another binding.
    struct Stale;
    impl Attester for Stale {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            let other = Binding { binder: [7; 48], ..binding.clone() };
            Plain.attest(&other, formats)
        }
    }
    let server = Party::attester(Arc::new(Stale)).unwrap();
    let (client, server) = open(verifier(), server);
    let client = client.err().unwrap();
    assert!(client.to_string().starts_with("evidence refused: report data: expected"), "{client}");
    let server = server.err().unwrap();
    let told = "the peer refused our evidence (verdict 1): \"report data\"";
    assert_eq!(server.to_string(), told);
}

#[test]
fn reattestation_is_asked_for_and_by_itself() {
    let appraiser = Arc::new(Exact::default());
    let (mut client, mut server) = opened(Party::verifier(appraiser.clone()), attester());
    let echo = thread::spawn(move || {
        let mut byte = [0];
        while server.read(&mut byte).unwrap() == 1 {
            server.write_all(&byte).unwrap();
        }
    });
    let exchange = |client: &mut Stream<UnixStream>| {
        let mut byte = [0];
        client.write_all(b"x").unwrap();
        client.read_exact(&mut byte).unwrap();
    };
    exchange(&mut client);
    assert_eq!(appraiser.count.load(Ordering::Relaxed), 1);
    client.reattest().unwrap();
    exchange(&mut client);
    exchange(&mut client);
    assert_eq!(appraiser.count.load(Ordering::Relaxed), 2);
    // The collateral changed.
    appraiser.generation.store(1, Ordering::Relaxed);
    exchange(&mut client);
    exchange(&mut client);
    exchange(&mut client);
    assert_eq!(appraiser.count.load(Ordering::Relaxed), 3);
    client.close().unwrap();
    echo.join().unwrap();
}

#[test]
fn an_attester_makes_only_so_much_at_once() {
    struct Slow(Arc<Barrier>);
    impl Attester for Slow {
        fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
            self.0.wait();
            self.0.wait();
            Plain.attest(binding, formats)
        }
    }
    let gate = Arc::new(Barrier::new(2));
    let limited = Limited::new(Slow(gate.clone()), 1, 0);
    let server = Arc::new(Party::attester(Arc::new(limited)).unwrap());
    let start = |server: &Arc<Party>| {
        let (near, far) = UnixStream::pair().unwrap();
        let server = server.clone();
        let accepted = thread::spawn(move || Stream::accept(far, &server).map(drop));
        (
            thread::spawn(move || Stream::connect(near, name(), &Arc::new(verifier())).map(drop)),
            accepted,
        )
    };
    let (first, first_server) = start(&server);
    gate.wait();
    let (second, second_server) = start(&server);
    let told = second.join().unwrap().unwrap_err();
    assert!(matches!(told, SessionError::Closed(CloseReason::Busy)), "{told}");
    let own = second_server.join().unwrap().unwrap_err();
    assert!(matches!(own, SessionError::Attest(AttestError::Busy)), "{own}");
    gate.wait();
    assert!(first.join().unwrap().is_ok());
    assert!(first_server.join().unwrap().is_ok());
}

#[test]
fn a_device_that_fails_is_not_called_an_error_of_the_protocol() {
    struct Broken;
    impl Attester for Broken {
        fn attest(&self, _: &Binding, _: &[u16]) -> Result<Offered, AttestError> {
            Err(AttestError::Device(std::io::Error::from_raw_os_error(19)))
        }
    }
    let server = Arc::new(Party::attester(Arc::new(Broken)).unwrap());
    let (near, far) = UnixStream::pair().unwrap();
    let accepted = thread::spawn(move || Stream::accept(far, &server).map(drop));
    let told = Stream::connect(near, name(), &Arc::new(verifier())).map(drop).unwrap_err();
    assert!(matches!(told, SessionError::Closed(CloseReason::Unavailable)), "{told}");
    let own = accepted.join().unwrap().unwrap_err();
    assert!(matches!(own, SessionError::Attest(AttestError::Device(_))), "{own}");
}

/// A peer that speaks TLS by rustls as it comes, with these protocols in ALPN.
fn plain_client(protocols: &[&[u8]]) -> (SessionError, String) {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || Stream::accept(far, &Arc::new(attester())).err().unwrap());
    let mut config = tls::client(None).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), name()).unwrap();
    let mut client = StreamOwned::new(connection, near);
    let seen = client.write_all(b"x").and_then(|()| client.read(&mut [0; 64]).map(|_| ()));
    (server.join().unwrap(), format!("{seen:?}"))
}

#[test]
fn alpn_stripped_or_another_is_refused() {
    let (server, _) = plain_client(&[]);
    assert_eq!(server.to_string(), "alpn: expected eaa-bound/1, got none");
    let (server, client) = plain_client(&[b"h2"]);
    assert!(matches!(server, SessionError::Tls(_)), "{server}");
    assert!(client.contains("NoApplicationProtocol"), "{client}");
}

/// The other way round: a server that speaks TLS and not the protocol.
fn plain_server(change: impl FnOnce(&mut ServerConfig)) -> SessionError {
    let (near, far) = UnixStream::pair().unwrap();
    let client =
        thread::spawn(move || Stream::connect(near, name(), &Arc::new(verifier())).err().unwrap());
    let identity = tls::Identity::generate().unwrap();
    let mut config = tls::server(&identity, false).unwrap();
    change(&mut config);
    let mut server = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), far);
    let _ = server.write_all(b"HTTP/1.1 200 OK").and_then(|()| server.flush());
    client.join().unwrap()
}

#[test]
fn a_server_without_the_protocol_is_refused() {
    let client = plain_server(|config| config.alpn_protocols.clear());
    assert_eq!(client.to_string(), "alpn: expected eaa-bound/1, got none");
    let client = plain_server(|config| config.alpn_protocols = vec![b"http/1.1".to_vec()]);
    assert!(client.to_string().contains("NoApplicationProtocol"), "{client}");
    // It agrees to the protocol and does not speak it: what it sends is never data.
    let client = plain_server(|_| {});
    let text = client.to_string();
    assert!(
        text.starts_with("frame type: expected") || text.starts_with("frame of type"),
        "{text}"
    );
}

#[test]
fn a_session_is_never_resumed() {
    // A server that gives tickets and takes early data, and a client of ours, twice.
    let identity = tls::Identity::generate().unwrap();
    let mut config = tls::server(&identity, false).unwrap();
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(32);
    config.send_tls13_tickets = 4;
    config.max_early_data_size = u32::MAX;
    let (server, client) = (Arc::new(config), Arc::new(tls::client(None).unwrap()));
    for _ in 0..2 {
        let (near, far) = UnixStream::pair().unwrap();
        let connection = ServerConnection::new(server.clone()).unwrap();
        let answer = thread::spawn(move || {
            let mut server = StreamOwned::new(connection, far);
            server.write_all(b"x").and_then(|()| server.flush()).unwrap();
            server.conn.handshake_kind()
        });
        let connection = ClientConnection::new(client.clone(), name()).unwrap();
        let mut client = StreamOwned::new(connection, near);
        assert!(client.conn.early_data().is_none());
        client.read_exact(&mut [0]).unwrap();
        assert_eq!(client.conn.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(answer.join().unwrap(), Some(HandshakeKind::Full));
    }
}

/// The key in the certificate is not the one that signs: evidence would name a key that nobody holds.
#[test]
fn a_certificate_of_another_key_is_refused() {
    #[derive(Debug)]
    struct Swapped(Arc<CertifiedKey>);
    impl ResolvesServerCert for Swapped {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let made = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    };
    let ((certificate, _), (_, key)) = (made(), made());
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let swapped = Swapped(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let client = plain_server(|config| config.cert_resolver = Arc::new(swapped));
    assert_eq!(client.to_string(), "tls: invalid peer certificate: BadSignature");
}

#[test]
fn tls_1_2_is_refused() {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || Stream::accept(far, &Arc::new(attester())).err().unwrap());
    // The ClientHello of a client that knows TLS 1.2 only.
    let random = [7; 32];
    let body = [&b"\x03\x03"[..], &random, b"\x00\x00\x02\xc0\x2b\x01\x00"].concat();
    let hello = [&b"\x01\x00\x00"[..], &[body.len() as u8], &body].concat();
    let record = [&b"\x16\x03\x01\x00"[..], &[hello.len() as u8], &hello].concat();
    (&near).write_all(&record).unwrap();
    let server = server.join().unwrap();
    assert!(matches!(server, SessionError::Tls(_)), "{server}");
}

#[test]
fn no_ticket_is_offered() {
    let (near, far) = UnixStream::pair().unwrap();
    let identity = tls::Identity::generate().unwrap();
    let config = tls::server(&identity, false).unwrap();
    let mut server = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), far);
    let config = Arc::new(tls::client(None).unwrap());
    let mut client = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), near);
    let answer = thread::spawn(move || server.write_all(b"x").and_then(|()| server.flush()));
    client.read_exact(&mut [0]).unwrap();
    answer.join().unwrap().unwrap();
    assert_eq!(client.conn.tls13_tickets_received(), 0);
}

#[test]
fn a_peer_that_says_nothing_costs_bounded_time() {
    let (near, far) = UnixStream::pair().unwrap();
    let server = attester().patience(Duration::from_millis(50));
    let server = Stream::accept(far, &Arc::new(server)).err().unwrap();
    assert!(matches!(server, SessionError::Timeout), "{server}");
    drop(near);

    // One that keeps dripping bytes of a record does not gain time by it.
    let (near, far) = UnixStream::pair().unwrap();
    let dripping = thread::spawn(move || {
        let header = b"\x16\x03\x01\x40\x00";
        let bytes = header.iter().copied().chain(std::iter::repeat_n(0, 0x4000));
        for byte in bytes {
            if (&near).write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    let server = attester().patience(Duration::from_millis(100));
    let server = Stream::accept(far, &Arc::new(server)).err().unwrap();
    assert!(matches!(server, SessionError::Timeout | SessionError::Tls(_)), "{server}");
    dripping.join().unwrap();
}

#[test]
fn an_end_without_close_is_not_an_end_of_data() {
    let (client, mut server) = opened(verifier(), attester());
    let reader = thread::spawn(move || server.read(&mut [0; 8]).unwrap_err());
    // The transport goes away, with neither Close nor close_notify.
    drop(client);
    assert_eq!(reader.join().unwrap().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_relay_that_ends_tls_is_refused() {
    // It has keys of its own and passes every frame on, in both directions.
    let (client_side, relay_near) = UnixStream::pair().unwrap();
    let (relay_far, server_side) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || Stream::accept(server_side, &Arc::new(attester())).err());
    let client =
        thread::spawn(move || Stream::connect(client_side, name(), &Arc::new(verifier())).err());

    let identity = tls::Identity::generate().unwrap();
    let config = Arc::new(tls::server(&identity, false).unwrap());
    let mut near = StreamOwned::new(ServerConnection::new(config).unwrap(), relay_near);
    let config = Arc::new(tls::client(None).unwrap());
    let mut far = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), relay_far);
    let pass = |from: &mut dyn Read, to: &mut dyn Write, frames: usize| {
        for _ in 0..frames {
            let mut header = [0; 5];
            from.read_exact(&mut header).unwrap();
            let mut body = vec![0; u32::from_be_bytes(header[1..].try_into().unwrap()) as usize];
            from.read_exact(&mut body).unwrap();
            to.write_all(&header).and_then(|()| to.write_all(&body)).unwrap();
            to.flush().unwrap();
        }
    };
    pass(&mut near, &mut far, 1); // the client's hello
    pass(&mut far, &mut near, 2); // the server's, and its evidence
    pass(&mut near, &mut far, 1); // the verdict
    let client = client.join().unwrap().unwrap();
    assert!(matches!(client, SessionError::Refused(_)), "{client}");
    let server = server.join().unwrap().unwrap();
    assert!(
        matches!(server, SessionError::Protocol(Fault::PeerRefused { code: 1, .. })),
        "{server}"
    );
}
