//! The emulator's quoting enclave, its provisioning chain, and the collateral that goes with it.
#![forbid(unsafe_code)]
