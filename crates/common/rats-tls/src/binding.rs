//! What evidence must contain so that it fits one session, one end of it, and one moment.
//!
//! Section 4 of `docs/spec/bound-v1.md`. The hash is taken here for verifiers and for attesters without a bound
//! device; inside an Inclavare enclave the library OS takes it (`/dev/attestation/bound`).

use alloc::vec::Vec;
use core::fmt;
use sha2::{Digest as _, Sha384};

/// Label of the TLS exporter.
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL-inclavare-bound-v1";
/// Last bytes of report data.
pub const TAG: [u8; 16] = *b"EAA-BOUND-V1\0\0\0\0";

/// First bytes of what is hashed.
const DOMAIN: &[u8] = b"inclavare-bound-v1\0";

/// A SHA-384 digest, or an exporter value of the same length.
pub type Digest = [u8; 48];

/// Digest where a peer has no certificate.
pub const NO_KEY: Digest = [0; 48];

/// Which end of the TLS session attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// The TLS client.
    Client = 1,
    /// The TLS server.
    Server = 2,
}

impl Role {
    /// The other end's.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The TLS connection's exporter (RFC 8446, section 7.5).
pub trait Exporter {
    /// Fills `into` with the value for a label and a context.
    ///
    /// # Errors
    /// The handshake is not complete.
    fn export(&self, label: &[u8], context: &[u8], into: &mut Digest) -> Result<(), ExportFault>;
}

/// There is no exporter value: the TLS handshake is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportFault;

impl fmt::Display for ExportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tls handshake is not complete")
    }
}

impl core::error::Error for ExportFault {}

/// The fields of bound evidence, from one end's view of its session.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The attester's end.
    pub role: Role,
    /// 0 at opening, one more at each re-attestation.
    pub epoch: u32,
    /// SHA-384 of the attester's SubjectPublicKeyInfo.
    pub own_key: Digest,
    /// SHA-384 of its peer's, or [`NO_KEY`].
    pub peer_key: Digest,
    /// T, over both frames of this epoch.
    pub transcript: Digest,
    /// Exporter value.
    pub binder: Digest,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the binder: who has it can speak for the session.
        f.debug_struct("Binding")
            .field("role", &self.role)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Binding {
    /// Binds to a session's secrets.
    ///
    /// # Errors
    /// The handshake is not complete.
    pub fn new(
        exporter: &dyn Exporter,
        role: Role,
        epoch: u32,
        [own_key, peer_key]: [Digest; 2],
        transcript: Digest,
    ) -> Result<Self, ExportFault> {
        let mut context = Vec::with_capacity(48 + 1 + 4);
        context.extend(transcript);
        context.push(role as u8);
        context.extend(epoch.to_be_bytes());
        let mut binder = [0; 48];
        exporter.export(EXPORTER_LABEL, &context, &mut binder)?;
        Ok(Self { role, epoch, own_key, peer_key, transcript, binder })
    }

    /// The 64 bytes of report data, with this claims buffer.
    #[must_use]
    pub fn report_data(&self, claims: &[u8]) -> [u8; 64] {
        let hash = Sha384::new()
            .chain_update(DOMAIN)
            .chain_update([self.role as u8])
            .chain_update(self.epoch.to_be_bytes())
            .chain_update(self.own_key)
            .chain_update(self.peer_key)
            .chain_update(self.transcript)
            .chain_update(self.binder)
            .chain_update(Sha384::digest(claims))
            .finalize();
        let mut data = [0; 64];
        data[..48].copy_from_slice(&hash);
        data[48..].copy_from_slice(&TAG);
        data
    }
}

/// T: of both hello frames, or of both Reattest frames; the client's first.
#[must_use]
pub fn transcript(client: &[u8], server: &[u8]) -> Digest {
    Sha384::new().chain_update(client).chain_update(server).finalize().into()
}

/// Digest of a SubjectPublicKeyInfo (DER).
#[must_use]
pub fn key_digest(spki: &[u8]) -> Digest {
    Sha384::digest(spki).into()
}
