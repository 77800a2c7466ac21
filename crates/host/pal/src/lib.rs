//! The interface between `init-runelet` and an enclave runtime.
//!
//! [`EnclaveRuntime`] is what `init-runelet` drives. The built-in runtime implements it in Rust (crate `urts`); a
//! third party's is a `liberpal-*.so` with the C ABI of versions 1 to 3 as upstream's PALs really have it (natural
//! alignment, `char **`) or version 4 (`docs/spec/pal-v4.md`), and [`Library`] makes one look like the other.
//!
//! A library runs with all rights of `init-runelet`, so [`Policy`] decides which files may be one: only those in
//! directories that an administrator listed. The default list is empty. [`Library::load`] opens such a file by
//! descriptor, loads it in a child process first (a constructor that exits or crashes must not take PID 1 with
//! it), and only then in this process.
#![warn(missing_docs)]

pub mod abi;
mod error;
mod library;
mod policy;
mod probe;
mod runtime;

pub use error::{LoadError, PalError, PolicyError, ProbeError};
pub use library::{ExitConvention, Library, LoadOptions};
pub use policy::Policy;
pub use runtime::{
    Attributes, EnclaveRuntime, Pooled, Process, ProcessId, REPORT_SIZE, TARGETINFO_SIZE, Target,
    User, WaitStatus,
};
