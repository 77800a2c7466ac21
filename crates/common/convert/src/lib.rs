//! From an image to an enclave file.
//!
//! Conversion is a pure function of the flattened layer tree, the process fields of the image's
//! configuration, the rules for the workload and the version of the runtime: the same input gives the same
//! bytes, on any machine, in any directory, for any user, however the layers are compressed. What is not
//! known to mean one thing is refused, with the layer and entry named.
//!
//! It runs on the user's machine and trusts that machine, and nothing in the image: archives and documents
//! may be hostile, and no name in them reaches a file outside the directory that is written.
#![forbid(unsafe_code)]

pub mod attester;
mod compose;
pub mod conversion;
pub mod directory;
pub mod enclave;
pub mod error;
pub mod hash;
pub mod image;
pub mod layer;
pub mod output;
pub mod overrides;
pub mod pack;
pub mod policy;
pub mod progress;
pub mod root;
pub mod tar;
pub mod tree;
mod users;

pub use conversion::{Conversion, Input, Options, convert};
pub use error::Error;
