//! Collateral: fetched from a PCS or PCCS, verified, kept while it is valid, carried offline.
//!
//! A quote is worth no more than what its issuer says of its platform today: revocations, patch levels, the quoting
//! enclave. That is collateral. [`cache::Cache`] gives it verified; below it lie the [`store`], which keeps it and
//! the floor under it over restarts, and the [`pcs`] client. An offline bundle is one JSON document
//! ([`attestation::collateral::Collateral`]), taken in by [`cache::Cache::import`].
//!
//! Whoever carries collateral need not be trusted: all of it is signed. What is left to an attacker is to withhold
//! it, which ends in a refusal, or to send old documents, which the floor refuses.
#![forbid(unsafe_code)]

pub mod cache;
pub mod clock;
pub mod current;
pub mod error;
pub mod index;
pub mod object;
pub mod pcs;
pub mod store;
