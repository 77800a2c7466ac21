//! The library OS: Linux for unmodified programs, inside one enclave.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod errno;
pub mod fs;
pub mod host;
pub mod platform;
