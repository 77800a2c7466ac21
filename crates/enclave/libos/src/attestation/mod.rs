//! What an enclave says about itself: report data, claims, quotes, and what its seal keys depend on.
//!
//! The CPU makes reports and keys ([`Platform`](crate::platform::Platform)), the host's quoting enclave makes
//! quotes. This module decides what is in them; `fs::attestation` offers them as files.
//! `docs/spec/attestation-devices.md` specifies every format.
//!
//! Guaranteed: report data that ends with the tag of bound evidence comes from a [`bound::Record`] and from
//! nowhere else in the library OS, and a quote that reaches a program is about this enclave and the report
//! data it asked for. Not guaranteed: that its signature is good, which whoever verifies it finds out; and
//! nothing against a program that executes EREPORT itself, for programs are part of the enclave.

pub mod bound;
pub mod claims;
pub mod quote;
pub mod report_data;
pub mod seal;

pub use report_data::ReportData;
