//! Verification: from bytes to claims that a vendor's keys stand behind, every check listed.
//!
//! ```text
//! evidence ─┐
//! collateral ┼─ Verifier::examine ─ Examination ─ appraise ─ Verdict (accepted or refused)
//! anchor, now ┘                        │      └── authenticate ─ Verdict (authentic or refused)
//!                                      └── verified ─ VerifiedEvidence
//! ```
//!
//! A [`Verifier`] has exactly one trust anchor: evidence, CRLs and collateral that end at another one,
//! trusted or not, are refused. Three speeds, the same checks: [`Verifier::examine`] checks every signature
//! (nine for a quote); [`Verifier::examine_with`] takes collateral that was verified before (three), and
//! of a platform it has seen before the certificate too (two). Dates and revocation are compared with the
//! given moment every time.
//!
//! Nothing here reads a clock, a file or the network.

use alloc::vec::Vec;

use crate::anchor::TrustAnchor;
use crate::check::Checks;
use crate::claims::Claims;
use crate::collateral::Collateral;
use crate::crypto::Crypto;
use crate::expected::ExpectedReportData;
use crate::policy::{self, Policy, ReferenceValues};
use crate::time::Now;
use crate::verdict::{Decision, Verdict};

mod collateral;
mod pck;
mod qe;
mod quote;
mod tcb;
mod tdx;

pub use collateral::VerifiedCollateral;
pub use pck::{KnownPlatform, KnownPlatforms};

/// Cryptography and the one trust anchor.
#[derive(Clone, Debug)]
pub struct Verifier<C> {
    crypto: C,
    anchor: TrustAnchor,
}

impl<C: Crypto> Verifier<C> {
    /// A verifier that trusts this anchor and nothing else.
    pub const fn new(crypto: C, anchor: TrustAnchor) -> Self {
        Self { crypto, anchor }
    }

    /// The anchor.
    pub const fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// The cryptography.
    pub const fn crypto(&self) -> &C {
        &self.crypto
    }

    /// Verifies collateral, to be used for many quotes.
    ///
    /// # Errors
    ///
    /// Every check, where at least one failed.
    pub fn collateral(
        &self,
        collateral: &Collateral,
        now: Now,
    ) -> Result<VerifiedCollateral, Checks> {
        VerifiedCollateral::new(&self.crypto, &self.anchor, collateral, now)
    }

    /// Examines a quote, with collateral that nobody verified yet.
    pub fn examine(&self, quote: &[u8], collateral: &Collateral, now: Now) -> Examination<'_> {
        let mut checks = Checks::with_room();
        let parts = collateral::Parts::examine(&self.crypto, &self.anchor, collateral, &mut checks);
        parts.check_dates(&self.anchor, now.seconds, &mut checks);
        let found = quote::examine(
            &self.crypto,
            &self.anchor,
            quote,
            &parts,
            &KnownPlatforms::NONE,
            now.seconds,
            &mut checks,
        );
        Examination::new(&self.anchor, found.claims, found.platform, now, checks)
    }

    /// Examines a quote, with collateral verified before and platforms seen before.
    pub fn examine_with(
        &self,
        quote: &[u8],
        collateral: &VerifiedCollateral,
        known: &KnownPlatforms,
        now: Now,
    ) -> Examination<'_> {
        let mut checks = collateral.checks_at(&self.anchor, now.seconds);
        let found = quote::examine(
            &self.crypto,
            &self.anchor,
            quote,
            collateral.parts(),
            known,
            now.seconds,
            &mut checks,
        );
        Examination::new(&self.anchor, found.claims, found.platform, now, checks)
    }
}

/// What a verifier found in evidence: every check of authenticity, and what the evidence claims.
#[derive(Clone, Debug)]
#[must_use = "an examination decides nothing until it is appraised"]
pub struct Examination<'v> {
    anchor: &'v TrustAnchor,
    checks: Checks,
    claims: Option<Claims>,
    platform: Option<KnownPlatform>,
    now: Now,
}

/// Claims that a vendor's keys stand behind. Only a verifier makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvidence {
    claims: Claims,
    anchor: [u8; 32],
}

impl VerifiedEvidence {
    /// What the evidence claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// SHA-256 of the DER of the anchor behind it.
    #[must_use]
    pub const fn anchor(&self) -> &[u8; 32] {
        &self.anchor
    }
}

impl<'v> Examination<'v> {
    /// For the modules of each TEE.
    pub(crate) const fn new(
        anchor: &'v TrustAnchor,
        claims: Option<Claims>,
        platform: Option<KnownPlatform>,
        now: Now,
        checks: Checks,
    ) -> Self {
        Self { anchor, checks, claims, platform, now }
    }

    /// The checks so far.
    #[must_use]
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// What the evidence claims, genuine or not; `None` if it could not be read. For people: see
    /// [`verified`](Self::verified) for anything else.
    #[must_use]
    pub const fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// The claims, if every check of authenticity holds. They are genuine; whether they are wanted, and
    /// whose they are, is not yet known.
    #[must_use]
    pub fn verified(&self) -> Option<VerifiedEvidence> {
        let claims = self.claims.clone().filter(|_| self.checks.all_hold())?;
        Some(VerifiedEvidence { claims, anchor: *self.anchor.sha256() })
    }

    /// A platform that was not known before and whose certificate holds, to be added to
    /// [`KnownPlatforms`].
    pub const fn take_platform(&mut self) -> Option<KnownPlatform> {
        self.platform.take()
    }

    /// Judges the evidence: by policy, and by what it must be bound to.
    #[must_use]
    pub fn appraise(
        self,
        policy: &Policy,
        references: &ReferenceValues,
        expected: &ExpectedReportData,
    ) -> Verdict {
        let Self { anchor, mut checks, claims, now, .. } = self;
        policy::appraise(
            policy,
            references,
            Some(anchor),
            claims.as_ref(),
            expected,
            now,
            &mut checks,
        );
        Verdict::new(Decision::Accepted, anchor.is_emulated(), claims, now, checks)
    }

    /// Judges origin, kind, patch level and what runs there, for evidence that is bound to nothing. The verdict is
    /// never `accepted`: nothing says who presents it.
    #[must_use]
    pub fn identify(self, policy: &Policy, references: &ReferenceValues) -> Verdict {
        let Self { anchor, mut checks, claims, now, .. } = self;
        policy::identify(policy, references, Some(anchor), claims.as_ref(), now, &mut checks);
        Verdict::new(Decision::Authentic, anchor.is_emulated(), claims, now, checks)
    }

    /// Judges origin, kind and patch level only. The verdict is never `accepted`: nothing says what runs
    /// there or who presents it.
    #[must_use]
    pub fn authenticate(self, policy: &Policy) -> Verdict {
        let Self { anchor, mut checks, claims, now, .. } = self;
        policy::authenticate(policy, Some(anchor), claims.as_ref(), &mut checks);
        Verdict::new(Decision::Authentic, anchor.is_emulated(), claims, now, checks)
    }
}

/// A certificate's key and dates, kept without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    subject: Vec<u8>,
    serial: crate::x509::Serial,
    validity: crate::time::Validity,
    algorithm: crate::crypto::Algorithm,
    key: Vec<u8>,
}

impl Holder {
    fn of(certificate: &crate::x509::Certificate<'_>) -> Self {
        Self {
            subject: certificate.subject.to_vec(),
            serial: certificate.serial,
            validity: certificate.validity,
            algorithm: certificate.key.algorithm,
            key: certificate.key.bits.to_vec(),
        }
    }

    fn key(&self) -> crate::x509::PublicKey<'_> {
        crate::x509::PublicKey { algorithm: self.algorithm, bits: &self.key }
    }
}
