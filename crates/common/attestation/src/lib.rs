//! Evidence: what it says, whether it is genuine, and whether a policy accepts it.
//!
//! For relying parties, on a host or inside an enclave (`no_std`, no unsafe code). One verifier serves
//! hardware and the emulator; they differ in the trust anchor, and only a vendor's root ever counts as
//! hardware. It guarantees that a verdict `accepted` means: every signature from the evidence to the one
//! anchor holds, every date and revocation list was compared with the given moment, the policy allows what
//! was found, and the evidence is bound to the report data that the caller expected. It does not fetch
//! collateral, read a clock, or know who is at the other end of a channel beyond that binding.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! use attestation::{
//!     Collateral, ExpectedReportData, Now, Policy, ReferenceValues, TrustAnchor, Verifier, crypto,
//! };
//! # let (root, quote, json, toml, session) = (vec![], vec![], vec![], String::new(), [1; 64]);
//! let crypto = crypto::Default::default();
//! let anchor = TrustAnchor::from_der(&root, &crypto)?;
//! let verifier = Verifier::new(crypto, anchor);
//! let policy = Policy::from_toml(&toml)?;
//! let expected = ExpectedReportData::new(&session)?;
//! let verdict = verifier
//!     .examine(&quote, &Collateral::from_json(&json)?, Now::host(1_752_919_277))
//!     .appraise(&policy, &ReferenceValues::default(), &expected);
//! for check in verdict.checks.failed() {
//!     eprintln!("{check}\n  {}", check.action);
//! }
//! assert!(verdict.is_accepted());
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;

pub mod anchor;
pub mod check;
pub mod claims;
pub mod collateral;
pub mod crypto;
pub mod ear;
pub mod expected;
pub mod hex;
pub mod local;
pub mod policy;
pub mod quote;
pub mod relayed;
pub mod snp;
pub mod tcb;
pub mod time;
#[cfg(feature = "std")]
pub mod tsm;
pub mod verdict;
pub mod verify;
pub mod x509;

pub use anchor::{TrustAnchor, Vendor};
pub use bytes::Truncated;
pub use check::{Check, CheckId, Checks};
pub use claims::{Claims, Measurement, Platform, Tee};
pub use collateral::Collateral;
pub use expected::ExpectedReportData;
pub use policy::{Policy, ReferenceValues};
pub use tcb::TcbStatus;
pub use time::{Now, TimeSource};
pub use verdict::{Decision, Verdict};
pub use verify::{Examination, KnownPlatforms, VerifiedCollateral, VerifiedEvidence, Verifier};
