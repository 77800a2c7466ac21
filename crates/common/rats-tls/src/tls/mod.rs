//! TLS 1.3 as bound-v1 wants it (section 1 of the specification), by rustls.
//!
//! Certificates are carriers of a key: whoever holds the key gets a session, and evidence in the session decides
//! what that is worth. So nothing here is an authentication, and nothing here may be used without a
//! [`Session`](crate::Session) on top.

mod config;
mod identity;
mod signatures;

pub(crate) use config::check;
pub use config::{ALPN, client, server};
pub use identity::{Identity, IdentityError};
pub(crate) use signatures::{signature_algorithms, tls13_signatures, verify_signature};

use crate::binding::{Digest, ExportFault, Exporter, NO_KEY, key_digest};
use crate::session::Keys;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Connection, OtherError};

/// Why one of this crate's verifiers of certificates refused a peer, if that is why TLS failed.
#[must_use]
pub fn reason<T: core::error::Error + 'static>(error: &rustls::Error) -> Option<&T> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            why.downcast_ref()
        }
        _ => None,
    }
}

/// [`reason`] of an error that came through a stream.
#[must_use]
pub fn reason_on_stream<T: core::error::Error + 'static>(error: &std::io::Error) -> Option<&T> {
    reason(error.get_ref()?.downcast_ref()?)
}

/// A TLS connection's exporter.
pub(crate) struct Exported<'a>(pub(crate) &'a Connection);

impl Exporter for Exported<'_> {
    fn export(&self, label: &[u8], context: &[u8], into: &mut Digest) -> Result<(), ExportFault> {
        let value = self.0.export_keying_material([0; 48], label, Some(context));
        *into = value.map_err(|_| ExportFault)?;
        Ok(())
    }
}

/// Both ends' keys. `identity` is this end's, if it presented one.
pub(crate) fn keys(
    connection: &Connection,
    identity: Option<&Identity>,
) -> Result<Keys, rustls::Error> {
    let peer = match connection.peer_certificates() {
        Some([leaf, ..]) => {
            key_digest(&ParsedCertificate::try_from(leaf)?.subject_public_key_info())
        }
        _ => NO_KEY,
    };
    Ok(Keys { own: identity.map_or(NO_KEY, |identity| *identity.key_digest()), peer })
}
