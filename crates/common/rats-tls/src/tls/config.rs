//! Configurations of both ends, and what is checked once a handshake is done.

use super::{Identity, tls13_signatures};
use crate::error::SessionError;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{
    Connection, DistinguishedName, Error, HandshakeKind, ProtocolVersion, SignatureScheme, version,
};
use std::sync::Arc;

/// The protocol's name in ALPN.
pub const ALPN: &[u8] = b"eaa-bound/1";

/// A client's end. It presents `identity`, if it has one and is asked.
///
/// # Errors
/// The cryptography does not do TLS 1.3.
pub fn client(identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Carrier));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(Only(identity.certified()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// A server's end. With `asks_client` it demands a certificate.
///
/// # Errors
/// The cryptography does not do TLS 1.3.
pub fn server(identity: &Identity, asks_client: bool) -> Result<ServerConfig, Error> {
    let provider = provider();
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13])?;
    let builder = if asks_client {
        builder.with_client_cert_verifier(Arc::new(Carrier))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(Only(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// What a handshake must have come to: rustls lets a peer without ALPN pass.
///
/// # Errors
/// The first thing that is otherwise.
pub(crate) fn check(connection: &Connection) -> Result<(), SessionError> {
    let alpn = connection.alpn_protocol();
    if alpn != Some(ALPN) {
        return Err(SessionError::Alpn { got: alpn.map(<[u8]>::to_vec) });
    }
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(SessionError::Version(connection.protocol_version()));
    }
    match connection.handshake_kind() {
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => Ok(()),
        got => Err(SessionError::Resumed(got)),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Presents one certificate, whatever is asked for.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for Only {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).is_some().then(|| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any certificate as what it is, a carrier of a key, and checks that its holder signed the handshake.
#[derive(Debug)]
struct Carrier;

impl ServerCertVerifier for Carrier {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

impl ClientCertVerifier for Carrier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();
}
