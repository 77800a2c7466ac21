//! SGX architecture: structures, measurement, signing, and the driver boundary.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

pub mod driver;
