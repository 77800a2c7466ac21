//! The answer: one word, what it is about, and every check behind it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::check::Checks;
use crate::claims::{Claims, Measurement, Platform, Tee};
use crate::tcb::TcbStatus;
use crate::time::{Now, TimeSource};

/// The one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Genuine, what the policy asks for, and bound to what the caller expected.
    Accepted,
    /// Genuine, of an origin and patch level that the policy allows. Says nothing of what runs there or
    /// who presents it: never a reason to trust a peer.
    Authentic,
    /// At least one check failed.
    Refused,
}

/// What a verifier says about evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The one word.
    pub verdict: Decision,
    /// Whether no vendor's hardware stands behind the evidence.
    pub emulated: bool,
    /// The kind of TEE; `None` if the evidence could not be read. This and what follows is the evidence's
    /// own claim where the verdict is `refused`.
    pub tee: Option<Tee>,
    /// Patch level, if one was determined.
    pub tcb_status: Option<TcbStatus>,
    /// Advisories that apply.
    pub advisories: Vec<String>,
    /// What runs there.
    pub measurement: Option<Measurement>,
    /// Which machine it is.
    pub platform: Option<Platform>,
    /// Who said what time it is.
    pub time_source: TimeSource,
    /// The moment of the verification, in Unix seconds.
    pub time: u64,
    /// Every check.
    pub checks: Checks,
}

impl Verdict {
    /// `success` where every check holds, else `refused`.
    pub(crate) fn new(
        success: Decision,
        emulated: bool,
        claims: Option<Claims>,
        now: Now,
        checks: Checks,
    ) -> Self {
        // Without claims nothing was appraised, whatever the checks say.
        let verdict =
            if checks.all_hold() && claims.is_some() { success } else { Decision::Refused };
        let (mut tee, mut tcb, mut measurement, mut platform) = (None, None, None, None);
        if let Some(claims) = claims {
            (tee, tcb) = (Some(claims.tee), claims.tcb);
            (measurement, platform) = (Some(claims.measurement), Some(claims.platform));
        }
        Self {
            verdict,
            emulated,
            tee,
            tcb_status: tcb.as_ref().map(|tcb| tcb.status),
            advisories: tcb.map(|tcb| tcb.advisories).unwrap_or_default(),
            measurement,
            platform,
            time_source: now.source,
            time: now.seconds,
            checks,
        }
    }

    /// Whether the verdict is `accepted`: the only one on which a peer may be trusted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.verdict == Decision::Accepted
    }
}
