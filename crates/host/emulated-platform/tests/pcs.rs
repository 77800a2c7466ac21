//! Peers of the provisioning service that do not keep to HTTP.

mod common;

use common::root;
use emulated_platform::pcs::Pcs;
use emulated_platform::{CollateralSettings, Dates};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(Pcs::new(root(Dates::default()), CollateralSettings::default()).serve(listener));
    address
}

/// What comes back for these bytes, until the service closes.
async fn send(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // The service may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_no_request_ends_its_connection_and_no_other() {
    let address = serve().await;
    let good =
        b"GET /sgx/certification/v4/rootcacrl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let long = [&b"GET / HTTP/1.1\r\nLong: "[..], &[b'a'; 64 * 1024], b"\r\n\r\n"].concat();
    let many = [&b"GET / HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(1000), b"\r\n"].concat();
    let uri = [&b"GET /"[..], &[b'a'; 64 * 1024], b" HTTP/1.1\r\n\r\n"].concat();
    for bad in [&long[..], &many, &uri, b"\x16\x03\x01 hello over TLS\r\n\r\n"] {
        let answer = send(address, bad).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(answer.len() < 1024, "{answer}");
        assert!(send(address, good).await.starts_with("HTTP/1.1 200 OK"));
    }
    // One that says nothing holds its own connection.
    let _silent = TcpStream::connect(address).await.expect("connected");
    assert!(send(address, good).await.contains("inclavare-emulated: true"));
}
