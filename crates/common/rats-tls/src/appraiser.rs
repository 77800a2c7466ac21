//! The appraiser that relying parties use: verification, policy, claims, and the caller's own look.

use crate::claims::Claims;
use crate::frame::Format;
use crate::judge::Judge;
use crate::party::{Accepted, Appraiser, Refusal};
use crate::session::{Offered, Received};
use attestation::crypto::Ring;
use attestation::policy::Level;
use attestation::{
    Collateral, ExpectedReportData, Now, Policy, ReferenceValues, VerifiedCollateral, Verifier,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Where verified collateral comes from. It is asked for each evidence; a source that is slow keeps its own.
pub trait CollateralSource: Send + Sync {
    /// Collateral for this evidence, verified under the verifier's anchor.
    ///
    /// # Errors
    /// There is none, or it does not verify; for people.
    fn collateral(
        &self,
        verifier: &Verifier<Ring>,
        offered: &Offered,
        now: Now,
    ) -> Result<Arc<VerifiedCollateral>, String>;

    /// Changes whenever the collateral did.
    fn generation(&self) -> u64 {
        0
    }
}

/// What says what time it is.
pub type Clock = Box<dyn Fn() -> Now + Send + Sync>;

/// A look at the claims that the policy cannot express.
pub type Look = Box<dyn Fn(&Accepted) -> Result<(), Refusal> + Send + Sync>;

/// Accepts evidence by a policy.
pub struct PolicyAppraiser<S> {
    judge: Judge<S>,
    instance_id: Option<[u8; 16]>,
    formats: Vec<Format>,
    look: Option<Look>,
}

impl<S: CollateralSource> PolicyAppraiser<S> {
    /// Under one anchor, by one policy.
    #[must_use]
    pub fn new(verifier: Verifier<Ring>, policy: Policy, source: S, clock: Clock) -> Self {
        Self {
            judge: Judge::new(verifier, policy, source, clock),
            instance_id: None,
            formats: vec![Format::Sgx, Format::Tdx],
            look: None,
        }
    }

    /// With reference values for the policy's names.
    #[must_use]
    pub fn references(mut self, references: ReferenceValues) -> Self {
        self.judge.references = references;
        self
    }

    /// Only this instance of the workload.
    #[must_use]
    pub const fn instance(mut self, id: [u8; 16]) -> Self {
        self.instance_id = Some(id);
        self
    }

    /// Only evidence of these formats, best first, in place of every quote.
    #[must_use]
    pub fn accepting(mut self, formats: &[Format]) -> Self {
        self.formats = formats.to_vec();
        self
    }

    /// With a last look at what would be accepted.
    #[must_use]
    pub fn look(mut self, look: Look) -> Self {
        self.look = Some(look);
        self
    }

    fn decide(&self, received: &Received) -> Result<Accepted, Refusal> {
        self.judge.check_level(Level::Bound)?;
        let claims = Claims::decode(&received.offered.claims).map_err(Refusal::Claims)?;
        // A SHA-384 digest and the tag: neither empty nor zero.
        let expected = ExpectedReportData::new(&received.expected_report_data())
            .expect("bound report data are 64 bytes that end in the tag")
            .with_config_digest(claims.config_digest);
        let verdict = self.judge.decide(&received.offered, &expected, self.judge.now())?;
        let accepted = Accepted { verdict, claims };
        let claims = &accepted.claims;
        if let Some(expected) = self.instance_id.filter(|id| *id != claims.instance_id) {
            return Err(Refusal::Instance { expected, got: claims.instance_id });
        }
        if let Some(look) = &self.look {
            look(&accepted)?;
        }
        Ok(accepted)
    }
}

impl<S: CollateralSource> Appraiser for PolicyAppraiser<S> {
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>> {
        self.decide(received).map_err(Box::new)
    }

    fn formats(&self) -> Vec<Format> {
        self.formats.clone()
    }

    fn generation(&self) -> u64 {
        self.judge.source.generation()
    }
}

/// Collateral that the caller has, for tests and for machines without a network.
pub struct Fixed(pub Arc<VerifiedCollateral>);

impl CollateralSource for Fixed {
    fn collateral(
        &self,
        _verifier: &Verifier<Ring>,
        _offered: &Offered,
        _now: Now,
    ) -> Result<Arc<VerifiedCollateral>, String> {
        Ok(self.0.clone())
    }
}

/// The collateral that the peer sends with its evidence. It is verified like any other; what a peer gains by
/// sending old collateral is bounded by its dates and by the policy's `min_tcb_eval`.
#[derive(Default)]
pub struct FromPeer {
    /// The last, by its bytes.
    last: Mutex<Option<(Vec<u8>, Arc<VerifiedCollateral>)>>,
}

impl CollateralSource for FromPeer {
    fn collateral(
        &self,
        verifier: &Verifier<Ring>,
        offered: &Offered,
        now: Now,
    ) -> Result<Arc<VerifiedCollateral>, String> {
        let json = &offered.endorsements;
        if json.is_empty() {
            return Err("expected the peer's, got none".into());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bytes, verified)) = &*last
            && bytes == json
        {
            return Ok(verified.clone());
        }
        let collateral = Collateral::from_json(json).map_err(|error| error.to_string())?;
        let verified = verifier.collateral(&collateral, now).map_err(|checks| {
            let failed: Vec<_> = checks.failed().map(ToString::to_string).collect();
            failed.join("; ")
        })?;
        let verified = Arc::new(verified);
        *last = Some((json.clone(), verified.clone()));
        Ok(verified)
    }
}
