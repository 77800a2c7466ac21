//! What `shelter` reads that others may have written: the file of saved measurements, and addresses.
//!
//! The rest is the program. These are a library so that they are fuzzed as what the program uses.
#![forbid(unsafe_code)]

pub mod address;
pub mod saved;
