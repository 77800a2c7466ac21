//! The `compat` level: the verdict on a server whose certificate is its evidence.
//!
//! Only for policies that name the level. What it proves is less (`docs/attestation/sessions.md`), so that it is
//! good for a verdict and for nothing else.

use super::judge::{Grounds, Material, Seen};
use super::open::Io;
use crate::trusted::Trusted;
use attestation::crypto::Ring;
use attestation::quote::Quote;
use attestation::time::Now;
use attestation::{Collateral, VerifiedCollateral, Verifier};
use collateral::clock::Clock as _;
use collateral::object::Wanted;
use rats_tls::compat::{self, CompatAppraiser, CompatPeer};
use rats_tls::tls::reason;
use rats_tls::{CollateralSource, Offered, Refusal};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Error};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Shakes hands and gives the verdict on the server's certificate.
///
/// # Errors
/// There is none: the handshake failed for another reason, or the certificate is none of this level.
pub(super) async fn look(
    mut transport: Box<dyn Io>,
    name: ServerName<'static>,
    grounds: &Arc<Grounds>,
) -> Result<Seen, String> {
    let kept = Kept { grounds: grounds.clone(), material: Arc::default() };
    let material = kept.material.clone();
    let Trusted { policy, references, time, .. } = &*grounds.trusted;
    let (verifier, policy, time) = (grounds.verifier.clone(), policy.clone(), *time);
    let clock = Box::new(move || time.now());
    let appraiser = CompatAppraiser::new(verifier, policy, kept, clock);
    let appraiser = Arc::new(appraiser.references(references.clone()));
    let config = compat::client(appraiser.clone()).map_err(|error| format!("tls: {error}"))?;
    let mut tls =
        ClientConnection::new(Arc::new(config), name).map_err(|error| format!("tls: {error}"))?;
    let shaken = shake(&mut transport, &mut tls).await;
    let verdict = match shaken {
        Ok(()) => {
            let certificates = tls.peer_certificates().unwrap_or_default();
            let leaf = certificates.first().ok_or("tls: expected a certificate, got none")?;
            appraiser.appraise(leaf).map_err(|refusal| refusal.to_string())
        }
        Err(Shaken::Refused(refusal)) => match *refusal {
            Refusal::Verdict(verdict) => Ok(*verdict),
            other => Err(other.to_string()),
        },
        Err(Shaken::Failed(error)) => Err(error),
    }?;
    let mut material = material.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // A handshake that was refused shows no certificate; the evidence itself was kept.
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    let peer = leaf.and_then(|leaf| CompatPeer::read(leaf, verdict.time).ok());
    material.report_data = peer.map(|peer| peer.expected_report_data);
    Ok(Seen { verdict, claims: None, material })
}

/// Why there is no connection.
enum Shaken {
    Refused(Box<Refusal>),
    Failed(String),
}

async fn shake(transport: &mut Box<dyn Io>, tls: &mut ClientConnection) -> Result<(), Shaken> {
    let io = |error: std::io::Error| Shaken::Failed(format!("tls: {error}"));
    let mut buffer = vec![0; 16 << 10];
    loop {
        let mut output = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut output).map_err(io)?;
        }
        transport.write_all(&output).await.map_err(io)?;
        if !tls.is_handshaking() {
            return Ok(());
        }
        let count = transport.read(&mut buffer).await.map_err(io)?;
        let mut received = &buffer[..count];
        if received.is_empty() {
            return Err(Shaken::Failed("tls: the peer ended the handshake".into()));
        }
        while !received.is_empty() {
            tls.read_tls(&mut received).map_err(io)?;
            tls.process_new_packets().map_err(refused)?;
        }
    }
}

/// The refusal that our own verifier of certificates gave TLS, if it was that.
fn refused(error: Error) -> Shaken {
    match reason::<Refusal>(&error) {
        Some(refusal) => Shaken::Refused(Box::new(refusal.clone())),
        None => Shaken::Failed(format!("tls: {error}")),
    }
}

/// A source that keeps what it was asked about.
struct Kept {
    grounds: Arc<Grounds>,
    material: Arc<Mutex<Material>>,
}

impl CollateralSource for Kept {
    fn collateral(
        &self,
        verifier: &Verifier<Ring>,
        offered: &Offered,
        now: Now,
    ) -> Result<Arc<VerifiedCollateral>, String> {
        let evidence = &offered.evidence;
        let quote = Quote::parse(evidence).map_err(|error| error.to_string())?;
        let wanted = Wanted::of(&quote).map_err(|error| error.to_string())?;
        let source =
            self.grounds.source.as_ref().ok_or("expected a source of collateral, got none")?;
        let document: Collateral =
            source.document(|| Ok(wanted)).map_err(|failure| failure.to_string())?;
        let verified = verifier.collateral(&document, now).map_err(|checks| {
            checks.failed().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        let mut material = self.material.lock().unwrap_or_else(PoisonError::into_inner);
        *material = Material {
            evidence: evidence.clone(),
            collateral: Some(document),
            ..Material::default()
        };
        Ok(Arc::new(verified))
    }
}
