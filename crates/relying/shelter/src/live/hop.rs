//! The `hop-by-hop` level: the verdict on what an inclavared says of the container behind it.
//!
//! **inclavared is trusted**: no evidence comes here, and every verdict says so. Only for policies that name the
//! level and the keys of those that are trusted; good for a verdict and for nothing else.

use super::judge::{Grounds, Material, Seen};
use super::open::Io;
use crate::trusted::Trusted;
use attestation::{Verdict, relayed};
use collateral::clock::Clock as _;
use rats_tls::hop::{self, Answer, Stranger};
use rats_tls::tls::reason_on_stream;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Asks, and gives the verdict on the answer.
///
/// # Errors
/// There is none: nobody answers, or not in this protocol, or inclavared does not vouch for the container.
pub(super) async fn look(
    transport: Box<dyn Io>,
    name: ServerName<'static>,
    grounds: &Grounds,
) -> Result<Seen, String> {
    let Trusted { anchor, policy, references, time, .. } = &*grounds.trusted;
    let tls = |error: &dyn std::fmt::Display| format!("tls: {error}");
    let config = hop::client(policy.inclavared.clone()).map_err(|error| tls(&error))?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = match connector.connect(name, transport).await {
        Ok(stream) => stream,
        Err(error) => {
            let Some(Stranger(key)) = reason_on_stream(&error) else { return Err(tls(&error)) };
            return Ok(seen(relayed::stranger(key, policy, anchor, time.now())));
        }
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let key = hop::pin(leaf.ok_or("tls: expected a certificate, got none")?);
    let key = key.map_err(|error| tls(&error))?;
    let answer = hop::exchange(&mut stream, hop::REQUEST).await;
    let answer = answer.map_err(|error| format!("inclavared's answer: {error}"))?;
    match Answer::read(&answer).map_err(|fault| format!("inclavared's answer: {fault}"))? {
        Answer::Info(info) => {
            let told = info.enclave;
            Ok(seen(told.appraise(&key, policy, references, anchor, time.now())))
        }
        Answer::Refused(why) => Err(format!("inclavared does not vouch for its container: {why}")),
    }
}

fn seen(verdict: Verdict) -> Seen {
    Seen { verdict, claims: None, material: Material::default() }
}
