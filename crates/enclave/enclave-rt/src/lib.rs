//! enclave-rt
#![no_std]
