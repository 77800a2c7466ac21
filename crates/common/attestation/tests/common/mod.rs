//! The vectors, and the few lines that every test begins with.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod der;
pub(crate) mod lab;

use attestation::crypto::Ring;
use attestation::{Collateral, Now, Policy, TcbStatus, TrustAnchor, Verifier};

pub(crate) const SGX_QUOTE: &[u8] = include_bytes!("../vectors/sgx/sgx_quote");
pub(crate) const SGX_COLLATERAL: &[u8] = include_bytes!("../vectors/sgx/sgx_quote_collateral.json");
pub(crate) const SGX_DEBUG_QUOTE: &[u8] = include_bytes!("../vectors/sgx/occlum_quote.dat");
pub(crate) const TDX_QUOTE: &[u8] = include_bytes!("../vectors/tdx/tdx_quote");
pub(crate) const TDX_COLLATERAL: &[u8] = include_bytes!("../vectors/tdx/tdx_quote_collateral.json");
pub(crate) const INTEL_ROOT: &[u8] = include_bytes!("../vectors/collateral/intel-sgx-root-ca.der");

/// When the SGX vector holds: the last second but one.
pub(crate) const SGX_TIME: u64 = 1_752_919_277;
/// When the TDX vector holds.
pub(crate) const TDX_TIME: u64 = 1_752_919_234;
/// Long after everything expired.
pub(crate) const LATER: u64 = 1_795_182_000;

pub(crate) fn collateral(json: &[u8]) -> Collateral {
    Collateral::from_json(json).expect("collateral")
}

pub(crate) fn intel() -> Verifier<Ring> {
    Verifier::new(Ring, TrustAnchor::from_der(INTEL_ROOT, &Ring).expect("a root"))
}

/// Intel's root, and every patch level but those that no policy takes.
pub(crate) fn lenient() -> Policy {
    let mut policy = Policy::strict(*intel().anchor().sha256());
    policy.tcb_status = vec![
        TcbStatus::UpToDate,
        TcbStatus::SWHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded,
    ];
    policy
}

pub(crate) fn at(seconds: u64) -> Now {
    Now::given(seconds)
}
