//! The part of an appraisal that every level has: genuine, current, and what the policy wants.

use crate::appraiser::{Clock, CollateralSource};
use crate::party::Refusal;
use crate::session::Offered;
use attestation::crypto::Ring;
use attestation::policy::Level;
use attestation::{
    Decision, ExpectedReportData, KnownPlatforms, Now, Policy, ReferenceValues, TrustAnchor,
    Verdict, Verifier,
};
use std::sync::{Mutex, PoisonError};

/// Platforms whose certificates are remembered, about 10 KiB each.
const PLATFORMS: usize = 256;

/// One anchor, one policy, and where collateral and time come from.
pub(crate) struct Judge<S> {
    verifier: Verifier<Ring>,
    policy: Policy,
    pub(crate) references: ReferenceValues,
    pub(crate) source: S,
    clock: Clock,
    known: Mutex<KnownPlatforms>,
}

impl<S: CollateralSource> Judge<S> {
    pub(crate) fn new(verifier: Verifier<Ring>, policy: Policy, source: S, clock: Clock) -> Self {
        Self {
            verifier,
            policy,
            references: ReferenceValues::default(),
            source,
            clock,
            known: Mutex::new(KnownPlatforms::with_limit(PLATFORMS)),
        }
    }

    pub(crate) const fn anchor(&self) -> &TrustAnchor {
        self.verifier.anchor()
    }

    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    /// Whether the policy names the level that evidence came at. Nothing is looked at before this.
    pub(crate) fn check_level(&self, got: Level) -> Result<(), Refusal> {
        let expected = self.policy.level;
        if expected == got { Ok(()) } else { Err(Refusal::Level { expected, got }) }
    }

    /// Decides on evidence that must contain these report data.
    pub(crate) fn decide(
        &self,
        offered: &Offered,
        expected: &ExpectedReportData,
        now: Now,
    ) -> Result<Box<Verdict>, Refusal> {
        let collateral = self.source.collateral(&self.verifier, offered, now);
        let collateral = collateral.map_err(Refusal::Collateral)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut examination =
            self.verifier.examine_with(&offered.evidence, &collateral, &known, now);
        if let Some(platform) = examination.take_platform() {
            known.insert(platform);
        }
        drop(known);
        let verdict = Box::new(examination.appraise(&self.policy, &self.references, expected));
        if verdict.verdict == Decision::Accepted {
            Ok(verdict)
        } else {
            Err(Refusal::Verdict(verdict))
        }
    }
}
