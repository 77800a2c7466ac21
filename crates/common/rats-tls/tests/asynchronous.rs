//! Sessions on tokio, among themselves and with the blocking front end.

mod common;

use common::{Exact, attester, mutual, verifier};
use rats_tls::{AsyncStream, Fault, Party, SessionError, Stream};
use rustls::pki_types::ServerName;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

fn name() -> ServerName<'static> {
    ServerName::try_from("container").unwrap()
}

#[tokio::test]
async fn data_arrives_whole_in_every_mode() {
    for (client, server) in [(verifier(), attester()), (mutual().verify_first(), mutual())] {
        // Small, so that frames and records arrive in pieces.
        let (near, far) = duplex(1000);
        let server = tokio::spawn(async move {
            let mut server = AsyncStream::accept(far, &Arc::new(server)).await?;
            let mut got: Vec<u8> = Vec::new();
            let mut buffer = [0; 5000];
            loop {
                match server.read(&mut buffer).await? {
                    0 => return Ok::<_, SessionError>(got),
                    count => got.extend(&buffer[..count]),
                }
            }
        });
        let mut client = AsyncStream::connect(near, name(), &Arc::new(client)).await.unwrap();
        assert!(client.peer().unwrap().verdict.is_accepted());
        let sent: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        client.write_all(&sent).await.unwrap();
        client.close().await.unwrap();
        assert!(server.await.unwrap().unwrap() == sent);
    }
}

/// Two that both send more than fits between them, each in two tasks.
#[tokio::test]
async fn both_ends_send_at_once() {
    async fn exchange(end: AsyncStream<DuplexStream>, sent: Vec<u8>) -> Vec<u8> {
        let (mut read, mut write) = split(end);
        let writer = tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        writer.await.unwrap();
        got
    }
    let (near, far) = duplex(1000);
    let server = tokio::spawn(async move {
        let server = AsyncStream::accept(far, &Arc::new(mutual())).await.unwrap();
        exchange(server, vec![1; 2 << 20]).await
    });
    let client = AsyncStream::connect(near, name(), &Arc::new(mutual())).await.unwrap();
    assert!(exchange(client, vec![2; 2 << 20]).await == vec![1; 2 << 20]);
    assert!(server.await.unwrap() == vec![2; 2 << 20]);
}

/// The interval passes while nothing does; then the peer, which has read to the end, is asked still.
#[tokio::test]
async fn an_idle_session_is_asked_for_new_evidence() {
    let (near, far) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut server = AsyncStream::accept(far, &Arc::new(attester())).await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        server.serve().await.unwrap();
        assert!(server.is_closed());
    });
    let appraiser = Arc::new(Exact::default());
    let party = Party::verifier(appraiser.clone()).reattest_every(Duration::from_millis(20));
    let mut client = AsyncStream::connect(near, name(), &Arc::new(party)).await.unwrap();
    client.finish().await.unwrap();
    while appraiser.count.load(Ordering::Relaxed) < 3 {
        let wait = tokio::time::timeout(Duration::from_millis(20), client.read(&mut [0; 8])).await;
        assert!(wait.is_err(), "the peer sends nothing");
    }
    client.close().await.unwrap();
    server.await.unwrap();
}

/// TLS takes nothing while a record's worth of decrypted data waits in it.
#[tokio::test]
async fn small_records_that_come_with_the_end_of_a_large_one_are_taken() {
    let (near, far) = duplex(1 << 20);
    let (client, server) = (Arc::new(verifier()), Arc::new(attester()));
    let opened = tokio::join!(
        AsyncStream::connect(near, name(), &client),
        AsyncStream::accept(far, &server)
    );
    let (mut client, mut server) = (opened.0.unwrap(), opened.1.unwrap());
    // Header and body fill one record; then 600 records of a byte each, all before the first read.
    server.write_all(&[1; (16 << 10) - 5]).await.unwrap();
    for _ in 0..600 {
        server.write_all(&[2]).await.unwrap();
    }
    server.close().await.unwrap();
    let (mut got, mut buffer) = (Vec::<u8>::new(), [0; 1 << 10]);
    loop {
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            count => got.extend(&buffer[..count]),
        }
    }
    assert_eq!(got, [vec![1; (16 << 10) - 5], vec![2; 600]].concat());
}

#[tokio::test]
async fn a_refusal_is_told() {
    let (near, far) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let server = Party::verifying_server(Arc::new(Exact::default())).unwrap();
        AsyncStream::accept(far, &Arc::new(server)).await.map(drop)
    });
    let client = AsyncStream::connect(near, name(), &Arc::new(mutual())).await.map(drop);
    let client = client.unwrap_err();
    assert!(matches!(client, SessionError::Protocol(Fault::NoEvidence)), "{client}");
    let server = server.await.unwrap().unwrap_err();
    let is_told = matches!(server, SessionError::Protocol(Fault::PeerRefused { code: 2, .. }));
    assert!(is_told, "{server}");
}

#[tokio::test]
async fn a_peer_that_says_nothing_costs_bounded_time() {
    let (_near, far) = duplex(1 << 16);
    let server = Arc::new(attester().patience(Duration::from_millis(50)));
    let server = AsyncStream::accept(far, &server).await.map(drop).unwrap_err();
    assert!(matches!(server, SessionError::Timeout), "{server}");
}

#[tokio::test]
async fn the_two_front_ends_speak_one_protocol() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let blocking = thread::spawn(move || {
        let mut server = Stream::accept(far, &Arc::new(attester())).unwrap();
        let mut word = [0; 4];
        for _ in 0..3 {
            server.read_exact(&mut word).unwrap();
            server.write_all(&word).unwrap();
        }
        server.close().unwrap();
    });
    near.set_nonblocking(true).unwrap();
    let near = tokio::net::UnixStream::from_std(near).unwrap();
    let appraiser = Arc::new(Exact::default());
    let party = Arc::new(Party::verifier(appraiser.clone()));
    let mut client = AsyncStream::connect(near, name(), &party).await.unwrap();
    let mut word = [0; 4];
    for round in 0..3 {
        if round == 1 {
            client.reattest().await.unwrap();
        }
        client.write_all(b"ping").await.unwrap();
        let mut got = 0;
        while got < 4 {
            got += client.read(&mut word[got..]).await.unwrap();
        }
        assert_eq!(word, *b"ping");
    }
    assert_eq!(client.read(&mut word).await.unwrap(), 0);
    assert_eq!(appraiser.count.load(Ordering::Relaxed), 2);
    blocking.join().unwrap();
}
