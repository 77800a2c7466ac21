//! The archive of `docker save` (Docker image specification 1.2, "Combined Image JSON").

use super::blobs::Blobs;
use super::config::ImageConfig;
use super::open::{Layer, Opened};
use super::{document, fault};
use crate::error::Error;
use crate::hash::sha256;
use serde::Deserialize;
use workload::digest::{Digest, Hex};

/// An image in manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn open(blobs: Blobs, reference: Option<&str>) -> Result<Opened, Error> {
    let items: Vec<Item> = document("manifest.json", &blobs.required("manifest.json")?)?;
    let known: Vec<String> =
        items.iter().flat_map(|item| item.repo_tags.clone()).flatten().collect();
    let matches = |item: &Item| {
        reference.is_none_or(|wanted| item.repo_tags.iter().flatten().any(|tag| tag == wanted))
    };
    let mut found: Vec<Item> = items.into_iter().filter(matches).collect();
    let got = format!("{} of [{}]", found.len(), known.join(", "));
    let item = match found.pop() {
        Some(item) if found.is_empty() => item,
        _ => return Err(fault("manifest.json", "one image (name it with --ref)", got).into()),
    };
    let config_bytes = blobs.required(&item.config)?;
    // The name is the digest: `<digest>.json`, or a blob of an OCI layout.
    let name = item.config.rsplit('/').next().unwrap_or_default();
    if let Some(expected) = Digest::from_hex(name.strip_suffix(".json").unwrap_or(name)) {
        let got = Hex(sha256(&config_bytes));
        if expected != got {
            let (expected, got) = (format!("sha256:{expected}"), format!("sha256:{got}"));
            return Err(fault("config digest", expected, got).into());
        }
    }
    let config: ImageConfig = document("config", &config_bytes)?;
    let layers = item.layers.into_iter().map(|path| {
        let digest = path.strip_prefix("blobs/sha256/").and_then(Digest::from_hex);
        Layer { path, digest, size: None, media_type: String::new() }
    });
    let layers = layers.collect();
    Ok(Opened { blobs, config, config_bytes, layers, names: item.repo_tags.unwrap_or_default() })
}
