//! What a workload is, and how the enclave checks that it is that one which runs.
//!
//! * [`manifest`]: the measured description of a workload.
//! * [`request`]: what the host asks for, and [`request::admit`], which holds it against the manifest.
//! * [`verity`]: the fs-verity digest of a file and verification of its blocks.
//! * [`meta`]: the metadata of a root file system as one blob.
//!
//! The converter writes these formats outside the enclave, the library OS reads them inside. Everything
//! that reads is total: no input makes it panic, and none makes it allocate more than a small multiple of
//! its own length.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod digest;
pub mod env;
pub mod manifest;
pub mod meta;
pub mod request;
pub mod verity;

mod admission;
mod attester;
mod network;
mod rules;
mod validate;

/// Reads outside bytes in every format of this crate; a fuzz target calls it.
pub fn fuzz(bytes: &[u8]) {
    if let Ok(manifest) = manifest::Manifest::parse(bytes) {
        assert_eq!(manifest.to_canonical(), bytes, "one manifest has one spelling");
    }
    if let Ok(request) = request::Request::parse(bytes) {
        assert_eq!(request::Request::parse(&request.to_json()), Ok(request));
    }
    meta::fuzz(bytes);
}
