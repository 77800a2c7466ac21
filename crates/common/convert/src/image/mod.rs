//! Images as input.
//!
//! An image is a list of layers and a configuration, in an OCI layout (directory or tar), in `docker save`'s
//! archive, or as a rootfs directory. What documents say of blobs is checked: sizes, digests, and that each
//! layer's archive is the one whose digest the configuration holds.

mod blobs;
mod config;
mod docker;
mod oci;
mod open;

pub use config::{ImageConfig, ProcessConfig};
pub use open::Image;

use crate::error::ImageError;
use serde::de::DeserializeOwned;
use workload::digest::Digest;

/// Longest document that is read: index, manifest or configuration.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

pub(crate) fn fault(
    field: impl Into<String>,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> ImageError {
    ImageError { field: field.into(), expected: expected.into(), got: got.into() }
}

/// Parses a JSON document.
pub(crate) fn document<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes)
        .map_err(|error| fault(name, "a json document of its type", error.to_string()))
}

/// Parses `sha256:` and 64 digits, the only algorithm that registries use.
pub(crate) fn parse_digest(field: &str, text: &str) -> Result<Digest, ImageError> {
    let digest = text.strip_prefix("sha256:").and_then(Digest::from_hex);
    digest.ok_or_else(|| {
        fault(field, "sha256: and 64 hexadecimal digits", crate::tar::shown(text.as_bytes()))
    })
}

/// Reads every document of an image and gives up at the first layer; a fuzz target calls it.
pub fn fuzz(bytes: &[u8]) {
    let _ = document::<oci::Index>("index", bytes);
    let _ = document::<oci::Manifest>("manifest", bytes);
    let _ = document::<Vec<docker::Item>>("manifest.json", bytes);
    if let Ok(config) = document::<ImageConfig>("config", bytes) {
        let _ = config.check();
    }
}
