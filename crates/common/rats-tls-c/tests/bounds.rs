//! What a peer can make an end keep in memory before it is refused. Counted by an allocator, which is why this
//! lies with the crate that may hold unsafe code.

#[path = "../../rats-tls/tests/common/mod.rs"]
mod common;

use common::{attester, verifier};
use rats_tls::claims::Claims;
use rats_tls::frame::{Evidence, Flags, Frame, Hello};
use rats_tls::{Accepted, Appraiser, Format, Party, Received, Refusal, SessionError, Stream, tls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const KIB: usize = 1 << 10;

thread_local! {
    /// Bytes that this thread has taken and not given back, and the most of them since it began to count.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count(change: isize) {
        let live = LIVE.get() + change;
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
    }
}

// SAFETY: every call is the system allocator's; counting touches no memory but two numbers of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size().cast_signed());
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-layout.size().cast_signed());
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that this thread holds while it works, beside what it held before.
fn peak<R>(work: impl FnOnce() -> R) -> (usize, R) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (usize::try_from(PEAK.get() - before).unwrap(), result)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("container").unwrap()
}

/// Looks at claims before anything else.
struct Reader;

impl Appraiser for Reader {
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>> {
        let claims = Claims::decode(&received.offered.claims).map_err(Refusal::Claims)?;
        Err(Box::new(Refusal::Denied {
            field: "claims".into(),
            expected: "others".into(),
            got: format!("{claims:?}"),
        }))
    }

    fn formats(&self) -> Vec<Format> {
        vec![Format::Sgx]
    }
}

/// A server that verifies, and a client that sends a hello and these bytes: the most that the server held, and
/// its last word.
fn before(bytes: impl FnOnce(&mut dyn std::io::Write) + Send + 'static) -> (usize, SessionError) {
    let (near, far) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || {
        let identity = tls::Identity::generate().unwrap();
        let config = Arc::new(tls::client(Some(&identity)).unwrap());
        let mut client = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), near);
        let flags = Flags { attest_me: true, ..Flags::default() };
        let hello = Hello { flags, formats: vec![], nonce: [7; 32] };
        let _ = client.write_all(&Frame::ClientHello(hello).encode());
        bytes(&mut client);
        // What the server says of it is not of interest here; that it hangs up is.
        let _ = client.flush().and_then(|()| client.read_to_end(&mut Vec::new()));
    });
    let server = Arc::new(Party::verifying_server(Arc::new(Reader)).unwrap());
    let (held, error) = peak(|| Stream::accept(far, &server).map(drop).unwrap_err());
    client.join().unwrap();
    (held, error)
}

fn evidence(claims: Vec<u8>) -> Vec<u8> {
    let (evidence, endorsements) = (vec![1; 100], vec![]);
    Frame::Evidence(Evidence { epoch: 0, format: 1, evidence, claims, endorsements }).encode()
}

#[test]
fn a_certificate_of_a_mebibyte() {
    #[derive(Debug)]
    struct Large(Arc<CertifiedKey>);
    impl ResolvesServerCert for Large {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        let identity = tls::Identity::generate().unwrap();
        let mut config = tls::server(&identity, false).unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_der().try_into().unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let chain = vec![CertificateDer::from(vec![0x30; 1 << 20])];
        config.cert_resolver = Arc::new(Large(Arc::new(CertifiedKey::new(chain, key))));
        let mut server = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), far);
        let _ = server.conn.complete_io(&mut server.sock);
    });
    let client = Arc::new(verifier());
    let (held, error) = peak(|| Stream::connect(near, name(), &client).map(drop).unwrap_err());
    server.join().unwrap();
    assert!(matches!(error, SessionError::Tls(_)), "{error}");
    assert!(held < 384 * KIB, "{held}");
}

#[test]
fn a_frame_that_says_it_is_long() {
    let (held, error) = before(|client| {
        let _ = client.write_all(&[3, 0xff, 0xff, 0xff, 0xff]);
        let _ = client.write_all(&[0; 1 << 16]);
    });
    let expected = "frame of type 3: expected at most 65536 bytes, got 4294967295";
    assert_eq!(error.to_string(), expected);
    assert!(held < 256 * KIB, "{held}");
}

#[test]
fn claims_that_are_many_or_deep() {
    // A map of 100,000 entries, by its head, and as far as a frame goes.
    let map = |length: usize| {
        let entry = [&b"\x64"[..], b"name", b"\x40"].concat();
        let mut claims = b"\xba\x00\x01\x86\xa0".to_vec();
        claims.extend(entry.iter().cycle().take(length - 5));
        claims
    };
    let (held, error) = before(move |client| {
        let _ = client.write_all(&evidence(map(4096)));
    });
    let expected = "evidence refused: claims: expected at most 64, got 100000";
    assert_eq!(error.to_string(), expected);
    assert!(held < 256 * KIB, "{held}");
    let (held, error) = before(move |client| {
        let _ = client.write_all(&evidence(map(65_000)));
    });
    let expected = "evidence refused: claims: expected at most 4096 bytes, got 65000";
    assert_eq!(error.to_string(), expected);
    assert!(held < 640 * KIB, "{held}");
    // Maps in maps.
    let (held, error) = before(|client| {
        let _ = client.write_all(&evidence([&b"\xa1\x61a"[..]; 1365].concat()));
    });
    let expected = "evidence refused: claims: expected a byte string of definite length at byte 3, got something else";
    assert_eq!(error.to_string(), expected);
    assert!(held < 256 * KIB, "{held}");
}

#[test]
fn a_peer_that_is_slow() {
    let (near, far) = UnixStream::pair().unwrap();
    let dripping = thread::spawn(move || {
        // A record that says it has 16 KiB, and never has.
        for byte in b"\x16\x03\x01\x40\x00".iter().chain([0; 1000].iter()) {
            if (&near).write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let server = Arc::new(attester().patience(Duration::from_millis(50)));
    let (held, error) = peak(|| Stream::accept(far, &server).map(drop).unwrap_err());
    dripping.join().unwrap();
    assert!(matches!(error, SessionError::Timeout), "{error}");
    assert!(held < 128 * KIB, "{held}");
}

#[test]
fn data_that_nobody_reads() {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        let mut server = Stream::accept(far, &Arc::new(attester())).unwrap();
        // Until the client hangs up.
        while server.write_all(&[5; 64 << 10]).is_ok() {}
    });
    let client = Arc::new(verifier());
    let (held, ()) = peak(|| {
        let mut client = Stream::connect(near, name(), &client).unwrap();
        for _ in 0..10_000 {
            client.read_exact(&mut [0]).unwrap();
        }
    });
    server.join().unwrap();
    assert!(held < 512 * KIB, "{held}");
}
