//! ClientHellos of rustls, and what becomes of them when they are cut, changed and made up.

use super::*;
use made_by_rustls::{bound_hello, hello as rustls_hello};
use rustls::server::Acceptor;

#[path = "../../tests/common/hello.rs"]
#[allow(unreachable_pub, reason = "shared with the crate's tests")]
mod made_by_rustls;

fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloFault> {
    Hello::default().read(bytes)
}

/// A message in records of this size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// A hello with these extensions.
fn made(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, body) in extensions {
        list.extend_from_slice(&kind.to_be_bytes());
        list.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        list.extend_from_slice(body);
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0]);
    body.extend_from_slice(&u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&list);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

const SNI: (u16, &[u8]) = (0, b"\0\x06\0\0\x03web");
const BOUND: (u16, &[u8]) = (16, b"\0\x0c\x0beaa-bound/1");
const VERSIONS: (u16, &[u8]) = (43, &[4, 3, 4, 3, 3]);

#[test]
fn the_hello_of_a_bound_session() {
    let bytes = bound_hello("web");
    let hello = read(&bytes).unwrap().unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("web"));
    assert!(hello.is_bound() && hello.is_tls13());
}

#[test]
fn however_it_is_cut_it_reads_the_same() {
    let bytes = bound_hello("web");
    let message = &bytes[5..];
    let expected = read(&bytes);
    for record_size in [1, 2, 3, 4, 5, 64, message.len() - 1, message.len()] {
        let bytes = records(message, record_size);
        for size in [1, 2, 3, 7, 100] {
            let mut hello = Hello::default();
            let mut pieces = bytes.chunks(size);
            let last = loop {
                let piece = pieces.next().expect("it ends before its bytes do");
                match hello.read(piece) {
                    Ok(None) => {}
                    other => break other,
                }
            };
            assert_eq!(last, expected, "records of {record_size}, pieces of {size}");
            assert!(bytes.starts_with(&hello.into_bytes()));
        }
    }
}

#[test]
fn every_beginning_waits_for_more() {
    let bytes = bound_hello("web");
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length]), Ok(None), "{length}");
    }
    // What follows it is passed on.
    assert!(read(&[&bytes[..], b"more"].concat()).unwrap().is_some());
}

#[test]
fn who_speaks_something_else_is_found_out_at_once() {
    for (bytes, fault) in [
        (&b"GET / HTTP/1.1\r\n"[..], HelloFault::RecordType(b'G')),
        (b"\x16\x03\x04", HelloFault::RecordVersion(0x0304)),
        (b"\x16\x03\x01\0\0", HelloFault::RecordLength(0)),
        (b"\x16\x03\x01\x40\x01", HelloFault::RecordLength(0x4001)),
        (b"\x16\x03\x01\0\x10\x02", HelloFault::MessageType(2)),
        (b"\x16\x03\x01\x40\0\x01\0\x40\0", HelloFault::TooLong(0x4009)),
        (b"\x80\x2e\x01\x03", HelloFault::RecordType(0x80)),
    ] {
        assert_eq!(read(bytes), Err(fault));
    }
}

/// Records of a byte each: five bytes of header for one of hello.
#[test]
fn a_hello_that_is_too_long_in_records_is_refused() {
    let message = made(&[SNI, BOUND, VERSIONS, (21, &[0; 4000])]);
    let bytes = records(&message, 1);
    assert!(bytes.len() > MAX_HELLO);
    let mut hello = Hello::default();
    assert_eq!(hello.read(&bytes[..MAX_HELLO - 1]), Ok(None));
    assert_eq!(
        hello.read(&bytes[MAX_HELLO - 1..MAX_HELLO]),
        Err(HelloFault::TooLong(MAX_HELLO + 1))
    );
}

#[test]
fn extensions_that_nobody_knows_are_passed_over() {
    let grease: (u16, &[u8]) = (0x4a4a, b"\0");
    let hello = read(&records(&made(&[grease, SNI, BOUND, VERSIONS, (0xfafa, b"")]), 9999));
    assert!(hello.unwrap().unwrap().is_bound());
    let versions: (u16, &[u8]) = (43, &[4, 0x5a, 0x5a, 3, 4]);
    assert!(read(&records(&made(&[versions]), 9999)).unwrap().unwrap().is_tls13());
}

#[test]
fn what_is_left_out_is_seen() {
    let hello = read(&records(&made(&[]), 9999)).unwrap().unwrap();
    assert_eq!(hello, ClientHello { server_name: None, protocols: vec![], versions: vec![0x0303] });
    assert!(!hello.is_bound() && !hello.is_tls13());
    let address = rustls_hello("127.0.0.1", &[ALPN], &[&rustls::version::TLS13]);
    assert_eq!(read(&address).unwrap().unwrap().server_name, None);
    let older = rustls_hello("web", &[b"h2", b"http/1.1"], &[&rustls::version::TLS12]);
    let hello = read(&older).unwrap().unwrap();
    assert!(!hello.is_bound() && !hello.is_tls13());
}

#[test]
fn a_field_of_the_wrong_form_is_named() {
    let wrong: &[(u16, &[u8])] = &[
        (0, b""),
        (0, b"\0\0"),
        (0, b"\0\x06\x01\0\x03web"),
        (0, b"\0\x03\0\0\0"),
        (0, b"\0\x06\0\0\x03web\0"),
        (0, b"\0\x06\0\0\x04web"),
        (0, b"\0\x06\0\0\x03w\xffb"),
        (0, b"\0\x0c\0\0\x03web\0\0\x03two"),
        (16, b""),
        (16, b"\0\0"),
        (16, b"\0\x01\0"),
        (16, b"\0\x02\x02a"),
        (16, b"\0\x02\x01a\0"),
        (43, b""),
        (43, b"\0"),
        (43, b"\x03\x03\x04\x03"),
        (43, b"\x02\x03\x04\0"),
    ];
    for (kind, body) in wrong {
        let fault = read(&records(&made(&[(*kind, body)]), 9999)).unwrap_err();
        let field = match kind {
            0 => "server_name",
            16 => "alpn",
            _ => "supported_versions",
        };
        assert_eq!(fault, HelloFault::Field(field), "{body:?}");
    }
    for twice in [SNI, BOUND, VERSIONS] {
        assert!(read(&records(&made(&[twice, twice]), 9999)).is_err(), "{twice:?}");
    }
}

/// Where rustls takes a hello, this reads the same of it; single bytes changed, in both.
#[test]
fn rustls_reads_the_same() {
    let original = bound_hello("web");
    let (mut agreed, mut both) = (0, 0);
    for at in 0..original.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = original.clone();
            bytes[at] ^= flip;
            let mut acceptor = Acceptor::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {}
            let Ok(Some(accepted)) = acceptor.accept() else { continue };
            both += 1;
            let theirs = accepted.client_hello();
            let Ok(Some(ours)) = read(&bytes) else { continue };
            agreed += 1;
            assert_eq!(ours.server_name.as_deref(), theirs.server_name(), "byte {at}");
            let protocols = theirs.alpn().map(|list| list.map(<[u8]>::to_vec).collect());
            assert_eq!(ours.protocols, protocols.unwrap_or_else(Vec::new), "byte {at}");
        }
    }
    // Nearly everything that rustls takes is taken.
    assert!(both > 100 && agreed * 10 >= both * 9, "{agreed} of {both}");
}
