//! Opening an image of any form, and its tree.

use super::blobs::Blobs;
use super::config::ImageConfig;
use super::{docker, fault, oci, parse_digest};
use crate::error::Error;
use crate::hash::Pool;
use crate::layer::{Builder, LayerError, LayerSource, LayerStream, Limits, Problem};
use crate::progress::Progress;
use crate::tree::Tree;
use std::path::Path;
use workload::digest::Digest;

/// An image whose documents were read and checked.
pub struct Image {
    /// Its configuration.
    pub config: ImageConfig,
    /// Names that the image was saved under.
    pub names: Vec<String>,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) blobs: Blobs,
}

/// A layer, as a manifest has it.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) path: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
    pub(crate) media_type: String,
}

/// What the readers of both forms find.
pub(super) struct Opened {
    pub(super) blobs: Blobs,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
    pub(super) layers: Vec<Layer>,
    pub(super) names: Vec<String>,
}

impl Image {
    /// Opens an OCI layout (a directory or tar) or a `docker save` archive. `reference` chooses one of
    /// several images in it.
    ///
    /// # Errors
    /// The file cannot be read, is none of these, or its documents are damaged or for another system.
    pub fn open(path: &Path, reference: Option<&str>) -> Result<Self, Error> {
        let what = format!("open {}", path.display());
        let is_directory = path.metadata().map_err(Error::io(what))?.is_dir();
        let blobs = if is_directory { Blobs::directory(path) } else { Blobs::archive(path)? };
        let opened = if blobs.length("index.json").is_some() {
            oci::open(blobs, reference)?
        } else if blobs.length("manifest.json").is_some() {
            docker::open(blobs, reference)?
        } else {
            let expected = "an OCI layout (index.json) or docker archive (manifest.json)";
            return Err(fault(path.display().to_string(), expected, "neither").into());
        };
        opened.config.check()?;
        let diff_ids: Result<Vec<Digest>, _> = (opened.config.rootfs.diff_ids.iter().enumerate())
            .map(|(index, text)| parse_digest(&format!("config rootfs.diff_ids[{index}]"), text))
            .collect();
        let diff_ids = diff_ids?;
        if diff_ids.len() != opened.layers.len() {
            let expected = format!("{} as the configuration has diff_ids", diff_ids.len());
            return Err(fault("layers", expected, opened.layers.len().to_string()).into());
        }
        let Opened { blobs, config, config_bytes, layers, names } = opened;
        Ok(Self { config, names, config_bytes, layers, diff_ids, blobs })
    }

    /// SHA-256 of its configuration, which names its layers by digest: what engines call the image's id.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.config_bytes)
    }

    /// Whether this path is an image rather than a rootfs directory.
    #[must_use]
    pub fn is_image(path: &Path) -> bool {
        !path.is_dir() || path.join("index.json").is_file() || path.join("oci-layout").is_file()
    }

    /// The flattened layer tree; on return every file is hashed.
    ///
    /// # Errors
    /// A layer is missing, damaged, not the one the image names, or cannot be applied.
    pub fn tree(&self, limits: Limits, pool: Pool, progress: &dyn Progress) -> Result<Tree, Error> {
        progress.stage("read layers", None);
        pool.run(|scope| {
            let mut builder = Builder::new(limits);
            for index in 0..self.layers.len() {
                self.layer(index)?.apply(&mut builder, scope, progress)?;
            }
            Ok(builder.finish())
        })
    }

    /// Opens a layer's archive.
    pub(crate) fn layer(&self, index: usize) -> Result<LayerStream, Error> {
        let layer = &self.layers[index];
        let name = format!("{index} ({})", layer.path);
        let source = LayerSource {
            name: name.clone(),
            digest: layer.digest,
            size: layer.size,
            diff_id: self.diff_ids[index],
        };
        let Some(blob) = self.blobs.open(&layer.path)? else {
            let problem = Box::new(Problem::Missing);
            return Err(LayerError { layer: name, entry: None, problem }.into());
        };
        Ok(LayerStream::open(source, blob)?)
    }
}
