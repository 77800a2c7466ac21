//! The attested session for C: `rats_tls_*`, and `enclave_tls_*` over the same.
//!
//! Names, structures, flags and error words are those of RATS-TLS and Enclave-TLS, so that a program needs no
//! other source; what bound-v1 needs beside them (a policy, a root, a device) is set by functions of our own.
//! `include/rats-tls/api.h` documents every function.
//!
//! It guarantees: nothing is accepted that a policy did not accept; a wrong pointer value in a handle, one that
//! was cleaned up, or a second call at the same time is an error and touches no memory, for a handle is a number
//! in a table; no panic crosses the border. What C can get wrong unseen is the length of a buffer, and a pointer
//! to something else.
//!
//! All unsafe code of the interface is in [`border`]: it reads structures, text and buffers, and writes results.
//! Everything else is safe.

mod abi;
mod border;
mod context;
mod enclave;
mod error;
mod evidence;
mod handles;
mod log;
mod rats;
mod socket;

pub use abi::{
    Claim, CsvEvidence, EnclaveConf, EnclaveEcdsa, Epid, Evidence, EvidenceBody, HashedData,
    RatsConf, SgxEvidence, TdxEvidence,
};
pub use border::{Buffer, Callback, In, Out, Text};
pub use enclave::*;
pub use rats::*;
