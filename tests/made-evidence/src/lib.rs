//! Evidence made here, where no real one can be had: for tests, and for nothing else.
//!
//! Real SEV-SNP reports of versions 3 to 5, VLEKs and AMD CRLs, and SGX quotes of version 4, are not among the
//! published vectors that we may keep. This crate makes them, under roots of its own whose names say so:
//! nothing that it makes verifies for anybody who does not pin one of these roots. What it makes follows the
//! manufacturers' documents as we read them; that real hardware does the same is not shown by a test
//! that uses it.
//!
//! It shares no code with the crate that reads what it makes, so that a common mistake needs two hands.
#![forbid(unsafe_code)]

pub mod der;
pub mod key;
pub mod snp;
pub mod x509;

/// Organization in the name of every certificate made here.
pub const ORGANIZATION: &str = "Inclavare tests, made here, not by a manufacturer";
