//! What a relay says that it has verified, appraised by a policy of level `hop-by-hop`: there is no evidence.
//!
//! **Everything but the relay's key rests on the relay's word.** The policy is looked at in full all the same, so
//! that a verdict of this level says no less than others; what nobody tells here (machines, configuration,
//! advisories) a policy of this level cannot name.

use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::claims::{Claims, Measurement, Platform, Tcb, Tee};
use crate::policy::{self, Policy, ReferenceValues};
use crate::tcb::TcbStatus;
use crate::time::Now;
use crate::verdict::{Decision, Verdict};
use alloc::vec::Vec;

/// An SGX enclave, as a relay says that it found it in evidence that it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// MRENCLAVE.
    pub mrenclave: [u8; 32],
    /// MRSIGNER.
    pub mrsigner: [u8; 32],
    /// ISVPRODID.
    pub isvprodid: u16,
    /// ISVSVN.
    pub isvsvn: u16,
    /// Whether the host may look inside.
    pub debug: bool,
    /// The platform's patch level.
    pub tcb_status: TcbStatus,
    /// SHA-256 of the DER of the anchor that the evidence ended in.
    pub root: [u8; 32],
}

impl Relayed {
    /// Judges the relay with this key (SHA-256 of its SubjectPublicKeyInfo), and what it says.
    #[must_use]
    pub fn appraise(
        &self,
        relay: &[u8; 32],
        policy: &Policy,
        references: &ReferenceValues,
        anchor: &TrustAnchor,
        now: Now,
    ) -> Verdict {
        let mut checks = known(relay, policy);
        checks.equal(CheckId::RootIdentity, anchor.sha256(), &self.root);
        let claims = self.claims(anchor.is_emulated());
        policy::identify(policy, references, Some(anchor), Some(&claims), now, &mut checks);
        Verdict::new(Decision::Accepted, anchor.is_emulated(), Some(claims), now, checks)
    }

    fn claims(&self, emulated: bool) -> Claims {
        let Self { mrenclave, mrsigner, isvprodid, isvsvn, debug, tcb_status, .. } = *self;
        Claims {
            tee: Tee::Sgx,
            emulated,
            measurement: Measurement::Sgx { mrenclave, mrsigner, isvprodid, isvsvn },
            debug,
            report_data: [0; 64],
            tcb: Some(Tcb {
                status: tcb_status,
                advisories: Vec::new(),
                date: 0,
                evaluation_data_number: 0,
            }),
            platform: Platform::default(),
            snp: None,
        }
    }
}

/// The verdict on a relay that the policy does not name: nothing is asked of it.
#[must_use]
pub fn stranger(relay: &[u8; 32], policy: &Policy, anchor: &TrustAnchor, now: Now) -> Verdict {
    Verdict::new(Decision::Accepted, anchor.is_emulated(), None, now, known(relay, policy))
}

/// Policies of other levels name no relay.
fn known(relay: &[u8; 32], policy: &Policy) -> Checks {
    let mut checks = Checks::new();
    let expected = match policy.inclavared.as_slice() {
        [one] => Value::from(one),
        _ => Value::from(CheckId::HopInclavared.expectation()),
    };
    let ok = policy.inclavared.contains(relay);
    checks.add(CheckId::HopInclavared, ok, expected, relay);
    checks
}
