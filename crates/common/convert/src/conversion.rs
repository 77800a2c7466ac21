//! The whole way from an image to an enclave file.

use crate::attester;
use crate::compose;
use crate::directory;
use crate::enclave::EnclaveFile;
use crate::error::Error;
use crate::hash::Pool;
use crate::image::{Image, ImageConfig};
use crate::layer::Limits;
use crate::policy::Policy;
use crate::progress::Progress;
use crate::root::Root;
use std::path::{Path, PathBuf};
use workload::manifest::{Manifest, Source};

/// What an enclave is made from.
pub enum Input {
    /// An image.
    Image(Box<Image>),
    /// A rootfs directory and the configuration to go with it.
    Directory(PathBuf, Box<ImageConfig>),
}

/// How to convert.
pub struct Options<'a> {
    /// Where the manifest differs from what the image gives.
    pub policy: Policy,
    /// The enclave program, an ELF file.
    pub program: &'a [u8],
    /// The attester's program, for workloads that have one.
    pub attester: &'a [u8],
    /// Most that the image may hold.
    pub limits: Limits,
    /// Threads for hashing.
    pub pool: Pool,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            program: enclave_image::ELF,
            attester: attester_image::ELF,
            limits: Limits::default(),
            pool: Pool::default(),
            progress: &(),
        }
    }
}

/// A finished conversion, in memory.
pub struct Conversion {
    /// The measured manifest.
    pub manifest: Manifest,
    /// The root file system, with its metadata blob and trees.
    pub root: Root,
    /// The enclave file.
    pub enclave: EnclaveFile,
}

impl Input {
    /// Opens an image, or a directory as a root file system without configuration. `reference` chooses one
    /// of several images in a file.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn open(path: &Path, reference: Option<&str>) -> Result<Self, Error> {
        if Image::is_image(path) {
            return Image::open(path, reference).map(|image| Self::Image(Box::new(image)));
        }
        let config = ImageConfig::default();
        Ok(Self::Directory(path.into(), Box::new(config)))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        match self {
            Self::Image(image) => &image.config,
            Self::Directory(_, config) => config,
        }
    }

    /// What the manifest will say of where the root file system came from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Image(_) => Source::Layers,
            Self::Directory(..) => Source::Directory,
        }
    }

    /// Computes the root file system, with this program as its attester if there is one.
    ///
    /// # Errors
    /// A layer or a file cannot be read or is not allowed.
    pub fn root(
        &self,
        attester: Option<&[u8]>,
        limits: Limits,
        pool: Pool,
        progress: &dyn Progress,
    ) -> Result<Root, Error> {
        let mut tree = match self {
            Self::Image(image) => image.tree(limits, pool, progress)?,
            Self::Directory(path, _) => directory::read(path, pool, progress)?,
        };
        if let Some(program) = attester {
            attester::add(&mut tree, program);
        }
        Root::of(tree, pool, progress)
    }
}

/// Converts.
///
/// # Errors
/// The input, the rules or what they give together is not allowed.
pub fn convert(input: &Input, options: Options<'_>) -> Result<Conversion, Error> {
    let Options { policy, program, attester, limits, pool, progress } = options;
    let attester = policy.attester.is_some().then_some(attester);
    let root = input.root(attester, limits, pool, progress)?;
    let manifest = compose::manifest(input.config(), &root, input.source(), policy)?;
    progress.stage("build the enclave file", None);
    let enclave = EnclaveFile::build(&manifest, program)?;
    Ok(Conversion { manifest, root, enclave })
}
