//! AMD SEV-SNP: attestation reports of versions 2 to 5, by chip (VCEK) or cloud provider (VLEK).
//!
//! Start with [`Verifier::examine_snp`]. The anchor is AMD's root for the product (ARK), which the policy pins by
//! its digest; none is trusted by itself.
//!
//! What it does not do: fetch certificates, or judge what AMD does not publish. See [`policy`] for what
//! the policy has to say itself.

use alloc::boxed::Box;

use crate::check::Checks;
use crate::claims::{Claims, Measurement, Platform, Tee};
use crate::crypto::Crypto;
use crate::time::Now;
use crate::verify::{Examination, Verifier};

pub mod extensions;
mod genuine;
pub mod policy;
pub mod product;
pub mod report;
pub mod table;
pub mod tcb;

pub use genuine::{Endorsements, SnpClaims};

impl<C: Crypto> Verifier<C> {
    /// Examines an attestation report with what vouches for it. Four signatures: CRL, authority, key, report.
    pub fn examine_snp(
        &self,
        report: &[u8],
        endorsements: &Endorsements<'_>,
        now: Now,
    ) -> Examination<'_> {
        let mut checks = Checks::with_room();
        let claims =
            genuine::examine(report, endorsements, self.anchor(), now, self.crypto(), &mut checks);
        let claims = claims.map(|claims| to_claims(claims, self.anchor().is_emulated()));
        Examination::new(self.anchor(), claims, None, now, checks)
    }
}

fn to_claims(claims: SnpClaims, emulated: bool) -> Claims {
    let report = &claims.report;
    Claims {
        tee: Tee::Snp,
        emulated,
        measurement: Measurement::Snp {
            measurement: *report.measurement(),
            host_data: *report.host_data(),
            guest_svn: report.guest_svn(),
            vmpl: report.vmpl(),
        },
        debug: report.policy().is_debug_allowed(),
        report_data: *report.report_data(),
        tcb: None,
        // A masked chip id names no chip.
        platform: Platform {
            chip_id: Some(*report.chip_id()).filter(|id| *id != [0; 64]),
            ..Platform::default()
        },
        snp: Some(Box::new(claims)),
    }
}
