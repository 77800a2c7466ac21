//! SGX architecture: structures, measurement, signing, and the driver boundary.
//!
//! One definition for every crate that speaks SGX, inside and outside the enclave: converter, driver,
//! emulator, enclave runtime and verifier. The structures guarantee the byte layout of the manual (Intel
//! SDM Vol. 3D, "Enclave Access Control and Data Structures") and nothing about their content: what a CPU
//! checks is in the modules named after its instructions.
//!
//! Structures are plain values; bytes are made and read by explicit conversion, never by a pointer cast.
//! All integers are little-endian. The crate is `no_std` without the feature `std`.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

mod layout;

pub mod attributes;
#[allow(
    unsafe_code,
    reason = "entering an enclave is unsafe for the caller; the crate has no block"
)]
pub mod driver;
pub mod einit;
pub mod hash;
pub mod keyrequest;
#[cfg(feature = "keys")]
pub mod keys;
pub mod leaf;
pub mod measure;
pub mod page;
pub mod report;
pub mod secs;
pub mod sgxs;
#[cfg(feature = "sign")]
pub mod sign;
pub mod sigstruct;
pub mod ssa;
pub mod tcs;
pub mod xsave;

pub use attributes::{AttributeFlags, Attributes, Miscselect, Xfrm};
pub use keyrequest::{KeyName, KeyPolicy, Keyrequest};
pub use layout::{Aligned, FieldLayout, LayoutError};
pub use leaf::{Encls, Enclu, ErrorCode};
pub use page::{PAGE_SIZE, PageType, Secinfo, SecinfoFlags};
pub use report::{Report, ReportBody, Targetinfo};
pub use secs::Secs;
pub use sigstruct::{Sigstruct, SigstructError};
pub use ssa::{Exinfo, Exitinfo, Gprsgx};
pub use tcs::{Tcs, TcsFlags};
