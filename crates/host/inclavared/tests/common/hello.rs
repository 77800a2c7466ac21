//! ClientHellos as rustls makes them.

use rustls::SupportedProtocolVersion;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// ALPN of the attested session.
pub const BOUND: &[u8] = b"eaa-bound/1";

pub fn hello(
    name: &str,
    protocols: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// What a verifier sends first.
pub fn bound_hello(name: &str) -> Vec<u8> {
    hello(name, &[BOUND], &[&rustls::version::TLS13])
}
