//! The library OS: Linux for unmodified programs, inside one enclave.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub use boot::boot;

pub mod attestation;
pub mod boot;
pub mod cpuid;
pub mod elf;
pub mod errno;
pub mod fs;
pub mod futex;
pub mod host;
pub mod kernel;
pub mod mm;
pub mod patch;
pub mod platform;
pub mod process;
pub mod procview;
pub mod signal;
pub mod sync;
pub mod syscall;
#[cfg(test)]
mod testing;
pub mod thread;
pub mod timers;
pub mod usermem;
pub mod wait;
