//! OCI layouts (OCI image specification, "Image Layout", "Image Index", "Image Manifest").

use super::blobs::Blobs;
use super::config::ImageConfig;
use super::open::{Layer, Opened};
use super::{document, fault, parse_digest};
use crate::error::{Error, ImageError};
use crate::hash::sha256;
use serde::Deserialize;
use std::collections::BTreeMap;
use workload::digest::Hex;

/// Reference to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// index.json, or an index blob.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// A manifest blob.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Annotations that hold a name, the full one first.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Most indices below each other.
const MAX_NESTING: usize = 4;

pub(super) fn open(blobs: Blobs, reference: Option<&str>) -> Result<Opened, Error> {
    let index: Index = document("index.json", &blobs.required("index.json")?)?;
    let mut descriptor = choose(index, reference)?;
    let names = names(&descriptor);
    for _ in 0..MAX_NESTING {
        if !is_index(&descriptor.media_type) {
            return manifest(blobs, &descriptor, names);
        }
        let inner: Index = document("index", &blob(&blobs, "index", &descriptor)?)?;
        descriptor = for_this_platform(inner)?;
    }
    Err(fault("index", "at most 4 indices below each other", "more").into())
}

fn is_index(media_type: &str) -> bool {
    media_type.contains("image.index") || media_type.contains("manifest.list")
}

/// The descriptor of index.json that is meant.
fn choose(index: Index, reference: Option<&str>) -> Result<Descriptor, ImageError> {
    let known: Vec<String> = index.manifests.iter().flat_map(names).collect();
    let matches = |descriptor: &Descriptor| match reference {
        Some(wanted) => {
            let is_name = |name: &String| name == wanted || name.ends_with(&format!("/{wanted}"));
            names(descriptor).iter().any(is_name)
        }
        None => !is_attestation(descriptor),
    };
    let mut found: Vec<Descriptor> = index.manifests.into_iter().filter(matches).collect();
    // One image for several platforms may stand in index.json itself.
    if found.len() > 1 && found.iter().all(|descriptor| descriptor.platform.is_some()) {
        return for_this_platform(Index { manifests: found });
    }
    let expected = match reference {
        Some(reference) => format!("one image named \"{reference}\""),
        None => "one image (name it with --ref)".to_string(),
    };
    let got = format!("{} of [{}]", found.len(), known.join(", "));
    match found.pop() {
        Some(descriptor) if found.is_empty() => Ok(descriptor),
        _ => Err(fault("index.json", expected, got)),
    }
}

fn for_this_platform(index: Index) -> Result<Descriptor, ImageError> {
    let platforms: Vec<String> = (index.manifests.iter())
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .collect();
    let is_ours = |descriptor: &Descriptor| match &descriptor.platform {
        Some(platform) => platform.os == "linux" && platform.architecture == "amd64",
        None => false,
    };
    let is_only = index.manifests.len() == 1 && index.manifests[0].platform.is_none();
    let mut found = index.manifests.into_iter().filter(|entry| is_only || is_ours(entry));
    found.next().ok_or_else(|| {
        fault("index", "an image for linux/amd64", format!("[{}]", platforms.join(", ")))
    })
}

/// Build tools add signatures and provenance as manifests for a platform that does not exist.
fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

fn names(descriptor: &Descriptor) -> Vec<String> {
    let annotations = descriptor.annotations.iter();
    let found = annotations.flat_map(|map| NAMES.iter().filter_map(|name| map.get(*name)));
    let mut names: Vec<String> = found.cloned().collect();
    names.dedup();
    names
}

fn path(field: &str, digest: &str) -> Result<String, ImageError> {
    Ok(format!("blobs/sha256/{}", parse_digest(field, digest)?))
}

/// A document blob, checked against its descriptor.
fn blob(blobs: &Blobs, field: &str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let bytes = blobs.required(&path(field, &descriptor.digest)?)?;
    if bytes.len() as u64 != descriptor.size {
        let expected = format!("{} bytes", descriptor.size);
        return Err(fault(format!("{field} size"), expected, bytes.len().to_string()).into());
    }
    let (expected, got) = (parse_digest(field, &descriptor.digest)?, Hex(sha256(&bytes)));
    if expected != got {
        let field = format!("{field} digest");
        return Err(fault(field, format!("sha256:{expected}"), format!("sha256:{got}")).into());
    }
    Ok(bytes)
}

fn manifest(blobs: Blobs, descriptor: &Descriptor, names: Vec<String>) -> Result<Opened, Error> {
    let manifest: Manifest = document("manifest", &blob(&blobs, "manifest", descriptor)?)?;
    let config_bytes = blob(&blobs, "config", &manifest.config)?;
    let config: ImageConfig = document("config", &config_bytes)?;
    let mut layers = Vec::new();
    for (index, layer) in manifest.layers.iter().enumerate() {
        let field = format!("layers[{index}]");
        if layer.media_type.contains("encrypted") {
            let field = format!("{field}.mediaType");
            return Err(fault(field, "a layer that is not encrypted", &*layer.media_type).into());
        }
        layers.push(Layer {
            path: path(&field, &layer.digest)?,
            digest: Some(parse_digest(&field, &layer.digest)?),
            size: Some(layer.size),
            media_type: layer.media_type.clone(),
        });
    }
    Ok(Opened { blobs, config, config_bytes, layers, names })
}
