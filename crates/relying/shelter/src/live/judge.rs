//! Decides on a container's evidence, inside the session, and remembers on what grounds.
//!
//! What `shelter` prints of a session is what decided on it: there is no second verification for people to read.

use crate::failure::Failure;
use crate::live::told::LiveVerdict;
use crate::source::Source;
use crate::trusted::Trusted;
use attestation::check::{CheckId, Checks, Value};
use attestation::hex::Hex;
use attestation::quote::Quote;
use attestation::time::Now;
use attestation::{Collateral, Decision, ExpectedReportData, Verdict, Verifier, crypto};
use collateral::clock::Clock;
use collateral::object::Wanted;
use rats_tls::claims::Claims;
use rats_tls::{Accepted, Appraiser, Format, Received, Refusal};
use std::sync::{Arc, Mutex, PoisonError};

/// On what grounds evidence is judged.
pub(crate) struct Grounds {
    pub(super) verifier: Verifier<crypto::Default>,
    pub(super) trusted: Arc<Trusted>,
    /// `None`: the peer's own collateral.
    pub(super) source: Option<Source>,
    instance_id: Option<[u8; 16]>,
}

/// Judges the evidence of one session.
pub(crate) struct Judge {
    grounds: Arc<Grounds>,
    seen: Mutex<Option<Seen>>,
}

/// Evidence that came, and what was said of it.
#[derive(Clone)]
pub(crate) struct Seen {
    /// The verdict, with the caller's own demands among its checks.
    pub(crate) verdict: Verdict,
    /// The container's claims, where they could be read. They are worth what the verdict is worth.
    pub(crate) claims: Option<Claims>,
    /// What the verdict is about and rests on, for whoever wants to look again.
    pub(crate) material: Material,
}

/// Everything that a verdict needs to be computed again.
#[derive(Clone, Default)]
pub(crate) struct Material {
    /// The evidence, as it came.
    pub(crate) evidence: Vec<u8>,
    /// The claims buffer, as it came; empty where there is none.
    pub(crate) claims: Vec<u8>,
    /// What the report data had to be.
    pub(crate) report_data: Option<[u8; 64]>,
    /// The collateral; `None` where the evidence did not get that far.
    pub(crate) collateral: Option<Collateral>,
}

impl Judge {
    pub(crate) fn new(grounds: Arc<Grounds>) -> Self {
        Self { grounds, seen: Mutex::default() }
    }

    /// What was decided last; taken, so that the next one is told from it.
    pub(crate) fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Grounds {
    /// By this trust, with collateral from this source, for this instance.
    pub(crate) fn new(
        trusted: Trusted,
        source: Option<Source>,
        instance_id: Option<[u8; 16]>,
    ) -> Self {
        let verifier = Verifier::new(crypto::Default::default(), trusted.anchor.clone());
        let trusted = Arc::new(trusted);
        Self { verifier, trusted, source, instance_id }
    }

    fn examine(&self, received: &Received) -> Result<Seen, Failure> {
        let offered = &received.offered;
        let now = self.trusted.time.now();
        let report_data = received.expected_report_data();
        let claims = Claims::decode(&offered.claims);
        // A SHA-384 digest and the tag: neither empty nor zero.
        let mut expected = ExpectedReportData::new(&report_data)
            .expect("bound report data are 64 bytes that end in the tag");
        if let Ok(claims) = &claims {
            expected = expected.with_config_digest(claims.config_digest);
        }
        let (mut verdict, collateral) = match self.collateral(received)? {
            Ok(collateral) => {
                let examination = self.verifier.examine(&offered.evidence, &collateral, now);
                let Trusted { policy, references, .. } = &*self.trusted;
                (examination.appraise(policy, references, &expected), Some(collateral))
            }
            Err(checks) => (unreadable(checks, self.verifier.anchor().is_emulated(), now), None),
        };
        self.demand(&claims, &mut verdict);
        let material = Material {
            evidence: offered.evidence.clone(),
            claims: offered.claims.clone(),
            report_data: Some(report_data),
            collateral,
        };
        Ok(Seen { verdict, claims: claims.ok(), material })
    }

    /// The collateral for evidence; or the check that fails because the evidence names none.
    fn collateral(&self, received: &Received) -> Result<Result<Collateral, Checks>, Failure> {
        let mut checks = Checks::new();
        let offered = &received.offered;
        let quote = match Quote::parse(&offered.evidence) {
            Ok(quote) => quote,
            Err(error) => {
                let id = CheckId::QuoteFormat;
                checks.add(id, false, id.expectation(), Value::display(&error));
                return Ok(Err(checks));
            }
        };
        let Some(source) = &self.source else {
            let json = &offered.endorsements;
            if json.is_empty() {
                let message = "--peer-collateral: expected collateral with the evidence, got none";
                return Err(Failure::Undecided(message.into()));
            }
            let collateral = Collateral::from_json(json)
                .map_err(|error| Failure::Undecided(format!("--peer-collateral: {error}")))?;
            return Ok(Ok(collateral));
        };
        match Wanted::of(&quote) {
            Ok(wanted) => source.document(|| Ok(wanted)).map(Ok),
            Err(error) => {
                let id = CheckId::QuoteCertification;
                checks.add(id, false, id.expectation(), Value::display(&error));
                Ok(Err(checks))
            }
        }
    }

    /// Adds what is demanded besides the policy, and lets it decide too.
    fn demand<E: std::fmt::Display>(&self, claims: &Result<Claims, E>, verdict: &mut Verdict) {
        let id = CheckId::ClaimsFormat;
        match claims {
            Ok(_) => verdict.checks.add(id, true, id.expectation(), "one"),
            Err(error) => verdict.checks.add(id, false, id.expectation(), Value::display(error)),
        };
        if let Some(expected) = &self.instance_id {
            let id = CheckId::PolicyInstance;
            match claims {
                Ok(claims) => {
                    verdict.checks.equal(id, expected, &claims.instance_id);
                }
                Err(_) => verdict.checks.not_run(id, CheckId::ClaimsFormat),
            }
        }
        if !verdict.checks.all_hold() {
            verdict.verdict = Decision::Refused;
        }
    }
}

/// The verdict on what names no collateral.
fn unreadable(checks: Checks, emulated: bool, now: Now) -> Verdict {
    Verdict {
        verdict: Decision::Refused,
        emulated,
        tee: None,
        tcb_status: None,
        advisories: vec![],
        measurement: None,
        platform: None,
        time_source: now.source,
        time: now.seconds,
        checks,
    }
}

impl Appraiser for Judge {
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>> {
        let seen = self.grounds.examine(received).map_err(|failure| {
            // Nothing was decided: the session ends, and nothing is remembered.
            Box::new(Refusal::Collateral(failure.to_string()))
        })?;
        let verdict = Box::new(seen.verdict.clone());
        let claims = seen.claims.clone();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        match claims {
            Some(claims) if verdict.is_accepted() => Ok(Accepted { verdict, claims }),
            _ => Err(Box::new(Refusal::Verdict(verdict))),
        }
    }

    fn formats(&self) -> Vec<Format> {
        vec![Format::Sgx, Format::Tdx]
    }
}

impl Seen {
    /// As it is printed.
    pub(crate) fn told<'a>(&'a self, session: &'a crate::live::Reached) -> LiveVerdict<'a> {
        LiveVerdict::new(&self.verdict, self.claims.as_ref(), session)
    }

    /// What makes two verdicts the same for who watches: the word, the instance and what runs there.
    pub(crate) fn sameness(&self) -> String {
        let instance = self.claims.as_ref().map(|claims| Hex(&claims.instance_id).to_string());
        let measurement = serde_json::to_string(&self.verdict.measurement).unwrap_or_default();
        let instance = instance.unwrap_or_default();
        format!("{:?} {instance} {measurement}", self.verdict.verdict)
    }
}
