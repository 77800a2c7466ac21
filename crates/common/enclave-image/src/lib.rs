//! The enclave program: built once with this crate, embedded, and laid out for a base address.
//!
//! [`ELF`] is the same, byte by byte, for the same sources, lock file and toolchain, whatever the directory
//! and the profile of the outer build. [`load`] turns it into page contents; it accepts only what the
//! program's link script produces and refuses the rest by name, so that nothing is measured by accident.
#![forbid(unsafe_code)]

mod load;

pub use load::{LoadError, PAGE_SIZE, Rights, Segment, Segments, load};

/// The enclave program, a static-pie ELF file linked at 0.
pub const ELF: &[u8] = include_bytes!(env!("ENCLAVE_ELF"));

/// The enclave program with the smoke-test kernel in place of the library OS.
#[cfg(feature = "smoke")]
pub const SMOKE_ELF: &[u8] = include_bytes!(env!("ENCLAVE_SMOKE_ELF"));
