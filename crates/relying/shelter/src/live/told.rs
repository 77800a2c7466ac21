//! A verdict on a running container, as JSON: that of `verify` on a file, and what only a session has.

use attestation::Verdict;
use attestation::hex::Hex;
use rats_tls::claims::Claims;
use serde::Serialize;
use std::collections::BTreeMap;

/// Which session a verdict is about.
#[derive(Clone, Serialize)]
pub(crate) struct Reached {
    /// Where it was opened.
    pub(crate) address: String,
    /// The name that the relay was told.
    pub(crate) container: Option<String>,
    /// How the evidence is tied to it: `bound` or `compat`; or that there is none: `hop-by-hop`.
    pub(crate) level: String,
    /// Whom the verdict trusts beside the anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust: Option<&'static str>,
}

/// What is said of every verdict of that level.
pub(crate) const HOP_BY_HOP: &str = "hop-by-hop: inclavared is trusted";

/// The whole verdict.
#[derive(Serialize)]
pub(crate) struct LiveVerdict<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    session: &'a Reached,
    claims: Option<ToldClaims<'a>>,
}

/// Claims, everything that is no text as hexadecimal digits.
#[derive(Serialize)]
struct ToldClaims<'a> {
    instance_id: String,
    config_digest: String,
    runtime_version: &'a str,
    custom: BTreeMap<&'a str, String>,
}

impl<'a> LiveVerdict<'a> {
    pub(super) fn new(
        verdict: &'a Verdict,
        claims: Option<&'a Claims>,
        session: &'a Reached,
    ) -> Self {
        let claims = claims.map(|claims| ToldClaims {
            instance_id: Hex(&claims.instance_id).to_string(),
            config_digest: Hex(&claims.config_digest).to_string(),
            runtime_version: &claims.runtime_version,
            custom: claims
                .custom
                .iter()
                .map(|(name, value)| (name.as_str(), Hex(value).to_string()))
                .collect(),
        });
        Self { verdict, session, claims }
    }
}
