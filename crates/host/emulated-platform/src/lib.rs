//! The platform behind emulated enclaves: a quoting service, its provisioning chain, and the collateral that
//! a verifier needs.
//!
//! On hardware these are Intel's quoting and provisioning enclaves and its provisioning service. Here they
//! are software with the same formats, bit for bit, so that a verifier of DCAP quotes takes both; it must be
//! told to trust this chain's root ([`Root::certificate`]), and no shipped verifier is.
//!
//! **It proves nothing about a host.** Whoever has the host's emulator secret can quote any report. What it
//! gives is the whole path, with the same bytes and the same refusals, on a machine without SGX. Nothing of
//! it can be taken for Intel's: FMSPC, QE MRENCLAVE and MRSIGNER are readable text that says so, and so are
//! the names in all certificates.
//!
//! A [`Platform`] derives all its keys from the host's secret, and its certificates are deterministic: the
//! same secret is the same platform, and nothing else is stored.
//!
//! `docs/attestation/emulated-platform.md` is the page for users.
#![forbid(unsafe_code)]

mod certificate;
mod collateral;
mod error;
mod identity;
mod key;
mod pck;
#[cfg(feature = "pcs")]
pub mod pcs;
mod platform;
mod quote;
mod root;
mod seed;
mod service;

pub use certificate::Validity;
pub use collateral::{
    ADVISORY, Collateral, CollateralSettings, Issued, QeLevel, TcbLevel, TcbStatus,
};
pub use error::{PlatformError, QuoteError};
pub use identity::{FMSPC, MRSIGNER, PCE_MRENCLAVE, QE_ISVPRODID, QE_MRENCLAVE};
pub use pck::PckCa;
pub use platform::{DEFAULT_DIRECTORY, Platform, Settings};
pub use root::{Dates, ROOT_FILE, Root};
