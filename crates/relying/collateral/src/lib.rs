//! Collateral: fetched from a PCS or PCCS, verified, kept while it is valid, carried offline.
#![forbid(unsafe_code)]
